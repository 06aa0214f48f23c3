"""A lease that is claimed while another runs: nobody waits for it, and it waits for nobody."""

from __future__ import annotations

import ctypes
import os
import signal
import time
from pathlib import Path

from actorq import ActorEnvironment

pair = ActorEnvironment("ahead-pair", replica_count=2, isolation="none")


@pair.task
def span(seconds: float) -> tuple[float, float]:
    """When it began and ended. A negative one holds the interpreter's lock in C: no signal handler runs."""
    begun = time.monotonic()
    if seconds < 0:
        ctypes.PyDLL(None).usleep(ctypes.c_uint(int(-seconds * 1e6)))
    else:
        time.sleep(seconds)
    return begun, time.monotonic()


@pair.task
def dies_once(path: str) -> int:
    time.sleep(0.005)
    if path and not Path(path).exists():
        Path(path).touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return os.getpid()


def test_nothing_waits_behind_an_input_that_blocks_its_replica() -> None:
    spans = list(span.map([0.005] * 40 + [-1.5] + [0.005] * 60))
    blocked, others = spans[40], spans[:40] + spans[41:]
    assert all(end < blocked[1] for _, end in others)


def test_what_a_dead_executor_had_claimed_runs_once_and_is_not_charged(tmp_path: Path) -> None:
    outputs = dies_once.map([""] * 30 + [str(tmp_path / "died")] + [""] * 60)
    assert len(list(outputs)) == 91
    assert outputs.stats().recovered <= 2  # the input that died, and the one behind it
