"""`concurrency=N`: inputs of async tasks that share a process, and nothing else."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import redis

from actorq import ActorEnvironment, DeclarationError, ReplicaLostError, TaskError, TaskTimeoutError
from tests.conftest import ROOT, eventually, pool_client
from tests.support.code import concurrent


def test_inputs_run_at_the_same_time_in_one_process() -> None:
    results = list(concurrent.overlaps.map(range(40)))
    assert len({pid for pid, _ in results}) == 1
    assert max(most for _, most in results) == 8


def test_results_are_complete_and_in_order() -> None:
    assert list(concurrent.quick.map(range(2_000))) == list(range(2_000))


def test_tasks_run_on_the_main_thread() -> None:
    assert concurrent.where.remote(0)[1] == "MainThread"


def test_every_input_has_a_context_of_its_own() -> None:
    assert set(concurrent.remembers.map(range(50))) == {-1}


def test_a_load_is_shared_by_the_inputs_that_wait_for_it() -> None:
    assert len(set(concurrent.with_model.map(range(30)))) == 1


def test_a_load_outlives_the_input_that_began_it_while_others_wait_for_it(tmp_path: Path) -> None:
    begun = concurrent.impatient.submit(str(tmp_path))
    waiting = [concurrent.patient.submit(str(tmp_path)) for _ in range(4)]
    with pytest.raises(TaskTimeoutError):
        begun.result(20)
    assert len({future.result(20) for future in waiting}) == 1


def test_a_timeout_cancels_that_input_alone(tmp_path: Path) -> None:
    files = [str(tmp_path / str(i)) for i in range(8)]
    pid = concurrent.where.remote(0)[0]
    seconds = [0.0, 30.0, 0.1, 30.0, 0.0, 0.1, 0.0, 0.1]
    results = list(concurrent.sleeps.map(seconds, files, return_exceptions=True))
    assert [isinstance(result, TaskTimeoutError) for result in results] == [s > 1 for s in seconds]
    assert all(Path(file).exists() for file in files)
    assert concurrent.where.remote(0)[0] == pid


@pytest.mark.parametrize("how", ["return", "raise", "exit", "await"])
def test_a_child_that_an_input_forks_does_not_come_back_to_the_loop(how: str) -> None:
    outputs = concurrent.forks.map(range(200), kwargs={"how": how})
    assert list(outputs) == list(range(200))
    assert outputs.stats().recovered == 0
    assert list(concurrent.quick.map(range(200))) == list(range(200))


def test_a_child_that_a_callback_forks_does_not_come_back_to_the_loop() -> None:
    assert list(concurrent.forks_in_a_callback.map(range(200))) == list(range(200))
    assert list(concurrent.quick.map(range(200))) == list(range(200))


def test_an_input_that_blocks_the_loop_past_its_timeout_costs_the_others_no_result() -> None:
    results = list(concurrent.blocks.map([0.0] * 3 + [60.0] + [0.0] * 10, return_exceptions=True))
    blocked = results.pop(3)
    assert isinstance(blocked, TaskTimeoutError)
    assert "blocked the event loop" in str(blocked)
    assert results == [0.0] * 13


def test_a_call_that_blocks_the_loop_says_so() -> None:
    with pytest.raises(TaskTimeoutError, match=r"blocked the event loop .* timeout of 0.5 s"):
        concurrent.blocks.remote(60.0)


def test_an_input_that_kills_the_process_is_found_among_those_that_ran_beside_it() -> None:
    results = list(concurrent.dies.map(range(40), return_exceptions=True))
    assert isinstance(results[5], ReplicaLostError)
    assert [result for i, result in enumerate(results) if i != 5] == [x for x in range(40) if x != 5]


def test_what_runs_beside_inputs_of_another_map_that_kill_the_process_is_never_charged() -> None:
    """Neither inputs of a map nor single calls: each is tried in a process of its own before anything is said of it."""
    poison = concurrent.kills.map(range(4), return_exceptions=True)
    with ThreadPoolExecutor() as threads:
        calls = [threads.submit(concurrent.lingers.remote, i) for i in range(4)]
        assert list(concurrent.lingers.map(range(8))) == list(range(8))
        assert [call.result() for call in calls] == list(range(4))
    assert all(isinstance(result, ReplicaLostError) for result in poison)


def test_an_exit_is_that_inputs_failure() -> None:
    results = list(concurrent.exits.map(range(6), return_exceptions=True))
    assert isinstance(results[3], TaskError)
    assert "SystemExit" in str(results[3])
    assert results[4:] == [4, 5]


def test_what_an_input_started_and_left_is_cancelled_with_it(tmp_path: Path) -> None:
    file = tmp_path / "left"
    concurrent.leaves_a_task.remote(str(file))
    assert file.read_text() == "cancelled"


def test_a_cancelled_map_cancels_its_inputs(tmp_path: Path) -> None:
    files = [tmp_path / str(i) for i in range(4)]
    pid = concurrent.where.remote(0)[0]
    handle = concurrent.lasts.map([str(file) for file in files])
    assert eventually(lambda: all(file.exists() for file in files), timeout=30)
    handle.close()
    assert eventually(lambda: all(file.read_text() == "cancelled" for file in files), timeout=30)
    assert concurrent.where.remote(0)[0] == pid


def test_every_slot_is_a_worker_to_the_tools_of_rq() -> None:
    concurrent.quick.remote(0)
    with pool_client() as client:
        assert eventually(lambda: client.scard("rq:workers:concurrent") == 8)


def test_a_worker_drains_all_its_slots(on_server: str) -> None:
    command = [
        sys.executable,
        "-m",
        "actorq.cli",
        "worker",
        "tests.support.code.concurrent:concurrent",
        "-u",
        on_server,
        "-n",
        "1",
    ]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, cwd=ROOT) as worker:
        results = concurrent.overlaps.map(range(64))
        assert next(results)
        worker.send_signal(signal.SIGTERM)
        worker.communicate(timeout=20)
        assert worker.returncode == 0
        with redis.Redis.from_url(on_server) as client:
            assert client.scard("rq:workers:concurrent") == 0
        with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, cwd=ROOT) as second:
            assert len(list(results)) == 63
            second.send_signal(signal.SIGTERM)
            second.communicate(timeout=20)


def test_a_killed_process_costs_no_result() -> None:
    results = concurrent.overlaps.map(range(100))
    pid = next(results)[0]
    os.kill(pid, signal.SIGKILL)
    assert len(list(results)) == 99


def test_a_task_that_is_not_async_is_refused() -> None:
    env = ActorEnvironment("concurrent-refused", isolation="none", concurrency=2)
    with pytest.raises(DeclarationError, match="async def"):

        @env.task
        def plain(x: int) -> int:
            return x


@pytest.mark.parametrize("isolation", ["reset", "fork"])
def test_isolation_between_inputs_of_one_process_is_refused(isolation: str) -> None:
    with pytest.raises(DeclarationError, match="isolation='none'"):
        ActorEnvironment("concurrent-isolated", isolation=isolation, concurrency=2)


def test_start_hooks_run_once_for_all_slots_on_their_loop() -> None:
    assert set(concurrent.hooked.map(range(20))) == {(1, True, "MainThread")}


def test_an_input_whose_subtask_blocks_the_loop_is_told_from_those_it_delays() -> None:
    results = list(concurrent.blocks_in_a_subtask.map(range(16), return_exceptions=True))
    assert isinstance(results[5], TaskTimeoutError)
    assert [result for i, result in enumerate(results) if i != 5] == [x for x in range(16) if x != 5]
