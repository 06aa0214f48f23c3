"""Where an executor's process begins and ends."""

from __future__ import annotations

import os
import signal
import traceback

from actorq.replica.executor import Executor, flush_streams
from actorq.replica.leftovers import leave_failure
from actorq.replica.slots import STARTING, Slot
from actorq.replica.spec import START_FAILED, WORN_OUT, ExecutorSpec


def main(spec: ExecutorSpec, slot: Slot) -> None:
    """Runs an executor in this process and ends the process, without the exit handlers of its parent."""
    status = 1
    try:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, _leave_it_to_the_supervisor)
        executor = Executor(spec, slot)
        try:
            executor.serve()
            status = WORN_OUT if executor.worn_out else 0
        except BaseException as error:  # the process boundary
            status = _failed(spec, slot, error)
        finally:
            executor.end()
    except BaseException as error:  # the same
        status = _failed(spec, slot, error)
    finally:
        flush_streams()
        os._exit(status)


def _failed(spec: ExecutorSpec, slot: Slot, error: BaseException) -> int:
    """Says why the executor ends; returns its exit status."""
    if slot.phase == STARTING:
        leave_failure(spec.scratch, error)
        return START_FAILED
    traceback.print_exception(error)
    return 1


def _leave_it_to_the_supervisor(signum: int, frame: object) -> None:
    """For SIGINT and SIGTERM. Not SIG_IGN, which programs that a task starts would inherit."""
