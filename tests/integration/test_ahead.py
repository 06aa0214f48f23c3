"""A lease that is claimed while another runs: nobody waits for it, and it waits for nobody."""

from __future__ import annotations

import ctypes
import os
import signal
import time
from pathlib import Path

from actorq import ActorEnvironment

alone = ActorEnvironment("ahead-alone", replica_count=1, isolation="none")
pair = ActorEnvironment("ahead-pair", replica_count=2, isolation="none")


@alone.task
def begin(seconds: float) -> float:
    begun = time.monotonic()
    time.sleep(seconds)
    return begun


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


def test_one_replica_runs_its_inputs_in_their_order_however_long_they_take() -> None:
    begun = list(begin.map([0.0001] * 30 + [0.005, 0.002, 0.09, 0.005] * 8 + [0.001] * 40))
    assert begun == sorted(begun)


def test_nothing_waits_behind_an_input_that_blocks_its_replica() -> None:
    spans = list(span.map([0.005] * 40 + [-1.5] + [0.005] * 60))
    blocked, others = spans[40], spans[:40] + spans[41:]
    assert all(end < blocked[1] for _, end in others)


def test_what_a_dead_executor_had_claimed_runs_once_and_is_not_charged(tmp_path: Path) -> None:
    outputs = dies_once.map([""] * 30 + [str(tmp_path / "died")] + [""] * 60)
    assert len(list(outputs)) == 91
    assert outputs.stats().recovered <= 2  # the input that died, and the one behind it
