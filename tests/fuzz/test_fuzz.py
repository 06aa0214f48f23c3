"""Half a minute of `make fuzz` at most, the same cases every time; and that it would find what it looks for."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from tests.conftest import ROOT
from tests.fuzz.running import case_of
from tests.fuzz.targets import TARGETS

#: of each target; they take some 10 s
CASES = 300
SEED = 16


def python(*arguments: str) -> subprocess.CompletedProcess[str]:
    """In a process without threads, which forks as it likes."""
    return subprocess.run(
        [sys.executable, *arguments], capture_output=True, text=True, cwd=ROOT, timeout=240, check=False
    )


@pytest.mark.timeout(300)
def test_whatever_bytes_are_they_are_taken_or_refused_in_time_and_room() -> None:
    done = python("-m", "tests.fuzz", "--seed", str(SEED), "--cases", str(CASES))
    assert done.returncode == 0, done.stdout + done.stderr
    rows = [line.split() for line in done.stdout.splitlines()[2 : 2 + len(TARGETS)]]
    assert [row[0] for row in rows] == [*TARGETS]
    for _, cases, good, *_ in rows:
        assert int(cases.replace(",", "")) == CASES
        assert int(good.replace(",", "")) > CASES / 20  # else nothing behind the first look was tried


def test_a_seed_makes_the_same_cases_in_every_process() -> None:
    script = "from tests.fuzz.running import *; print(*(case_of(3, t, n).hex() for t in TARGETS for n in range(60)))"
    told = python("-c", script).stdout  # whose hashes have another seed than those here
    assert told == " ".join(case_of(3, target, n).hex() for target in TARGETS for n in range(60)) + "\n"


BROKEN = """
import json, os, sys
from tests.fuzz import running

def attempt(case):
    if case == b"0": raise KeyError("no")
    if case == b"1":
        while True: pass
    if case == b"2": b"x" * (200 << 20)
    if case == b"3": sum(range(10**12))
    if case == b"4": os._exit(9)
    if case == b"5": os.abort()
    if case == b"6": b"x" * (8 << 30)
    return True

running._SECONDS = 0.5
running.TARGETS.clear()
running.TARGETS["broken"] = (None, attempt)
running.case_of = lambda seed, target, number: b"%d" % number
outcome = running.run(0, cases=10)
print(json.dumps([[f.number, f.case.decode(), f.what.splitlines()[-1]] for f in outcome.findings]))
"""


def test_a_case_that_raises_hangs_dies_or_takes_all_the_memory_is_found_with_its_bytes() -> None:
    done = python("-c", BROKEN)
    found = json.loads(done.stdout)
    assert [(number, case) for number, case, _ in found] == [(number, str(number)) for number in range(7)]
    whats = [what for _, _, what in found]
    assert whats[0] == "KeyError: 'no'"
    assert [what.startswith("it takes more than 0.5 s") for what in whats] == [n in (1, 3) for n in range(7)]
    assert whats[2].startswith("it takes 2")
    assert whats[4] == "it ends the process: 9"
    assert whats[5] == "it ends the process: -6"
    assert whats[6] == "MemoryError"
