"""Hooks and prewarms: what a replica does before it takes work and after, and what becomes of one that cannot start."""

from __future__ import annotations

import json
import re
import signal
from pathlib import Path

import pytest
import redis

from actorq import PoolError
from actorq.runtime.local import LocalPool
from tests.conftest import eventually, run_script
from tests.integration.test_monitor import actorq, get, samples
from tests.support.code import hooked, tasks
from tests.support.code.hooked import Start, lines, steps

_START = ["start-first", "start-second", "load-base", "load-async-base"]
_EXIT = ["exit-but-last", "exit-last"]


@pytest.mark.parametrize("level", hooked.LEVELS)
def test_hooks_run_in_order_before_the_first_input_and_in_reverse_when_the_replica_drains(
    start: Start, log: Path, level: str
) -> None:
    worker = start(level, f"hooked-{level}")
    worker.wait_ready(1)
    assert steps(log) == _START
    _, seen, variable = hooked.WHERE[f"hooked-{level}"].remote(0)
    assert (seen, variable) == (["first"], "on")
    status, events = worker.stop()
    assert status == 0
    assert steps(log) == [*_START, "input", *_EXIT]
    assert "replica_drained" in [event["event"] for event in events]
    executors = {line.split()[1] for line in lines(log) if not line.startswith("input")}
    assert len(executors) == 1


@pytest.mark.parametrize("level", ["reset", "fork"])
def test_what_start_hooks_did_belongs_to_the_replica(start: Start, level: str) -> None:
    start(level, f"hooked-{level}").wait_ready(1)
    task = hooked.WHERE[f"hooked-{level}"]
    assert [task.remote(x)[1:] for x in range(3)] == [(["first"], "on")] * 3


@pytest.mark.parametrize("level", hooked.LEVELS)
def test_a_program_that_ends_lets_its_replicas_run_their_exit_hooks(tmp_path: Path, log: Path, level: str) -> None:
    said = run_script(
        tmp_path,
        f"""
        from tests.support.code import hooked
        if __name__ == "__main__":
            print(len(list(hooked.WHERE["hooked-{level}"].map(range(3)))), "done")
        """,
        HOOKED_LOG=str(log),
    )
    assert "3 done" in said
    assert steps(log) == [*_START, *["input"] * 3, *_EXIT]


def test_hooks_may_be_declared_in_a_module_that_has_no_task(tmp_path: Path, log: Path) -> None:
    (tmp_path / "declared.py").write_text("from actorq import ActorEnvironment\nenv = ActorEnvironment('apart')\n")
    (tmp_path / "start.py").write_text(
        "from declared import env\nseen = []\n@env.on_start\ndef begin(): seen.append('begun')\n"
    )
    (tmp_path / "work.py").write_text(
        "import sys\nfrom declared import env\n@env.task\ndef f(x): return sys.modules['start'].seen\n"
    )
    said = run_script(
        tmp_path,
        """
        import start, work
        if __name__ == "__main__":
            print(work.f.remote(1))
        """,
    )
    assert "['begun']" in said


def test_a_map_on_local_replicas_fails_with_the_traceback_of_a_start_that_fails(tmp_path: Path, log: Path) -> None:
    (tmp_path / "fail").touch()
    said = run_script(tmp_path, _MAP, HOOKED_LOG=str(log))
    assert "PoolError: The replicas of 'hooked-none' cannot start" in said
    assert "ConnectionError: no weights today" in said
    assert "in first" in said
    assert steps(log) == ["start-first"] * 3


def test_a_map_on_local_replicas_fails_when_they_die_while_they_start(tmp_path: Path, log: Path) -> None:
    (tmp_path / "die").touch()
    said = run_script(tmp_path, _MAP, HOOKED_LOG=str(log))
    assert "PoolError: The replicas of 'hooked-none' cannot start" in said
    assert "ended while it started: exited with status 9" in said


_MAP = """
from actorq import PoolError
from tests.support.code import hooked
if __name__ == "__main__":
    try:
        print(list(hooked.WHERE["hooked-none"].map(range(3))))
    except PoolError as error:
        print("PoolError:", error)
"""


