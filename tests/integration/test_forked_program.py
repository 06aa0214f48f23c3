"""A program that is forked while its maps run: they are the parent's."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Callable, Iterator

from actorq.maps.handle import MapHandle
from tests.support.code import tasks

#: a child that has not ended by then hangs, seconds
_PATIENCE = 15


def _told_by_child(action: Callable[[], object]) -> str:
    """What `action` does in a fork of this process: its value, or its exception; nothing where it hangs."""
    read_end, write_end = os.pipe()
    child = os.fork()
    if child == 0:
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(_PATIENCE)
        try:
            told = repr(action())
        except BaseException as error:
            told = f"{type(error).__name__}: {error}"
        os.write(write_end, told.encode())
        os._exit(0)
    os.close(write_end)
    with os.fdopen(read_end, "rb") as stream:
        told = stream.read().decode()
    os.waitpid(child, 0)
    return told


@contextlib.contextmanager
def _held_elsewhere(handle: MapHandle[float]) -> Iterator[None]:
    """Another thread holds the lock of a running map, as its own may when the program is forked."""
    held, done = threading.Event(), threading.Event()

    def hold() -> None:
        with handle._pump._condition:
            held.set()
            done.wait()

    thread = threading.Thread(target=hold)
    thread.start()
    held.wait()
    try:
        yield
    finally:
        done.set()
        thread.join()


def test_outputs_of_a_map_are_refused_in_a_fork_of_its_program() -> None:
    outputs = tasks.wait.map([0.05] * 30)
    next(outputs)
    told = _told_by_child(outputs.results)
    assert told.startswith("PoolError: Map ")
    assert f"runs in process {os.getpid()}, of which" in told
    assert len(outputs.results()) == 29


def test_a_fork_that_closes_a_map_leaves_it_to_its_program() -> None:
    outputs = tasks.wait.map([0.05] * 30)
    next(outputs)
    with _held_elsewhere(outputs):
        told = _told_by_child(outputs.close)
    assert told == "None"
    assert len(outputs.results()) == 29


def test_a_fork_has_maps_and_calls_of_its_own_while_those_of_its_program_run() -> None:
    outputs = tasks.wait.map([0.05] * 30)
    next(outputs)
    assert _told_by_child(lambda: (tasks.wait.map([0.0, 0.01]).results(), tasks.wait.remote(0.0))) == (
        "([0.0, 0.01], 0.0)"
    )
    assert len(outputs.results()) == 29
