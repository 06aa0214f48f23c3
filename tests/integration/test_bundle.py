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

from actorq import PoolError
from actorq.base.settings import settings
from actorq.broker import keys
from actorq.broker.link import Link
from actorq.code import bundle
from tests.conftest import ROOT, eventually
from tests.support.code import tasks

ONE, TWO = "the first key of two", "the second key of two"

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

    def __init__(self, url: str, folder: Path, *targets: str, **variables: str) -> None:
        self.folder = folder
        self.url = url
        declared = json.dumps({"isolation": "reset", "lease_seconds": 2})
        served = [*targets] if targets else ["-e", "shipped"]
        command = [sys.executable, "-m", "actorq.cli", "worker", *served, "--bundles", "-u", url]
        (folder / "beside.py").write_text("ONE = 1\n")
        self.worker = subprocess.Popen(
            command,
            env=os.environ | {"ACTORQ_DECLARED": declared, "PYTHONPATH": str(ROOT)} | variables,
            stderr=subprocess.PIPE,
            text=True,
            cwd=folder if targets else ROOT,
        )

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

    def python(self, script: str, typed: str = "", **variables: str) -> subprocess.CompletedProcess[str]:
        """`typed`: what `script` reads, or, where that is "-", is."""
        told = os.environ | {"ACTORQ_REDIS_URL": self.url, "PYTHONPATH": str(ROOT)} | variables
        command = [sys.executable, script]
        return subprocess.run(
            command, env=told, cwd=self.folder, input=typed, capture_output=True, text=True, timeout=40, check=False
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
    assert len({line[3] for line in [*first, *second, *again]}) == 1  # loaded once by three versions of the script


def test_a_cached_object_is_an_instance_of_its_class_in_every_version_of_the_code(shipped: Shipped) -> None:
    lines = [line for factor in (10, 20, 10) for line in shipped.run(factor=factor)]
    assert {line[4] for line in lines} == {"True"}


LOADER = """
    from actorq import ActorEnvironment, actor_cache
    import lib

    env = ActorEnvironment("shipped", code="bundle")

    @actor_cache
    def loaded():
        return lib.Thing(lib.size())

    @actor_cache
    def constant():
        return object()

    @env.task
    def work(x):
        return loaded().size, isinstance(loaded(), lib.Thing), id(constant())

    if __name__ == "__main__":
        print(*work.remote({first}))
"""
LIB = "def size():\n    return {size}\n\nclass Thing:\n    def __init__(self, size):\n        self.size = size\n"


def test_values_follow_the_code_of_a_module_beside_the_script(shipped: Shipped) -> None:
    """Its classes are new ones in each version even where its file is the same; what uses neither stays."""

    def run(size: int, first: int) -> list[str]:
        (shipped.folder / "lib.py").write_text(LIB.format(size=size))
        (shipped.folder / "loader.py").write_text(textwrap.dedent(LOADER).format(first=first))
        done = shipped.python("loader.py")
        assert done.returncode == 0, done.stderr
        return done.stdout.split()

    lines = [run(1, 1), run(1, 2), run(2, 2), run(1, 1)]
    assert [line[:2] for line in lines] == [["1", "True"], ["1", "True"], ["2", "True"], ["1", "True"]]
    assert len({line[2] for line in lines}) == 1


def test_a_module_beside_the_script_travels_with_it(shipped: Shipped) -> None:
    shipped.run()
    (shipped.folder / "beside.py").write_text("ONE = 1000\n")
    assert shipped.run()[0][0] == "1000"


def test_a_module_that_a_program_without_a_file_imports_travels_too(shipped: Shipped) -> None:
    shipped.run()
    done = shipped.python("-", "import job\nprint(job.work.remote(7)[4])")
    assert (done.stdout, done.stderr) == ("job\n", "")


def test_a_replica_that_has_the_script_runs_an_edited_one(server: str, tmp_path: Path) -> None:
    (tmp_path / "job.py").write_text(textwrap.dedent(SCRIPT).format(factor=10, isolation="reset", first=0))
    pool = Shipped(server, tmp_path, "job.py")
    try:
        assert [line[0] for line in pool.run(factor=20)] == ["1", "21", "41", "61", "81", "1"]
        assert [line[0] for line in pool.run(factor=30)] == ["1", "31", "61", "91", "121", "1"]
    finally:
        pool.stop()


LAZY = """
    from actorq import ActorEnvironment

    env = ActorEnvironment("shipped", code="bundle")

    @env.task
    def work(x):
        import later
        return later.VALUE

    if __name__ == "__main__":
        print(*work.map(range(2)))
"""


def test_what_an_input_imports_belongs_to_its_version(shipped: Shipped) -> None:
    (shipped.folder / "lazy.py").write_text(textwrap.dedent(LAZY))
    for value in (1, 2, 1):
        (shipped.folder / "later.py").write_text(f"VALUE = {value}\n")
        done = shipped.python("lazy.py")
        assert done.stdout == f"{value} {value}\n", done.stderr


MANY_VERSIONS = """
    import hashlib, json, sys
    from pathlib import Path
    from actorq import ActorEnvironment
    from actorq.code import bundle
    from actorq.broker import keys
    from actorq.broker.link import Link
    from actorq.isolation.reset.reset import Reset
    from actorq.replica.executor.versions import _KEPT_VERSIONS, Versions

    job = Path("edited.py")
    env = ActorEnvironment("edited-often")
    link = Link(sys.argv[1], patience=0)
    isolation = Reset(env, Path("scratch"))
    isolation.begin()
    versions = Versions(env, isolation, lambda: link, Path("code").resolve(), lambda _: None, lambda _: None)
    declaration = "from actorq import ActorEnvironment; env = ActorEnvironment('edited-often')"
    for number in range(_KEPT_VERSIONS + 3):
        job.write_text(f"{declaration}\\n@env.task\\ndef work(): return {number}\\n")
        archive = bundle._archive({"edited.py": job}, json.dumps({"modules": ["edited"]}).encode())
        code = hashlib.sha256(archive).hexdigest()
        link.command("SET", keys.code(code), b"AQB1" + bytes(32) + archive, "EX", 60)
        assert versions.function(code, "edited.work")() == number
    on_disk, noted = len(list(Path("code").iterdir())), len(isolation._states)
    versions.activate("")
    print(on_disk, noted, "edited" in sys.modules, _KEPT_VERSIONS)
    isolation.end()
"""


def test_a_version_that_was_not_used_for_long_leaves_nothing(tmp_path: Path, server: str) -> None:
    script = tmp_path / "many.py"
    script.write_text(textwrap.dedent(MANY_VERSIONS))
    told = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, str(script), server], cwd=tmp_path, env=told, capture_output=True, text=True, check=False
    )
    assert done.stdout == "8 9 False 8\n", done.stderr


