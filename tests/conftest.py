"""Shared fixtures, and the check that no test leaves anything behind."""

from __future__ import annotations

import compileall
import contextlib
import json
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import hypothesis
import psutil
import pytest
import redis

from actorq.base.settings import settings
from actorq.maps import opening
from actorq.maps.sizing import Sizes
from actorq.runtime import program as runtime_module
from actorq.runtime.embedded import EmbeddedServer
from actorq.runtime.program import runtime, shutdown
from tests.support.edited_project import Project
from tests.support.server_steps import Asked

ROOT = Path(__file__).parents[1]

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # in the background of a shell; the scripts of tests inherit it
    signal.signal(signal.SIGINT, signal.default_int_handler)

# pytest keeps what it makes of the tests; what these start finds the packages compiled, which halves what most of it
# costs, and compiles no script of a test: one that is edited within a second would be taken for the one before
sys.dont_write_bytecode = False
os.environ["PYTHONDONTWRITEBYTECODE"] = "1"


def pytest_configure(config: pytest.Config) -> None:
    if not hasattr(config, "workerinput"):  # once, before the processes that run tests
        for package in ("actorq", "tests"):
            compileall.compile_dir(ROOT / package, quiet=2)


#: files that take longest, in that order: they begin first, so that the processes end together
_LONGEST = """
    fuzz/test_fuzz chaos/test_chaos kube/test_pool kube/test_regular integration/test_ways_to_start
    integration/test_logging integration/test_bundle integration/test_workers integration/test_silence kube/test_jobs
    integration/test_monitor integration/test_refusals integration/test_other_code kube/test_ends
    integration/test_memory integration/test_lifecycle integration/test_recycling integration/test_runs
    integration/test_jobs chart/test_rendering integration/test_signing integration/test_scripts integration/test_races
    docs/test_commands integration/test_streams integration/test_affinity chart/test_policy
    integration/test_protocol_faults integration/test_run_machine integration/test_page_access integration/test_page
"""


@pytest.hookimpl(trylast=True)  # when the rest is in its order
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    order = {ROOT / "tests" / f"{name}.py": at for at, name in enumerate(_LONGEST.split())}
    items.sort(key=lambda item: order.get(item.path, len(order)))


# a busy machine is slow, and a test of a property is not a test of speed
hypothesis.settings.register_profile("untimed", deadline=None, max_examples=50)
hypothesis.settings.load_profile("untimed")

#: how long what a test started may take to disappear, seconds
_PATIENCE = 30.0


def eventually(condition: object, timeout: float = _PATIENCE) -> bool:
    """Whether `condition()` becomes true in time. Looks again after a twentieth of what it has waited: what comes at
    once is seen at once, and what takes seconds is not asked for a hundred times a second.
    """
    assert callable(condition)
    begun = time.monotonic()
    while not condition():
        waited = time.monotonic() - begun
        if waited > timeout:
            return False
        time.sleep(min(max(waited / 20, 0.005), 0.1))
    return True


def pool_client() -> redis.Redis:
    """A client of the server that this program has embedded; there must be one."""
    client = runtime().pools.client
    assert client is not None
    return redis.Redis.from_url(client.url)


def map_threads() -> list[str]:
    """The threads of running maps; that of `submit` lives as long as the program."""
    names = [thread.name for thread in threading.enumerate()]
    return [name for name in names if name.startswith("actorq-") and "submit" not in name]


@pytest.fixture(autouse=True)
def leaves_nothing() -> Iterator[None]:
    """No map thread, and no key of a map, outlives its test. The pool may: it belongs to the program."""
    yield
    assert eventually(lambda: not map_threads()), map_threads()
    client = runtime().pools.client
    if client is None:
        return
    with redis.Redis.from_url(client.url) as server:
        _check_keys(server)


def _check_keys(server: redis.Redis) -> None:
    keys: list[Any] = server.keys("*")
    left = [key for key in keys if not _belongs_to_pool(server, key)]
    assert eventually(lambda: not [k for k in left if server.exists(k)]), left


def _belongs_to_pool(server: redis.Redis, key: bytes) -> bool:
    """Registration of replicas, lanes of calls, and what expires by itself."""
    permanent = (b"rq:queues", b"rq:workers", b"aq:idle:", b"rq:clean_registries")
    return key.startswith(permanent) or server.ttl(key) > 0 or key.startswith((b"aq:map:call-", b"aq:out:call-"))


@pytest.fixture(autouse=True)
def remembers_no_sizes(monkeypatch: pytest.MonkeyPatch) -> None:
    """A map begins with leases as large as those of its task's last map, which was another test's."""
    monkeypatch.setattr(opening, "_SIZES", Sizes())


@pytest.fixture(scope="session", autouse=True)
def stops_everything() -> Iterator[None]:
    """At the end of the run nothing is left of the pools."""
    yield
    shutdown()
    mine = psutil.Process()
    assert eventually(lambda: not mine.children(recursive=True)), mine.children(recursive=True)


