"""Code that travels with the map: by content, checked, several versions on one warm pool."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from actorq import PoolError, bundle
from actorq.settings import settings
from tests import tasks
from tests.conftest import ROOT, eventually

SCRIPT = """
    import os
    from actorq import ActorEnvironment, actor_cache
    import beside

    env = ActorEnvironment("shipped", code="bundle", isolation="{isolation}")
    seen = []

    @actor_cache
    def loaded():
        return os.getpid(), os.urandom(4).hex()

    class Point:
        pass

    @actor_cache
    def point():
        return Point()

    @env.task
    def work(x):
        seen.append(x)
        return x * {factor} + beside.ONE, len(seen), loaded(), isinstance(point(), Point), __name__

    if __name__ == "__main__":
        for out in work.map(range({first}, {first} + 5)):
            print(*out)
        print(*work.remote({first}))
"""


class Shipped:
    """A warm replica without any code, and a project folder whose script is run against it."""

    def __init__(self, url: str, folder: Path, **variables: str) -> None:
        self.folder = folder
        self.url = url
        declared = json.dumps({"isolation": "reset", "lease_seconds": 2})
        command = [sys.executable, "-m", "actorq.cli", "worker", "-e", "shipped", "--bundles", "-u", url]
        self.worker = subprocess.Popen(
            command,
            env=os.environ | {"ACTORQ_DECLARED": declared} | variables,
            stderr=subprocess.PIPE,
            text=True,
            cwd=ROOT,
        )
        (folder / "beside.py").write_text("ONE = 1\n")

    def run(self, *, factor: int = 10, isolation: str = "reset", first: int = 0, **variables: str) -> list[list[str]]:
        text = textwrap.dedent(SCRIPT).format(factor=factor, isolation=isolation, first=first)
        (self.folder / "job.py").write_text(text)
        path = os.environ | {"ACTORQ_REDIS_URL": self.url, "PYTHONPATH": str(ROOT)} | variables
        done = subprocess.run(
            [sys.executable, "job.py"],
            env=path,
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=40,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return [line.split() for line in done.stdout.splitlines()]

    def python(self, script: str, **variables: str) -> subprocess.CompletedProcess[str]:
        told = os.environ | {"ACTORQ_REDIS_URL": self.url, "PYTHONPATH": str(ROOT)} | variables
        command = [sys.executable, script]
        return subprocess.run(
            command, env=told, cwd=self.folder, capture_output=True, text=True, timeout=40, check=False
        )

    def stop(self) -> str:
        self.worker.terminate()
        return self.worker.communicate(timeout=20)[1]


@pytest.fixture
def shipped(server: str, tmp_path: Path) -> Iterator[Shipped]:
    pool = Shipped(server, tmp_path)
    yield pool
    pool.stop()


def test_a_script_runs_on_a_replica_that_has_never_seen_it(shipped: Shipped) -> None:
    lines = shipped.run()
    assert [line[0] for line in lines] == ["1", "11", "21", "31", "41", "1"]
    assert {line[1] for line in lines} == {"1"}  # its globals are restored between inputs
    assert len({tuple(line[2:4]) for line in lines}) == 1  # what it cached is kept
    assert {line[4] for line in lines} == {"True"}
    assert {line[5] for line in lines} == {"job"}


def test_an_edit_is_seen_at_once_and_the_replica_stays_warm(shipped: Shipped) -> None:
    first = shipped.run(factor=10)
    second = shipped.run(factor=20)
    again = shipped.run(factor=10)
    assert [line[0] for line in second] == ["1", "21", "41", "61", "81", "1"]
    assert [line[0] for line in again] == [line[0] for line in first]
    pids = {line[2] for line in [*first, *second, *again]}
    assert len(pids) == 1
    assert {line[1] for line in [*first, *second, *again]} == {"1"}


def test_a_module_beside_the_script_travels_with_it(shipped: Shipped) -> None:
    shipped.run()
    (shipped.folder / "beside.py").write_text("ONE = 1000\n")
    assert shipped.run()[0][0] == "1000"


def test_equal_code_is_one_bundle(shipped: Shipped) -> None:
    shipped.run()
    shipped.run(first=7)
    with redis.Redis.from_url(shipped.url) as client:
        keys = client.keys("aq:code:*")
        assert len(keys) == 2  # the script's text differs by its first input
        assert all(0 < client.ttl(key) <= bundle.TTL_SECONDS for key in keys)
    shipped.run()
    with redis.Redis.from_url(shipped.url) as client:
        assert len(client.keys("aq:code:*")) == 2


def test_a_bundle_that_was_tampered_with_is_not_run(shipped: Shipped) -> None:
    text = textwrap.dedent(SCRIPT).format(factor=1, isolation="reset", first=0)
    (shipped.folder / "job.py").write_text(text)
    code = textwrap.dedent("""
        import sys, redis, actorq.bundle as b
        original = b.pack
        def pack(environment):
            made = original(environment)
            return b.Bundle(code=made.code, data=made.data[:-1] + bytes([made.data[-1] ^ 1]))
        b.pack = pack
        import runpy
        runpy.run_path("job.py", run_name="__main__")
    """)
    (shipped.folder / "evil.py").write_text(code)
    done = shipped.python("evil.py")
    assert "is damaged, or not what its name says: it was not run" in done.stderr


def test_a_replica_with_a_key_runs_only_what_is_signed_with_it(server: str, tmp_path: Path) -> None:
    pool = Shipped(server, tmp_path, ACTORQ_SIGNING_KEY="one")
    try:
        assert pool.run(ACTORQ_SIGNING_KEY="one")[0][0] == "1"
        with pytest.raises(AssertionError, match="is not signed with the key of this replica"):
            pool.run(factor=3, ACTORQ_SIGNING_KEY="two")
        with pytest.raises(AssertionError, match="is not signed with the key of this replica"):
            pool.run(factor=4)
    finally:
        pool.stop()


def test_code_that_cannot_be_imported_is_told_to_the_submitter(shipped: Shipped) -> None:
    shipped.run()
    (shipped.folder / "beside.py").write_text(
        "import sys\nONE = 1\nif 'job' not in sys.argv[0]: raise RuntimeError('no')\n"
    )
    with pytest.raises(AssertionError, match="The code of the map cannot be imported here: RuntimeError: no"):
        shipped.run()
    (shipped.folder / "beside.py").write_text("ONE = 5\n")
    assert shipped.run()[0][0] == "5"  # the replica is as good as new


def test_a_replica_that_was_not_told_to_refuses_code(worker: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tasks.plain, "code", "bundle")
    with pytest.raises(PoolError, match="runs only the code of its image"):
        list(tasks.double.map(range(3)))


def test_a_bundle_cannot_write_outside_its_folder(tmp_path: Path) -> None:
    import hashlib
    import io
    import zipfile

    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as packed:
        packed.writestr("../evil.py", "x = 1")
    archive = out.getvalue()
    data = b"AQB1" + bytes(32) + archive
    settings.cache_clear()
    with pytest.raises(PoolError, match="outside its folder"):
        bundle.unpack(hashlib.sha256(archive).hexdigest(), data, tmp_path)
    assert eventually(lambda: not (tmp_path.parent / "evil.py").exists())


def test_code_that_came_with_a_map_has_its_hooks_and_is_warm_again_after_recycling(server: str, tmp_path: Path) -> None:
    declared = json.dumps({"isolation": "reset", "lease_seconds": 2, "max_tasks_per_child": 3})
    pool = Shipped(server, tmp_path, ACTORQ_DECLARED=declared)
    text = """
        import os
        from pathlib import Path
        from actorq import ActorEnvironment, actor_cache

        env = ActorEnvironment("shipped", code="bundle")

        def note(what):
            with Path("LOG").open("a") as file:
                file.write(f"{what} ")

        @env.on_start
        def begin(): note("start")

        @env.on_exit
        def end(): note("exit")

        @actor_cache
        def loaded():
            note("load")
            return os.getpid()

        @env.task
        def work(x):
            found = loaded.has()
            return found, loaded() == os.getpid()

        if __name__ == "__main__":
            for x in range(7):
                print(*work.remote(x))
    """
    log = tmp_path / "log"
    (tmp_path / "job.py").write_text(textwrap.dedent(text).replace("LOG", str(log)))
    done = pool.python("job.py")
    assert done.stdout.splitlines() == ["False True"] + ["True True"] * 6, done.stderr
    pool.stop()
    assert log.read_text().split() == ["start", "load", "exit"] * 3
