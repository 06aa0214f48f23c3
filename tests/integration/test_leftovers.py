"""What processes that were killed leave on disk, and say at their end."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import pytest

from actorq.replica.supervisor.scratch import Scratch, remove_abandoned
from tests.conftest import Worker, eventually, run_script
from tests.support.code import isolated

#: target, replicas, port for probes, environment
SERVES: Any = ("tests.support.code.isolated:reset", 1, None, "isolated")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where this process has its temporary files, and what it starts."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    return tmp_path


def test_a_folder_is_removed_when_nobody_holds_its_lock(folder: Path) -> None:
    mine, others = Scratch(), Scratch()
    Path(others.path, "file").touch()
    (folder / "actorq-pool-without-a-lock").mkdir()
    os.close(others._lock)  # its process has ended
    remove_abandoned()
    assert sorted(each.name for each in folder.iterdir()) == sorted(
        [Path(mine.path).name, "actorq-pool-without-a-lock"]
    )
    mine.remove()
    assert not Path(mine.path).exists()


def test_a_worker_removes_what_one_that_was_killed_has_left(folder: Path, on_server: str) -> None:
    killed = Worker(on_server, *SERVES)
    killed.wait_ready(1)
    gate = folder / "gate"
    outputs = isolated.leaves_a_file.map([str(gate)])
    assert eventually(lambda: list(folder.glob("actorq-pool-*/**/left*")))
    children = killed.family()
    killed.process.send_signal(signal.SIGKILL)
    killed.process.communicate()
    assert eventually(lambda: not any(child.is_running() for child in children))
    assert list(folder.glob("actorq-pool-*/**/left*"))
    gate.touch()
    successor = Worker(on_server, *SERVES)
    successor.wait_ready(1)
    assert len(list(folder.glob("actorq-pool-*"))) == 1
    assert list(outputs) == [str(gate)]
    successor.stop()
    assert not list(folder.glob("actorq-pool-*"))


def test_forked_children_that_used_replicas_end_without_a_word(tmp_path: Path) -> None:
    printed = run_script(
        tmp_path,
        """
        import multiprocessing
        from actorq import ActorEnvironment

        env = ActorEnvironment("forks", replica_count=1)

        @env.task
        def double(i):
            return 2 * i

        def child(i):
            print(double.remote(i))

        if __name__ == "__main__":
            for i in range(2):
                process = multiprocessing.get_context("fork").Process(target=child, args=(i,))
                process.start()
                process.join()
        """,
    )
    assert printed == "0\n2\n"