def test_a_pool_that_is_looked_at_after_it_was_stopped_says_so(server: str) -> None:
    pool = LocalPool(tasks.plain, server)
    pool.stop()
    with pytest.raises(PoolError, match="The pool of 'plain' has stopped"):
        pool.check()  # as the thread does that looks after what tasks asked for


def test_start_hooks_after_which_a_replica_cannot_be_forked_are_refused(tmp_path: Path) -> None:
    said = run_script(
        tmp_path,
        """
        from actorq import ActorEnvironment, PoolError
        import threading, time
        env = ActorEnvironment("threaded", isolation="fork")
        @env.on_start
        def begin():
            threading.Thread(target=time.sleep, args=(99,), name="poller", daemon=True).start()
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
    assert "it runs threads (poller)" in said


def test_a_worker_whose_start_fails_is_unready_takes_nothing_and_recovers(
    start: Start, tmp_path: Path, log: Path, on_server: str
) -> None:
    (tmp_path / "fail").touch()
    worker = start("none", "hooked-none", http_port=0)
    future = hooked.WHERE["hooked-none"].submit(0)
    assert eventually(lambda: steps(log).count("start-first") >= 2, timeout=30)
    port = worker.http_port()
    assert get(port, "/readyz")[0] == 503
    assert get(port, "/livez")[0] == 200
    assert eventually(lambda: samples(get(port, "/metrics")[1])["actorq_replicas hooked-none failing"] == 1)
    assert eventually(lambda: "failing" in actorq("workers", "-o", "json", url=on_server).stdout, timeout=30)
    assert "failing" in actorq("status", url=on_server).stdout
    assert not future.done()
    (tmp_path / "fail").unlink()
    assert future.result(timeout=20)[1] == ["first"]
    assert eventually(lambda: get(port, "/readyz")[0] == 200)
    _, events = worker.stop()
    failed = [event for event in events if event["event"] == "start_failed"]
    assert "no weights today" in failed[0]["traceback"]
    pauses = [event["again_in_seconds"] for event in failed]
    assert pauses == [0.5 * 2**i for i in range(len(pauses))]


def test_a_replica_whose_executors_die_with_nothing_to_do_is_quarantined(start: Start, on_server: str) -> None:
    worker = start("none", "hooked-none", http_port=0)
    for _ in range(5):
        worker.wait_ready(1)
        (executor,) = worker.executors()
        executor.send_signal(signal.SIGKILL)
        assert eventually(lambda executor=executor: not executor.is_running(), timeout=30)
        with redis.Redis.from_url(on_server) as client:
            assert eventually(lambda client=client: client.zcard("aq:idle:hooked-none") == 0)
    port = worker.http_port()
    assert eventually(lambda: samples(get(port, "/metrics")[1])["actorq_replicas hooked-none quarantined"] == 1)
    assert get(port, "/readyz")[0] == 503

    def states() -> list[str]:
        return [replica["state"] for replica in json.loads(actorq("workers", "-o", "json", url=on_server).stdout)]

    assert eventually(lambda: states() == ["quarantined"])  # the server is told of it with the next renewal
    assert len(worker.family()) == 1  # the zygote; nothing has started for it
    _, events = worker.stop()
    assert [event["event"] for event in events].count("replica_quarantined") == 1


def test_an_exit_hook_that_raises_is_logged_and_keeps_no_other_from_running(
    start: Start, tmp_path: Path, log: Path
) -> None:
    (tmp_path / "fail-exit").touch()
    worker = start("none", "hooked-none")
    worker.wait_ready(1)
    status, events = worker.stop()
    assert status == 0
    assert steps(log)[-2:] == _EXIT
    (failed,) = [event for event in events if event["event"] == "exit_hook_failed"]
    assert "cannot close" in failed["traceback"]
    assert re.search("but_last", failed["hook"])


def test_an_executor_whose_exit_hook_hangs_is_replaced_after_drain_seconds(
    start: Start, tmp_path: Path, log: Path
) -> None:
    (tmp_path / "hang-exit").touch()
    worker = start("hanging", "hanging")
    task = hooked.WHERE["hanging"]
    first, second = (task.remote(x)[0] for x in range(2))
    assert first != second
    _, events = worker.stop()
    cut = [event for event in events if event["event"] == "exit_hooks_cut"]
    assert "drain_seconds" in cut[0]["reason"]
