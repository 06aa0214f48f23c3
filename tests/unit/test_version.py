"""The version stands in one place, and everything else that says one agrees with it."""

from __future__ import annotations

import subprocess
import sys

import yaml

import actorq
from tests.conftest import ROOT


def test_the_chart_is_of_the_version_of_the_package() -> None:
    chart = yaml.safe_load((ROOT / "charts" / "actorq" / "Chart.yaml").read_text())
    assert (chart["version"], chart["appVersion"]) == (actorq.__version__, actorq.__version__)


def test_the_image_is_labelled_with_the_version_of_the_package() -> None:
    command = ["make", "--dry-run", "image", "BUILDER=docker"]
    told = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert f"--tag docker.io/library/actorq:{actorq.__version__} " in told
    assert f"--build-arg VERSION={actorq.__version__} " in told


def test_the_version_costs_no_look_at_installed_packages() -> None:
    code = "import sys, actorq; actorq.__version__; sys.exit('importlib.metadata' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
