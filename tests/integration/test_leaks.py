"""The table in docs/isolation.md, row by row: every probe, at every level, in consecutive inputs of one replica.

The table itself says what is expected, so that it cannot say anything else than what happens.
"""

from __future__ import annotations

import functools
import re

import pytest

from benchmarks.leaks import probes
from benchmarks.leaks.systems import ACTORQ, Result, run
from tests.conftest import ROOT

_LEVELS = ("none", "reset", "fork", "regular")
#: rows that other tests cover: what an input kills is in test_fork, settings are in test_spoiling
_ELSEWHERE = ("what a crash", "timers", "socket timeout", "`os.nice`", "`atexit`")
#: first word of a cell, and what it means for the state and for the cache
_MEANS = {
    "kept": (probes.LEAKS, probes.KEPT),
    "restored": (probes.CLEAN, ""),
    "cleared": (probes.CLEAN, ""),
    "clean": (probes.CLEAN, ""),
    "gone": (probes.CLEAN, ""),
    "removed": (probes.CLEAN, ""),
    "the": (probes.CLEAN, ""),
    "reported": (probes.REPORTED, ""),
    "empty": ("", probes.LOST),
}


#: seconds the first test of a level may take: it runs them all, and regular tasks start a process for each input
_PATIENCE = 240


def rows() -> dict[str, dict[str, str]]:
    """The table: row -> level -> cell."""
    section = (
        (ROOT / "docs" / "isolation.md").read_text().partition("## What a replica restores")[2].partition("\n## ")[0]
    )
    lines = [line for line in section.splitlines() if line.startswith("| ")][1:]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return {first: dict(zip(_LEVELS, rest, strict=True)) for first, *rest in cells}


def cell(probe: probes.Probe, level: str) -> str:
    """What the page says of a probe's row."""
    (found,) = [cells for row, cells in rows().items() if row.startswith(probe.row)]
    return found[level]


@functools.cache
def result(level: str) -> Result:
    (system,) = [system for system in ACTORQ if system.name == level]
    found = run(system)
    assert not found.failure
    return found


@pytest.mark.timeout(_PATIENCE)
@pytest.mark.parametrize("probe", probes.PROBES, ids=lambda probe: probe.name)
@pytest.mark.parametrize("level", _LEVELS)
def test_the_next_input_sees_what_the_page_says(level: str, probe: probes.Probe) -> None:
    word = re.split(r"\W", cell(probe, level))[0]
    assert result(level).outcomes[probe.name].verdict == _MEANS[word][probe.cache]


@pytest.mark.timeout(_PATIENCE)
@pytest.mark.parametrize("level", ["none", "reset"])
def test_both_inputs_ran_in_one_process(level: str) -> None:
    assert {outcome.same_process for outcome in result(level).outcomes.values()} == {True}


@pytest.mark.timeout(_PATIENCE)
@pytest.mark.parametrize("level", ["fork", "regular"])
def test_the_inputs_had_processes_of_their_own(level: str) -> None:
    assert {outcome.same_process for outcome in result(level).outcomes.values()} == {False}


def test_every_row_of_the_readme_has_a_probe() -> None:
    probed = tuple(probe.row for probe in probes.PROBES)
    assert [row for row in rows() if not row.startswith(probed + _ELSEWHERE)] == []


_REPORTED = [probe for probe in probes.PROBES if cell(probe, "reset").startswith("reported")]


@pytest.mark.timeout(_PATIENCE)
@pytest.mark.parametrize("probe", _REPORTED, ids=lambda probe: probe.name)
def test_what_is_not_restored_is_reported_once_with_its_task_and_what_it_is(probe: probes.Probe) -> None:
    told = result("reset").outcomes[probe.name].told
    assert len(told) == 1
    assert "benchmarks.leaks.actors.act_reset" in told[0]


@pytest.mark.timeout(_PATIENCE)
@pytest.mark.parametrize("level", _LEVELS)
def test_nothing_else_is_reported(level: str) -> None:
    assert len(result(level).said) == (len(_REPORTED) if level == "reset" else 0)
