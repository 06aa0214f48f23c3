"""What `docs/command-line.md` states is what the commands do."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from dataclasses import fields

import pytest
from click.testing import CliRunner

from actorq.cli.main import main
from actorq.monitor.doctor import Finding
from actorq.monitor.jobs import JobView
from actorq.monitor.metrics import REGISTERED_STATES
from actorq.monitor.model import EnvironmentView, MapView, ReplicaView
from actorq.monitor.runs import RunView
from tests.docs.pages import ROOT

PAGE = (ROOT / "docs" / "command-line.md").read_text()
_NAME = re.compile(r"`([a-z_]+)`")


def table(title: str) -> set[str]:
    """The fields of the table below a bold title."""
    rows = PAGE.partition(f"\n**{title}**")[2].partition("|---|---|\n")[2].partition("\n\n")[0]
    return {name for row in rows.splitlines() for name in _NAME.findall(row.split("|")[1])}


@pytest.mark.parametrize(
    ("title", "view", "beside"),
    [
        ("`status`", EnvironmentView, set()),
        ("A map", MapView, set()),
        ("`workers`", ReplicaView, {"environment"}),
        ("`runs`", RunView, set()),
        ("`jobs`", JobView, set()),
        ("`doctor`", Finding, set()),
    ],
)
def test_the_fields_of_json_are_those_that_are_stated(title: str, view: type, beside: set[str]) -> None:
    assert table(title) == {field.name for field in fields(view)} | beside


def test_the_fields_of_a_plan_are_those_that_are_stated() -> None:
    told = json.loads(CliRunner().invoke(main, ["plan", "10", "--seconds", "1", "--price", "1", "-o", "json"]).output)
    assert table("`plan`") == set(told)
    outcome = set(_NAME.findall(PAGE.partition("\nAn outcome is ")[2].partition("\n\n")[0]))
    assert {"name", "at_once", "share_at_work"} | outcome == set(told["ways"][0])
    assert {"replicas"} | outcome == set(told["by_replicas"][0])


def test_the_states_of_replicas_are_those_that_are_stated() -> None:
    row = next(line for line in PAGE.splitlines() if line.startswith("| `state` | `starting`"))
    assert set(_NAME.findall(row.split("|")[2])) == set(REGISTERED_STATES)


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_shell_completes_commands(shell: str) -> None:
    program = shutil.which("actorq", path=f"{ROOT}/.venv/bin") or shutil.which("actorq")
    assert program is not None
    asked = {"_ACTORQ_COMPLETE": f"{shell}_complete", "COMP_WORDS": "actorq lo", "COMP_CWORD": "1"}
    if shell == "fish":
        asked["COMP_CWORD"] = "lo"
    done = subprocess.run([program], env={**os.environ, **asked}, capture_output=True, text=True, check=False)
    assert "logs" in done.stdout
    assert not done.stderr


def test_every_command_that_prints_json_is_stated() -> None:
    given = {
        name
        for name, command in main.commands.items()
        for option in command.params
        if option.name == "output" and "json" in getattr(option.type, "choices", ())
    }
    assert given - {"logs", "plan"} == set(_NAME.findall(PAGE.partition("With `-o json`, ")[2].partition(" print")[0]))
