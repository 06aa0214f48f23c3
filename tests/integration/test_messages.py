"""What is told to who has made a mistake: one sentence that says what to do."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from actorq.maps.remote import RemotePool
from tests.conftest import ROOT, run_script
from tests.support.code import tasks


def worker(*arguments: str, folder: Path = ROOT) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "actorq.cli", "worker", *arguments],
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )


_GUARDED = """
from actorq import ActorEnvironment, TaskEnvironment
warm, regular = ActorEnvironment("warm"), TaskEnvironment("regular")
if __name__ == "__main__":
    @warm.task
    def double(x): return 2 * x
    @regular.task
    def triple(x): return 3 * x
    for task in (double, triple):
        try:
            task.remote(1)
        except Exception as error:
            print(str(error).splitlines()[0])
"""


def test_tasks_under_the_main_guard_are_named_as_that(tmp_path: Path) -> None:
    said = run_script(tmp_path, _GUARDED)
    assert said.count('stands under the `if __name__ == "__main__":` of script.py') == 2
    assert said.count("move it above that") == 2


def test_an_environment_under_the_main_guard_is_named_as_that(tmp_path: Path, server: str) -> None:
    script = """
    from actorq import ActorEnvironment
    if __name__ == "__main__":
        env = ActorEnvironment("under-guard")
        @env.task
        def double(x): return 2 * x
        double.remote(1)
    """
    said = run_script(tmp_path, script)
    assert 'stands under the `if __name__ == "__main__":` of script.py' in said
    assert "in declared\n" not in said  # no traceback of ours
    done = worker("script.py", "-u", server, folder=tmp_path)
    assert done.returncode == 1
    assert "script declares no ActorEnvironment. It stands under" in done.stderr


def test_a_missing_script_or_module_of_a_worker_is_one_line(tmp_path: Path, server: str) -> None:
    for target, told, status in (
        ("nothing.py", f"There is no file {tmp_path.resolve() / 'nothing.py'}.", 2),
        ("nothing", "No module named 'nothing'", 1),
        ("nothing.inner:env", "No module named 'nothing'", 1),
    ):
        done = worker(target, "-u", server, folder=tmp_path)
        assert told in done.stderr
        assert len(done.stderr.splitlines()) == 1
        assert done.returncode == status


def test_a_module_that_lacks_another_one_is_told_with_its_traceback(tmp_path: Path, server: str) -> None:
    (tmp_path / "lacks.py").write_text("import not_installed_here\n")
    done = worker("lacks.py", "-u", server, folder=tmp_path)
    assert 'lacks.py", line 1' in done.stderr
    assert "No module named 'not_installed_here'" in done.stderr


def test_exit_codes_are_in_the_help() -> None:
    done = worker("--help")
    assert "3 the server (or the cluster)" in done.stdout


def test_a_map_that_nobody_serves_says_which_worker_to_start() -> None:
    pool = RemotePool(tasks.plain.name, "redis://127.0.0.1:6379/0")
    with pytest.warns(RuntimeWarning, match=r"actorq worker tests\.support\.code\.tasks:plain\. ") as told:
        look_ten_times(pool)
    assert told[0].filename == __file__  # the line that waits
    unknown = RemotePool("not-declared-here", "redis://127.0.0.1:6379/0")
    with pytest.warns(RuntimeWarning, match=r"actorq worker MODULE:VARIABLE\. "):
        look_ten_times(unknown)


def look_ten_times(pool: RemotePool) -> None:
    for _ in range(10):
        pool.check(live=0)
