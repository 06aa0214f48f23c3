"""The ways in which people start a program: each works as `python job.py` does."""

from __future__ import annotations

import os
import subprocess
import sys
import zipapp
from pathlib import Path

import pytest

from tests.conftest import ROOT, Worker

_JOB = """
import enum
from dataclasses import dataclass
from actorq import ActorEnvironment, TaskEnvironment
FACTOR = 2
env = ActorEnvironment("started", isolation="none")
regular = TaskEnvironment("started-regular", concurrency=1)

class Color(enum.Enum):
    RED = 1

@dataclass
class Shown:
    color: Color
    value: int

class Refused(Exception): pass

@env.task
def show(x): return Shown(Color.RED, FACTOR * x)

@env.task
def refuse(x): raise Refused(x)

@regular.task
def alone(x): return Shown(Color.RED, FACTOR * x)

if __name__ == "__main__":
    for shown in [*show.map([1, 2]), alone.remote(3)]:
        print(shown.color is Color.RED, type(shown) is Shown, shown.value)
    try:
        refuse.remote(1)
    except Refused:
        print("caught")
"""
_TOLD = "True True 2\nTrue True 4\nTrue True 6\ncaught\n"


def run(folder: Path, *command: str, **variables: str) -> str:
    """What a program prints, its errors included."""
    done = subprocess.run(
        [sys.executable, *command],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), **variables},
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    return done.stdout + done.stderr


@pytest.mark.parametrize("name", ["job.py", "my.job.v2.py", "my-job.py", "job", "__main__.py"])
def test_a_script_may_have_any_name(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(_JOB)
    assert run(tmp_path, name) == _TOLD


def test_a_program_may_be_a_folder_or_an_archive(tmp_path: Path) -> None:
    folder = tmp_path / "app"
    (folder / "app").mkdir(parents=True)
    (folder / "app" / "__init__.py").write_text("NAME = 'a package that is called as the folder'\n")
    (folder / "__main__.py").write_text("from app import NAME\n" + _JOB)
    assert run(tmp_path, "app") == _TOLD
    zipapp.create_archive(folder, tmp_path / "app.pyz")
    assert run(tmp_path, "app.pyz") == _TOLD


def test_a_program_may_be_a_module(tmp_path: Path) -> None:
    (tmp_path / "inner").mkdir()
    (tmp_path / "inner" / "job.py").write_text(_JOB)
    (tmp_path / "inner" / "__main__.py").write_text(_JOB)
    assert run(tmp_path, "-m", "inner.job") == _TOLD
    assert run(tmp_path, "-m", "inner") == _TOLD


@pytest.mark.parametrize(
    "way",
    [
        ["-m", "cProfile", "-o", "profile", "job.py"],
        ["-m", "cProfile", "-o", "profile", "-m", "job"],
        ["-m", "profile", "-o", "profile", "job.py"],
        ["-m", "trace", "--count", "--summary", "-C", "counts", "job.py"],
        ["-m", "pdb", "-c", "continue", "-c", "quit", "job.py"],
        ["-c", "import runpy; runpy.run_path('job.py', run_name='__main__')"],
    ],
    ids=" ".join,
)
def test_a_program_may_be_profiled_and_traced(way: list[str], tmp_path: Path) -> None:
    (tmp_path / "job.py").write_text(_JOB)
    said = run(tmp_path, *way)
    assert _TOLD in said
    assert "other code" not in said


_HELPED = """
import enum
from actorq import ActorEnvironment
env = ActorEnvironment("helped", isolation="none")
class Color(enum.Enum):
    RED = 1
class Refused(Exception): pass
import helper
@env.task
def show(x): return Color.RED
@env.task
def refuse(x): raise Refused(x)
if __name__ == "__main__":
    print(show.remote(1) is Color.RED, helper.Color is not Color)
    try:
        refuse.remote(1)
    except Refused:
        print("caught")
"""


@pytest.mark.parametrize("way", [["job.py"], ["-m", "cProfile", "-o", "profile", "job.py"]], ids=" ".join)
def test_what_comes_back_to_a_script_that_its_helper_imports_too_is_of_the_script_that_runs(
    way: list[str], tmp_path: Path
) -> None:
    (tmp_path / "job.py").write_text(_HELPED)
    (tmp_path / "helper.py").write_text("from job import Color\n")
    assert run(tmp_path, *way) == "True True\ncaught\n"


_SPAWNED = """
import enum, multiprocessing
from concurrent.futures import ProcessPoolExecutor
from actorq import ActorEnvironment
env = ActorEnvironment("spawned", isolation="none")
class Color(enum.Enum):
    RED = 1
@env.task
def double(x): return 2 * x, Color.RED
def child(n): return [(x, color is Color.RED) for x, color in double.map(range(n))]
if __name__ == "__main__":
    for method in ("spawn", "forkserver", "fork"):
        with ProcessPoolExecutor(1, multiprocessing.get_context(method)) as pool:
            print(method, pool.submit(child, 2).result())
"""


def test_a_child_of_a_process_pool_may_map(tmp_path: Path) -> None:
    (tmp_path / "job.py").write_text(_SPAWNED)
    told = "".join(f"{method} [(0, True), (2, True)]\n" for method in ("spawn", "forkserver", "fork"))
    assert run(tmp_path, "job.py") == told


@pytest.mark.parametrize("script", ["my.job.py", "job", "app", "app.pyz"])
def test_a_worker_serves_what_python_runs(script: str, tmp_path: Path, server: str) -> None:
    folder = tmp_path / "app"
    folder.mkdir()
    (folder / "__main__.py").write_text(_JOB)
    zipapp.create_archive(folder, tmp_path / "app.pyz")
    for name in ("my.job.py", "job"):
        (tmp_path / name).write_text(_JOB)
    worker = Worker(server, f"{tmp_path / script}:env", 1, environment="started")
    try:
        worker.wait_ready(1)
        assert run(tmp_path, script, ACTORQ_REDIS_URL=server) == _TOLD
    finally:
        worker.stop()


@pytest.mark.parametrize("script", ["my.job.py", "my-job.py", "job", "app"])
def test_a_bundle_takes_what_python_runs(script: str, tmp_path: Path, server: str) -> None:
    job = _JOB.replace('"started", ', '"started", code="bundle", ')
    (tmp_path / "app").mkdir()
    for name in ("app/__main__.py", "my.job.py", "my-job.py", "job"):
        (tmp_path / name).write_text(job)
    command = [sys.executable, "-m", "actorq.cli", "worker", "--bundles", "-e", "started", "-u", server]
    worker = subprocess.Popen(command, cwd=ROOT)
    try:
        assert run(tmp_path, script, ACTORQ_REDIS_URL=server) == _TOLD
    finally:
        worker.terminate()
        worker.wait(timeout=20)


def test_an_archive_cannot_be_a_bundle_and_says_so(tmp_path: Path, server: str) -> None:
    (tmp_path / "app").mkdir()
    (tmp_path / "app" / "__main__.py").write_text(_JOB.replace('"started", ', '"started", code="bundle", '))
    zipapp.create_archive(tmp_path / "app", tmp_path / "app.pyz")
    assert "unpack it, or put the code into the image" in run(tmp_path, "app.pyz", ACTORQ_REDIS_URL=server)


def test_a_script_with_the_name_of_a_module_that_replicas_import_says_so(tmp_path: Path) -> None:
    (tmp_path / "gc.py").write_text(_JOB)
    assert "has the name of a module that actorq or your code imports (gc): rename the script" in run(tmp_path, "gc.py")
