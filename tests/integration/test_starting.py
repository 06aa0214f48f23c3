"""What a task starts behaves as what any Python program starts."""

from __future__ import annotations

import signal
from typing import Any

import pytest

from actorq.replica.start import processors
from tests.conftest import Worker
from tests.support.code import starting

_KINDS = [starting.none_ended_by, starting.reset_ended_by, starting.fork_ended_by, starting.slots_ended_by]


@pytest.mark.parametrize("task", _KINDS, ids=lambda task: str(task.name))
def test_a_forked_child_of_a_task_is_ended_by_sigterm_and_interrupted_by_sigint(task: Any) -> None:
    assert list(task.map([signal.SIGTERM, signal.SIGINT])) == [-signal.SIGTERM, 0]


def test_a_forked_child_keeps_the_handler_that_its_task_has_set() -> None:
    assert starting.with_handler_of_its_own.remote(signal.SIGTERM) == 7


def test_leaving_a_pool_of_processes_never_hangs() -> None:
    assert list(starting.pooled.map(range(30))) == [[x * x, (x + 1) * (x + 1)] for x in range(30)]


@pytest.mark.parametrize("task", [starting.by_fork_server, starting.by_manager], ids=lambda task: str(task.name))
def test_every_input_of_a_replica_can_use_what_multiprocessing_keeps_in_a_temporary_folder(task: Any) -> None:
    assert not [outcome for outcome in task.map(range(3), return_exceptions=True) if isinstance(outcome, Exception)]


def test_the_folder_of_multiprocessing_is_there_for_every_input() -> None:
    for task in (starting.has_folder_of_multiprocessing, starting.listens):
        assert list(task.map(range(3))) == [True] * 3


def test_a_worker_has_the_threads_that_its_code_declares_when_it_imports_that_code(
    on_server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in processors.VARIABLES:
        monkeypatch.delenv(name, raising=False)
    worker = Worker(on_server, "tests.support.code.starting:narrow", 1, environment="narrow")
    try:
        worker.wait_ready(1)
        assert starting.threads_at_import.remote(0) == {"OMP_NUM_THREADS": "3", "NUMEXPR_NUM_THREADS": "5"}
    finally:
        worker.stop()
