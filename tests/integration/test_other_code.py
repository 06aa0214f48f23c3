"""Code that was edited: local replicas run the new one, and those that have another one say so."""

from __future__ import annotations

import contextlib
import importlib
import os
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from actorq import DeclarationError, PoolError
from tests.conftest import ROOT, Worker, eventually
from tests.support.edited_project import Project

JOB = """
    import os
    from actorq import ActorEnvironment
    import aq_beside

    env = ActorEnvironment("edited", replica_count={replicas})
    started = []

    @env.on_start
    def start():
        started.append({factor})

    @env.task
    def times(x):
        return x * {factor} * aq_beside.FACTOR, os.getpid(), list(started)

    @env.task
    def wait(name):
        import time
        open(name + ".runs", "w").close()
        while not os.path.exists(name):
            time.sleep(0.01)
        return {factor}
"""


def job(*, factor: int = 1, replicas: int = 1, above: str = "") -> str:
    return above + textwrap.dedent(JOB).format(factor=factor, replicas=replicas)


@pytest.fixture
def module(project: Project, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The project's module, whose environment no other test sees."""
    from actorq.declare.environment import Environment

    monkeypatch.setattr(Environment, "_declared", dict(Environment._declared))
    module = project.load(aq_job=job(), aq_beside="FACTOR = 1\n")
    yield module
    module.env.down()


def reload(project: Project, module: Any, **modules: str) -> None:
    project.write(**modules)
    for name in modules:
        importlib.reload(sys.modules[name])


def test_after_a_reload_local_replicas_run_the_new_code(project: Project, module: Any) -> None:
    assert [out for out, *_ in module.times.map([1, 2])] == [1, 2]
    assert (module.times.remote(3)[0], module.times.submit(4).result()[0]) == (3, 4)
    reload(project, module, aq_job=job(factor=1000))
    assert module.times.remote(3)[0] == module.times(3)[0] == 3000
    assert [out for out, *_ in module.times.map([1, 2])] == [1000, 2000]
    assert module.times.submit(4).result()[0] == 4000


def test_what_a_reloaded_helper_does_is_new_on_local_replicas_too(project: Project, module: Any) -> None:
    assert module.times.remote(3)[0] == 3
    reload(project, module, aq_beside="FACTOR = 10\n")
    assert module.times.remote(3)[0] == module.times(3)[0] == 30
    assert module.times.submit(4).result()[0] == 40


def test_a_reload_of_the_same_code_keeps_the_replicas(project: Project, module: Any) -> None:
    _, before, _ = module.times.remote(1)
    reload(project, module, aq_job=job(above="# a comment\n\n"), aq_beside="\n\nFACTOR = 1\n")
    assert module.times.remote(1)[1] == before
    assert [pid for _, pid, _ in module.times.map([1, 2])] == [before] * 2


def test_what_was_declared_before_a_reload_is_gone(project: Project, module: Any) -> None:
    assert module.times.remote(1)[2] == [1]
    text = job(factor=2, replicas=2, above="# everything\n# moves\n# down\n")
    reload(project, module, aq_job=text.replace("def wait(", "def waits("))
    assert module.times.remote(1)[2] == [2]
    assert module.env.status().wanted == 2
    assert sorted(module.env.tasks) == ["aq_job.times", "aq_job.waits"]


def test_tasks_and_hooks_of_a_reloaded_module_replace_those_that_it_had_declared_elsewhere(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    from actorq.declare.environment import Environment

    monkeypatch.setattr(Environment, "_declared", dict(Environment._declared))
    declaring = "from actorq import ActorEnvironment\nenv = ActorEnvironment('apart')\n"
    text = (
        "from aq_beside import env\nseen = []\n@env.on_start\ndef start(): seen.append(EDIT)\n"
        "@env.task\ndef what(x): return seen\n"
    )
    module = project.load(aq_beside=declaring, aq_job=text.replace("EDIT", "1"))
    assert module.what.remote(0) == [1]
    reload(project, module, aq_job="\n" + text.replace("EDIT", "2").replace("what", "which"))
    assert module.which.remote(0) == [2]
    assert list(module.env.tasks) == ["aq_job.which"]


def test_the_same_name_for_two_tasks_of_a_module_is_still_refused(project: Project) -> None:
    text = "@env.task\ndef twice(x): return 1\n@env.task\ndef twice(x): return 2\n"
    with pytest.raises(DeclarationError, match="already has a task"):
        project.load(aq_job="from actorq import ActorEnvironment\nenv = ActorEnvironment('two')\n" + text)


def test_a_reload_while_a_map_runs_is_refused_and_says_what_to_do(
    project: Project, module: Any, tmp_path: Path
) -> None:
    go = tmp_path / "go"
    running = module.wait.map([str(go)])
    assert eventually(Path(f"{go}.runs").exists)
    reload(project, module, aq_job=job(factor=2))
    with pytest.raises(PoolError, match=r"reloaded since: .* finish the maps that run"):
        list(module.wait.map([str(go)]))
    go.touch()
    assert list(running) == [1]
    assert list(module.wait.map([str(go)])) == [2]


def test_files_that_changed_since_they_were_imported_are_told(project: Project, module: Any) -> None:
    project.write(aq_job=job(factor=5))
    with pytest.warns(RuntimeWarning, match=r"other code of aq_job.times than .*: aq_job.times differs. .*Reload"):
        assert [out for out, *_ in module.times.map([1, 2])] == [5, 10]


def test_a_regular_task_whose_file_changed_is_told(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    from actorq.declare.environment import Environment

    monkeypatch.setattr(Environment, "_declared", dict(Environment._declared))
    text = "from actorq import TaskEnvironment\nenv = TaskEnvironment('rare')\n@env.task\ndef one(x): return EDIT\n"
    module = project.load(aq_job=text.replace("EDIT", "1"))
    assert list(module.one.map([0])) == [1]
    project.write(aq_job=text.replace("EDIT", "2"))
    with pytest.warns(RuntimeWarning, match="other code of aq_job.one"):
        assert list(module.one.map([0])) == [2]


# -- workers -----------------------------------------------------------------------------------------------------------

SERVED = """
    import asyncio, os, sys, time
    from actorq import ActorEnvironment, PoolError

    env = ActorEnvironment("served", replica_count=2, lease_seconds=2, {options})

    @env.task
    {kind}def times(x):
        return x * {factor}

    @env.task
    {kind}def wait(name):
        while not os.path.exists(name):
            time.sleep(0.01)
        return {factor}
"""
MAPS = """
    import warnings
    warnings.simplefilter("always")
    import served
    try:
        print(list(served.times.map(range(50)))[-1], list(served.times.map([1])), served.times.remote(2))
        print(served.times.submit(3).result())
    except served.PoolError as error:
        print("refused:", error)
"""


class Fleet:
    """A worker with one version of the code, and a program with another."""

    def __init__(self, url: str, folder: Path, options: str, kind: str) -> None:
        self._url, self._options, self._kind = url, options, kind
        self._here, there = folder / "here", folder / "there"
        for place, factor in ((self._here, 2), (there, 1)):
            place.mkdir()
            self.write(place, factor)
        variables = {"PYTHONPATH": os.pathsep.join((str(there), str(ROOT)))}
        self.worker = Worker(url, "served", environment="served", variables=variables)
        slots = 4 if "concurrency" in options else 2
        self.worker.wait_ready(slots)

    def write(self, place: Path, factor: int) -> None:
        text = textwrap.dedent(SERVED).format(options=self._options, kind=self._kind, factor=factor)
        (place / "served.py").write_text(text)

    def start(self, text: str) -> subprocess.Popen[str]:
        variables = {"PYTHONPATH": os.pathsep.join((str(self._here), str(ROOT))), "ACTORQ_REDIS_URL": self._url}
        return subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(text)],
            env={**os.environ, **variables},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def run(self, text: str = MAPS) -> str:
        return self.start(text).communicate(timeout=40)[0]

    def make_equal(self) -> None:
        self.write(self._here, 1)


@contextlib.contextmanager
def fleet(url: str, folder: Path, options: str = "", kind: str = "") -> Iterator[Fleet]:
    made = Fleet(url, folder, options, kind)
    try:
        yield made
    finally:
        made.worker.stop()


@pytest.mark.parametrize(
    ("options", "kind"),
    [
        ("isolation='reset'", ""),
        ("isolation='none'", ""),
        ("isolation='fork'", ""),
        ("isolation='none', concurrency=2", "async "),
    ],
)
def test_a_worker_with_other_code_is_told_once(server: str, tmp_path: Path, options: str, kind: str) -> None:
    with fleet(server, tmp_path, options, kind) as served:
        told = served.run()
        assert told.count("RuntimeWarning") == 1, told
        assert "other code of served.times than this program has: served.times differs" in told
        assert "49 [1] 2" in told  # what the worker has ran
        served.make_equal()
        assert served.run() == "49 [1] 2\n3\n"


def test_a_worker_tells_of_its_code_while_its_first_input_runs(server: str, tmp_path: Path) -> None:
    go = tmp_path / "go"
    maps = f"""
        import warnings, pathlib, served
        warnings.showwarning = lambda *_: pathlib.Path({str(go)!r}).touch()
        print(list(served.wait.map([{str(go)!r}])))
    """
    calls = maps.replace("list(served.wait.map([", "[served.wait.remote(").replace("'])))", "')])")
    with fleet(server, tmp_path) as served:
        for text in (maps, calls):
            assert served.run(text) == "[1]\n"
            go.unlink()


def test_with_strict_other_code_does_not_run(server: str, tmp_path: Path) -> None:
    with fleet(server, tmp_path, "code='strict'") as served:
        told = served.run()
        assert "refused: This replica's code of served.times is not its submitter's" in told
        assert "code='strict'" in told
        served.make_equal()
        assert served.run() == "49 [1] 2\n3\n"


def test_with_strict_a_task_whose_code_is_not_known_is_refused_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    from actorq import ActorEnvironment
    from actorq.declare.environment import Environment

    monkeypatch.setattr(Environment, "_declared", dict(Environment._declared))
    env = ActorEnvironment("strictest", code="strict")
    task = env.task(rewritten)
    with pytest.raises(DeclarationError, match=r"code='strict', and which code .* cannot be told: .*pytest"):
        task.map([1])


def rewritten(x: int) -> int:
    """A function of this module, whose assertions pytest has rewritten."""
    return x