@pytest.fixture
def server() -> Iterator[str]:
    """The address of an empty server of this test's own."""
    embedded = EmbeddedServer()
    embedded.wait_ready()
    yield embedded.url
    embedded.stop()


@pytest.fixture
def asked(server: str) -> Iterator[Asked]:
    asked = Asked(server)
    yield asked
    asked.close()


@pytest.fixture
def on_server(server: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    with told_to_use(server, monkeypatch):
        yield server


@contextlib.contextmanager
def told_to_use(server: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """This program as one that was told to use `server`; the embedded pool is put aside meanwhile."""
    aside, runtime_module._current = runtime_module._current, None
    monkeypatch.setenv("ACTORQ_REDIS_URL", server)
    settings.cache_clear()
    yield
    shutdown()
    runtime_module._current = aside
    settings.cache_clear()


class Worker:
    """An `actorq worker` process on a server."""

    def __init__(
        self,
        url: str,
        target: str = "tests.support.code.tasks:plain",
        replicas: int = 2,
        http_port: int | None = None,
        environment: str = "plain",
        variables: Mapping[str, str] | None = None,
    ) -> None:
        arguments = [sys.executable, "-m", "actorq.cli", "worker", target, "-u", url, "-n", str(replicas)]
        if http_port is not None:
            arguments += ["--http-port", str(http_port), "--http-host", "127.0.0.1"]
        self.process = subprocess.Popen(
            arguments, stderr=subprocess.PIPE, text=True, cwd=ROOT, env={**os.environ, **(variables or {})}
        )
        self.url = url
        self._environment = environment

    def wait_ready(self, replicas: int = 2) -> None:
        with redis.Redis.from_url(self.url) as client:
            assert eventually(lambda: client.zcard(f"aq:idle:{self._environment}") >= replicas, timeout=60)
            assert eventually(lambda: client.scard(f"rq:workers:{self._environment}") >= replicas, timeout=60)

    def http_port(self) -> int:
        """Where it listens, when it was told to take any free port."""
        connections = psutil.Process(self.process.pid).net_connections("tcp")
        return next(int(c.laddr.port) for c in connections if c.status == psutil.CONN_LISTEN)

    def stop_server(self) -> None:
        with redis.Redis.from_url(self.url) as client:
            client.shutdown(nosave=True)

    def family(self) -> list[psutil.Process]:
        return psutil.Process(self.process.pid).children(recursive=True)

    def executors(self) -> list[psutil.Process]:
        executors = []
        for process in self.family():
            with contextlib.suppress(psutil.NoSuchProcess):
                if not process.children():
                    executors.append(process)
        return executors

    def stop(self) -> tuple[int, list[dict[str, Any]]]:
        """SIGTERM; the exit status and the log."""
        if self.process.poll() is None:
            self.process.terminate()
        _, err = self.process.communicate(timeout=20)
        return self.process.returncode, [json.loads(line) for line in err.splitlines() if line.startswith("{")]


def drivers(worker: Worker) -> list[psutil.Process]:
    """The processes beside a worker that drive runs."""
    children = psutil.Process(worker.process.pid).children()
    return [each for each in children if "actorq.runs.process" in each.cmdline()]


def run_script(folder: Path, text: str, **variables: str) -> str:
    """What a program of its own prints, its errors included."""
    script = folder / "script.py"
    script.write_text(textwrap.dedent(text))
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **variables}
    done = subprocess.run(
        [sys.executable, str(script)], env=environment, capture_output=True, text=True, timeout=50, check=False
    )
    return done.stdout + done.stderr


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Project]:
    """An empty one, whose modules can be imported."""
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)  # an edit within a second of the last is an edit
    made = Project(tmp_path)
    yield made
    made.forget()


@pytest.fixture
def worker(on_server: str) -> Iterator[Worker]:
    """Two replicas of `tests.support.code.tasks.plain` that serve a server of this test's own."""
    worker = Worker(on_server)
    worker.wait_ready()
    yield worker
    worker.stop()


@pytest.fixture(scope="module")
def lasting_worker() -> Iterator[Worker]:
    embedded = EmbeddedServer()
    embedded.wait_ready()
    worker = Worker(embedded.url)
    worker.wait_ready()
    yield worker
    worker.stop()
    embedded.stop()


@pytest.fixture
def shared_worker(lasting_worker: Worker, monkeypatch: pytest.MonkeyPatch) -> Iterator[Worker]:
    """As `worker`: one for all tests of a file that leave it, and its server, as they have found them."""
    with redis.Redis.from_url(lasting_worker.url) as server:
        server.config_resetstat()
        with told_to_use(lasting_worker.url, monkeypatch):
            yield lasting_worker
        _check_keys(server)
    lasting_worker.wait_ready()
