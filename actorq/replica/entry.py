"""Where an executor process begins and ends, and which kind of executor it runs."""

from __future__ import annotations

import os
import random
import signal
import sys
import traceback
from typing import Any

from actorq.replica.executor import Executor, flush_streams
from actorq.replica.forked import ForkingExecutor
from actorq.replica.lanes import Lanes
from actorq.replica.slots import MAX_LANES, Slots
from actorq.replica.spec import WAKE_SIGNAL, WORN_OUT, ExecutorSpec


def main(spec: ExecutorSpec, slots: Slots, index: int) -> None:
    """Runs executor `index` in this process and ends the process."""
    status = 1
    try:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, _leave_it_to_the_supervisor)
        _reseed()
        first = index * MAX_LANES
        executor: Executor | Lanes
        if len(spec.workers) > 1:
            executor = Lanes(spec, [slots[first + lane] for lane in range(len(spec.workers))])
        else:
            kind = ForkingExecutor if spec.isolation == "fork" else Executor
            executor = kind(spec, spec.workers[0], slots[first])
            signal.signal(WAKE_SIGNAL, executor.on_wake)
        try:
            executor.serve()
        finally:
            executor.end()
        status = WORN_OUT if executor.worn_out else 0
    except BaseException:  # the process boundary: say why, then end without running the parent's exit handlers
        traceback.print_exc()
    finally:
        flush_streams()
        os._exit(status)


def _leave_it_to_the_supervisor(signum: int, frame: object) -> None:
    """For SIGINT and SIGTERM. Not SIG_IGN, which programs that a task starts would inherit."""


def _reseed() -> None:
    """Forked executors must not draw the same random numbers."""
    random.seed()
    numpy: Any = sys.modules.get("numpy")
    if numpy is not None:
        numpy.random.seed()