def test_equal_code_is_one_bundle(shipped: Shipped) -> None:
    shipped.run()
    shipped.run(first=7)
    with redis.Redis.from_url(shipped.url) as client:
        packed = client.keys("aq:code:*")
        assert len(packed) == 2  # the script's text differs by its first input
        assert all(0 < client.ttl(key) <= bundle.TTL_SECONDS for key in packed)
    shipped.run()
    with redis.Redis.from_url(shipped.url) as client:
        assert len(client.keys("aq:code:*")) == 2


LATER = """
    from job import work

    if __name__ == "__main__":
        job, run = work.spawn(2, delay=500_000), work.spawn_map([3])
        print(work.spawn(4).result()[0], run.results()[0][0])
        print(work.remote(1)[0])  # asks for the code, and not for so long
        job.cancel()
"""


def test_code_stays_as_long_as_a_job_may_wait_for_its_time(shipped: Shipped) -> None:
    shipped.run()
    (shipped.folder / "later.py").write_text(textwrap.dedent(LATER))
    done = shipped.python("later.py")
    assert done.stdout.split() == ["41", "31", "11"], done.stderr
    with redis.Redis.from_url(shipped.url) as client:
        assert max(client.ttl(key) for key in client.keys("aq:code:*")) > 500_000 + 604_800


def test_a_bundle_that_was_tampered_with_is_not_run(shipped: Shipped) -> None:
    text = textwrap.dedent(SCRIPT).format(factor=1, isolation="reset", first=0)
    (shipped.folder / "job.py").write_text(text)
    code = textwrap.dedent("""
        import sys, redis, actorq.code.bundle as b
        original = b.pack
        def pack(*environment):
            made = original(*environment)
            return b.Bundle(code=made.code, data=made.data[:-1] + bytes([made.data[-1] ^ 1]))
        b.pack = pack
        import runpy
        runpy.run_path("job.py", run_name="__main__")
    """)
    (shipped.folder / "evil.py").write_text(code)
    done = shipped.python("evil.py")
    assert "is damaged, or not what its name says: it was not run" in done.stderr


def test_a_replica_with_a_key_runs_only_what_is_signed_with_it(server: str, tmp_path: Path) -> None:
    pool = Shipped(server, tmp_path, ACTORQ_SIGNING_KEY=ONE)
    try:
        assert pool.run(ACTORQ_SIGNING_KEY=ONE)[0][0] == "1"
        with pytest.raises(AssertionError, match="ACTORQ_SIGNING_KEY"):
            pool.run(factor=3, ACTORQ_SIGNING_KEY=TWO)
        with pytest.raises(AssertionError, match="is not signed with the key of this replica"):
            pool.run(factor=4)
    finally:
        pool.stop()


def test_code_lies_there_with_the_signature_of_whoever_signs(server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def bring(key: str) -> bytes:
        monkeypatch.setenv("ACTORQ_SIGNING_KEY", key) if key else monkeypatch.delenv(
            "ACTORQ_SIGNING_KEY", raising=False
        )
        settings.cache_clear()
        packed = bundle.pack(tasks.plain.name, tasks.plain.modules)
        bundle.Courier(packed).bring(link)
        return bytes(link.command("GET", keys.code(packed.code)))

    link = Link(server, patience=0)
    unsigned, one, two = bring(""), bring(ONE), bring(TWO)
    assert len({unsigned, one, two}) == 3
    assert bring("") == two  # who does not sign breaks nothing for who does
    link.close()
    monkeypatch.undo()
    settings.cache_clear()


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


DIES = """
    import os, sys
    from actorq import ActorEnvironment

    env = ActorEnvironment("shipped", code="bundle", max_crashes=1)
    if os.environ.get("ACTORQ_REPLICA_OF"):
        {dies}

    @env.task
    def work(x):
        return x

    if __name__ == "__main__":
        try:
            print(list(work.map(range(3))))
        except Exception as error:
            print(type(error).__name__, error)
"""


@pytest.mark.parametrize(
    ("dies", "told"), [("sys.exit(2)", "PoolError The code of the map cannot"), ("os._exit(3)", "ReplicaLostError")]
)
def test_code_that_ends_the_process_at_its_import_fails_its_map_and_not_the_pool(
    shipped: Shipped, dies: str, told: str
) -> None:
    (shipped.folder / "dies.py").write_text(textwrap.dedent(DIES).replace("{dies}", dies))
    done = shipped.python("dies.py")
    assert told in done.stdout, done.stdout + done.stderr
    assert shipped.run()[0][0] == "1"
