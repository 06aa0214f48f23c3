"""The Dockerfile keeps what the chart and its users rely on; `make image` builds it."""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCKERFILE = ROOT / "images" / "Dockerfile"
HADOLINT = ROOT / ".tools" / "bin" / "hadolint"


def instructions(name: str) -> list[str]:
    """The arguments of every `name` instruction, continuation lines joined."""
    return re.findall(rf"^{name} +(.*)$", DOCKERFILE.read_text().replace("\\\n", " "), re.MULTILINE)


def test_hadolint_finds_nothing() -> None:
    if not HADOLINT.exists():
        pytest.fail("hadolint is missing from .tools/bin: run `make tools`")
    found = subprocess.run([HADOLINT, DOCKERFILE], capture_output=True, text=True, check=False)
    assert (found.returncode, found.stdout + found.stderr) == (0, "")


def test_both_stages_have_the_base_that_the_builder_chooses() -> None:
    assert instructions("ARG")[0].startswith("BASE=")
    assert instructions("FROM") == ["${BASE} AS build", "${BASE}"]


def test_the_user_is_a_number_that_kubernetes_can_check() -> None:
    assert instructions("USER") == ["10001:10001"]


def test_the_worker_is_process_1() -> None:
    assert [json.loads(command) for command in instructions("ENTRYPOINT")] == [["actorq"]]


def test_nothing_is_installed_but_the_package() -> None:
    (copied,) = (source for source in instructions("COPY") if source.startswith("--from"))
    assert copied == "--from=build /opt/actorq /opt/actorq"
    assert not any("apt-get" in command for command in instructions("RUN"))


@pytest.mark.parametrize(("asked", "built"), [([], []), (["EXTRAS=metrics"], ["metrics"])])
def test_make_image_installs_the_extras_of_the_dockerfile_unless_others_are_asked_for(
    asked: list[str], built: list[str]
) -> None:
    """The Makefile includes image.mk: a variable that both use would reach the build."""
    command = ["make", "--dry-run", "image", "BUILDER=docker", *asked]
    plain = {name: value for name, value in os.environ.items() if name not in ("EXTRAS", "MAKEFLAGS", "MFLAGS")}
    printed = subprocess.run(command, cwd=ROOT, env=plain, capture_output=True, text=True, check=True).stdout
    assert re.findall(r"--build-arg EXTRAS=(\S+)", printed) == built
