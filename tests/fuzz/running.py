"""Tries cases in a child, with a bound on what one may take: a case that takes too long, or too much, is a finding.

    child: case ──▶ shared page ──▶ trial ──▶ pipe: what went wrong          parent: reads that; a child that ends
                                                                             is a finding, and the page has its bytes

Processor time is what counts, which a busy machine does not change, and the kernel ends a child that takes too much of
it, so a loop in C is found as well. Memory is the most that the process ever had.
"""

from __future__ import annotations

import contextlib
import json
import mmap
import os
import resource
import signal
import struct
import sys
import time
import traceback
from collections import Counter
from dataclasses import dataclass, field
from random import Random
from typing import Any

from tests.fuzz.making import Maker
from tests.fuzz.targets import TARGETS, executor

#: processor seconds of one case, of which the largest has 50 KB: the slowest take some 0.1
_SECONDS = 2.0
#: what a case may add to the most memory that the process ever had. A list of empty dicts takes 72 times its bytes
_MEMORY = 64 << 20
#: of the whole child: the machine is shared
_ADDRESS_SPACE = 4 << 30
#: cases of one child, so that what one leaves behind does not pile up
_CASES = 20_000
_HEAD = struct.Struct("<IQ")
_PAGE = 1 << 20


@dataclass(frozen=True, kw_only=True)
class Finding:
    """A case that did what none may do."""

    target: str
    number: int
    case: bytes
    what: str

    def __str__(self) -> str:
        return f"{self.target} {self.number}: {self.what.rstrip()}\n  case: {self.case.hex()}"


@dataclass(kw_only=True)
class Outcome:
    """What a run has found."""

    cases: Counter[str] = field(default_factory=Counter)
    #: cases that were good
    taken: Counter[str] = field(default_factory=Counter)
    #: processor seconds of the slowest case
    slowest: dict[str, float] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)


def case_of(seed: int, target: str, number: int) -> bytes:
    """A case, the same one whenever it is asked for."""
    make, _ = TARGETS[target]
    return make(Maker(Random(f"{seed} {target} {number}")))


def run(seed: int, *, seconds: float | None = None, cases: int | None = None, most_findings: int = 20) -> Outcome:
    """Tries cases of all targets in turn: so many of each, or for so long."""
    outcome, number = Outcome(), 0
    deadline = float("inf") if seconds is None else time.monotonic() + seconds
    executor()  # before the fork: what it imports is not a case's
    while (cases is None or number < cases) and time.monotonic() < deadline:
        end = number + max(1, _CASES // len(TARGETS))
        number = _run_child(seed, number, end if cases is None else min(end, cases), deadline, outcome)
        if len(outcome.findings) >= most_findings:
            break
    return outcome


def _run_child(seed: int, begin: int, end: int, deadline: float, outcome: Outcome) -> int:
    """Tries the cases from number `begin` on in a child; returns the number to go on with."""
    page, (read, write) = mmap.mmap(-1, _PAGE), os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(read)
        _be_child(seed, begin, end, deadline, page, write)
    os.close(write)
    with os.fdopen(read) as lines:
        told = [json.loads(line) for line in lines if line.endswith("\n")]
    status, reached = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), begin
    for line in told:
        if "what" in line:
            line["case"] = bytes.fromhex(line["case"])
            outcome.findings.append(Finding(**line))
        else:
            _add(outcome, line)
            reached = int(line["end"])
    if status == 0:
        return reached
    at, length = _HEAD.unpack_from(page)
    target, number = [*TARGETS][at % len(TARGETS)], begin + int(at) // len(TARGETS)
    why = {
        -signal.SIGPROF: f"it takes more than {_SECONDS} s",
        -signal.SIGKILL: "it takes more memory than there is",
    }.get(status, f"it ends the process: {status}")
    case = page[_HEAD.size : _HEAD.size + length]
    outcome.findings.append(Finding(target=target, number=number, case=case, what=why))
    return number + 1


def _add(outcome: Outcome, line: dict[str, Any]) -> None:
    outcome.cases.update(line["cases"])
    outcome.taken.update(line["taken"])
    for target, slowest in line["slowest"].items():
        outcome.slowest[target] = max(slowest, outcome.slowest.get(target, 0.0))


def _be_child(seed: int, begin: int, end: int, deadline: float, page: mmap.mmap, write: int) -> None:
    status = 1
    try:
        _bound()
        with os.fdopen(write, "w") as out:
            _try_all(seed, begin, end, deadline, page, out)
        status = 0
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(status)


def _bound() -> None:
    """What the child may take, and what it may say."""
    with contextlib.suppress(ValueError, OSError):  # macOS has no such limit
        resource.setrlimit(resource.RLIMIT_AS, (_ADDRESS_SPACE, _ADDRESS_SPACE))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    signal.signal(signal.SIGPROF, signal.SIG_DFL)
    quiet = os.open(os.devnull, os.O_WRONLY)
    os.dup2(quiet, 1)


def _try_all(seed: int, begin: int, end: int, deadline: float, page: mmap.mmap, out: Any) -> None:
    outcome, highest = Outcome(), _highest()
    number = begin
    while number < end and time.monotonic() < deadline:
        for at, (target, (_, attempt)) in enumerate(TARGETS.items()):
            case = case_of(seed, target, number)
            _HEAD.pack_into(page, 0, (number - begin) * len(TARGETS) + at, len(case))
            page[_HEAD.size : _HEAD.size + len(case)] = case
            what, begun = "", time.process_time()
            signal.setitimer(signal.ITIMER_PROF, _SECONDS)
            try:
                outcome.taken[target] += attempt(case)
            except Exception:  # any is a finding
                what = traceback.format_exc(limit=-8)
            signal.setitimer(signal.ITIMER_PROF, 0)
            outcome.slowest[target] = max(time.process_time() - begun, outcome.slowest.get(target, 0.0))
            outcome.cases[target] += 1
            if (grown := _highest()) - highest > _MEMORY:
                what = what or f"it takes {grown - highest:,} bytes"
            highest = max(highest, grown)
            if what:
                out.write(json.dumps({"target": target, "number": number, "case": case.hex(), "what": what}) + "\n")
                out.flush()
        number += 1
    told = {"cases": outcome.cases, "taken": outcome.taken, "slowest": outcome.slowest, "end": number}
    out.write(json.dumps(told) + "\n")


def _highest() -> int:
    """The most memory that this process ever had, bytes."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
