"""`isolation="fork"`: an input sees nothing of another and costs nobody but itself; caches are loaded once."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from actorq import ReplicaLostError, TaskError, TaskTimeoutError
from tests.conftest import ROOT, eventually, run_script
from tests.support.code import forked


def lines(file: Path) -> list[int]:
    return [int(line) for line in file.read_text().splitlines()]


def replica() -> int:
    return forked.where.remote(0)[1]


def test_every_input_has_a_process_of_its_own_and_all_have_one_replica() -> None:
    children, replicas = zip(*forked.where.map(range(20)), strict=True)
    assert len(set(children)) == 20
    assert len(set(replicas)) == 1


def test_every_input_begins_with_an_empty_temporary_folder() -> None:
    folders = list(forked.litter.map(range(8)))
    assert all(folders)
    assert forked.temporary_files.remote(0) == []
    assert eventually(lambda: not any(Path(folder, "litter").exists() for folder in folders))


def test_what_a_child_loads_first_is_loaded_once_in_the_replica(tmp_path: Path) -> None:
    log = tmp_path / "loads"
    results = list(forked.with_model.map([str(log)] * 20))
    owner = replica()
    assert results[0][0] == results[0][1]
    assert {loaded for loaded, _ in results[1:]} == {owner}
    assert len(lines(log)) == 2
    assert lines(log)[1] == owner


def test_a_value_loaded_by_a_single_call_is_there_for_the_next(tmp_path: Path) -> None:
    forked.with_model.remote(str(tmp_path / "loads"))
    assert forked.with_model.remote(str(tmp_path / "loads"))[0] == replica()


def test_an_async_load_is_shared_too(tmp_path: Path) -> None:
    results = list(forked.with_async_model.map([str(tmp_path / "loads")] * 5))
    assert {loaded for loaded, _ in results[1:]} == {replica()}
    assert list(forked.sleeps_async.map(range(3))) == [0, 1, 2]


def test_several_keys_of_one_input_are_loaded_once_and_its_body_runs_once(tmp_path: Path) -> None:
    first, second, log = (tmp_path / name for name in ("first", "second", "log"))
    arguments = [(str(first), str(second), str(log))] * 10
    results = list(forked.with_models.starmap(arguments))
    assert len(lines(log)) == 10
    assert len(lines(first)) == len(lines(second)) == 2
    assert results[-1] == [replica()] * 3


def test_a_load_that_fails_fails_its_input_alone_and_is_not_tried_in_the_replica(tmp_path: Path) -> None:
    log = tmp_path / "loads"
    for _ in range(2):
        with pytest.raises(ValueError, match="no such weights"):
            forked.with_broken_model.remote(str(log))
    assert replica() not in lines(log)


def test_a_load_that_works_only_in_a_child_is_given_up_in_the_replica_after_three_tries(tmp_path: Path) -> None:
    log = tmp_path / "loads"
    results = list(forked.with_stubborn_model.map([str(log)] * 8))
    assert all(loaded == child for loaded, child in results)
    assert lines(log).count(replica()) == 3


@pytest.mark.parametrize("how", ["exit", "segfault", "kill"])
def test_an_input_that_kills_its_process_fails_alone_and_the_caches_stay(how: str, tmp_path: Path) -> None:
    log = str(tmp_path / "loads")
    forked.with_model.remote(log)
    before = replica()
    results = list(forked.dies.map(["a", how, "b", how, "c"], return_exceptions=True))
    assert results[::2] == ["a", "b", "c"]
    assert all(isinstance(result, ReplicaLostError) for result in results[1::2])
    assert forked.with_model.remote(log)[0] == before == replica()


def test_an_input_that_kills_its_process_is_tried_again_where_its_task_has_retries(tmp_path: Path) -> None:
    assert forked.dies_once.remote(str(tmp_path / "tried")) == "second try"
    assert list(forked.dies_once.map([str(tmp_path / "mapped")])) == ["second try"]


def test_exceptions_and_exits_are_told_as_elsewhere() -> None:
    with pytest.raises(KeyError, match="raise"):
        forked.dies.remote("raise")
    with pytest.raises(TaskError, match="SystemExit"):
        forked.dies.remote("sys.exit")


def test_a_timeout_runs_finally_blocks_and_costs_that_input_alone(tmp_path: Path) -> None:
    before = replica()
    files = [str(tmp_path / str(i)) for i in range(3)]
    results = list(forked.sleeps.map([0.0, 30.0, 0.0], files, return_exceptions=True))
    assert results[0] == results[2] == 0.0
    assert isinstance(results[1], TaskTimeoutError)
    assert all(Path(file).exists() for file in files)
    assert replica() == before


def test_a_body_that_cannot_be_interrupted_is_killed_at_its_timeout_and_the_caches_stay() -> None:
    before = replica()
    results = list(forked.deaf.map([0, 1, 0], return_exceptions=True))
    assert results[::2] == [0, 0]
    assert isinstance(results[1], TaskTimeoutError)
    assert replica() == before


def test_a_result_larger_than_a_socket_buffer_arrives_whole() -> None:
    sizes = [0, 1, 5_000_000, 100]
    assert [len(result) for result in forked.large.map(sizes)] == sizes


def test_processes_that_an_input_left_behind_are_ended() -> None:
    pids = [pid for left in forked.leaves_processes.map(range(3)) for pid in left]
    assert eventually(lambda: not any(psutil.pid_exists(pid) for pid in pids))


def test_a_task_can_terminate_a_process_it_started() -> None:
    assert forked.terminates_a_process.remote(0) == -signal.SIGTERM


def test_children_do_not_draw_the_same_random_numbers() -> None:
    for numbers in zip(*forked.draws.map(range(10)), strict=True):
        assert len(set(numbers)) == 10


def test_the_child_ends_with_a_cancelled_map(tmp_path: Path) -> None:
    file = tmp_path / "pid"
    before = replica()
    handle = forked.lasts.map([str(file)])
    iterator = iter(handle)
    assert eventually(file.exists, timeout=30)
    del iterator
    handle.cancel()
    assert eventually(lambda: not psutil.pid_exists(int(file.read_text() or 0)), timeout=30)
    assert replica() == before


def test_the_child_ends_with_its_replica(tmp_path: Path) -> None:
    file = tmp_path / "pid"
    future = forked.lasts.submit(str(file))
    seen = [""]
    for _ in range(1 + forked.forked.max_crashes):  # it runs again elsewhere, as after every death of a replica
        assert eventually(lambda: file.exists() and file.read_text() not in seen, timeout=30)
        seen.append(file.read_text())
        child = psutil.Process(int(seen[-1]))
        os.kill(child.ppid(), signal.SIGKILL)
        assert eventually(lambda child=child: not child.is_running())
    with pytest.raises(ReplicaLostError):
        future.result(20)


_REFUSED = {
    "thread": "import threading, time; threading.Thread(None, time.sleep, 'poller', (99,), daemon=True).start()",
    "loop": "import asyncio; loop = asyncio.new_event_loop()",
    "native": "import ctypes as c; l = c.CDLL(None); l.pthread_create(c.byref(c.c_ulong()), None, l.pause, None)",
}
_NAMED = {"thread": "poller", "loop": "event loop", "native": "native thread"}


@pytest.mark.parametrize("cause", list(_REFUSED))
def test_a_process_that_cannot_be_forked_is_refused_at_start_by_the_name_of_the_cause(
    cause: str, tmp_path: Path
) -> None:
    said = run_script(
        tmp_path,
        f"""
        from actorq import ActorEnvironment, PoolError
        {_REFUSED[cause]}
        env = ActorEnvironment("refused", isolation="fork")
        @env.task
        def f(x): return x
        if __name__ == "__main__":
            try:
                print(f.remote(1))
            except PoolError as error:
                print("REFUSED", error)
        """,
    )
    assert "REFUSED" in said
    assert _NAMED[cause] in said


def test_a_load_after_which_the_replica_cannot_be_forked_is_named(tmp_path: Path) -> None:
    said = run_script(
        tmp_path,
        """
        from actorq import ActorEnvironment, PoolError, actor_cache
        import threading, time
        env = ActorEnvironment("refused", isolation="fork")
        @actor_cache
        def client():
            threading.Thread(target=time.sleep, args=(99,), name="poller", daemon=True).start()
            return 1
        @env.task
        def f(x): return client() + x
        if __name__ == "__main__":
            print(f.remote(1))
            try:
                print(f.remote(1))
            except PoolError as error:
                print("REFUSED", error)
        """,
    )
    assert "REFUSED" in said
    assert "poller" in said
    assert "script.client" in said


def test_an_operator_who_starts_a_worker_needs_no_settings_for_it(on_server: str, tmp_path: Path) -> None:
    target = "tests.support.code.forked:forked"
    command = [sys.executable, "-m", "actorq.cli", "worker", target, "-u", on_server, "-n", "1"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, cwd=ROOT) as worker:
        log = str(tmp_path / "loads")
        results = list(forked.with_model.map([log] * 3))
        worker.send_signal(signal.SIGTERM)
        worker.communicate(timeout=20)
    assert results[2][0] != results[2][1]
    assert worker.returncode == 0


def test_a_load_after_which_nothing_waits_is_made_before_the_replica_takes_the_next_call(tmp_path: Path) -> None:
    first = forked.with_model.remote(str(tmp_path / "one"))
    second = forked.with_model.remote(str(tmp_path / "one"))
    assert first[0] == first[1]
    assert second[0] == replica()


def test_a_load_that_hangs_in_the_replica_is_given_up_and_costs_no_input(tmp_path: Path) -> None:
    log = tmp_path / "loads"
    before = replica()
    assert len(list(forked.with_hanging_model.map([str(log)] * 6))) == 6
    assert lines(log) == [before]
    assert replica() == before


def test_a_load_that_ends_the_replica_is_not_tried_again(tmp_path: Path) -> None:
    log = tmp_path / "loads"
    assert list(forked.with_deadly_model.map([str(log)] * 6)) == [0] * 6
    assert len(lines(log)) == 1


def test_a_process_left_by_an_input_that_loaded_something_is_ended_too(tmp_path: Path) -> None:
    pids = list(forked.leaves_a_process_and_loads.map([str(tmp_path / "loads")] * 3))
    assert eventually(lambda: not any(psutil.pid_exists(pid) for pid in pids))


def test_a_child_that_closed_its_files_and_resists_costs_its_own_input_alone() -> None:
    before = replica()
    results = list(forked.closes_everything.map([0, 1, 0], return_exceptions=True))
    assert results[::2] == [before, before]
    assert isinstance(results[1], TaskTimeoutError)
