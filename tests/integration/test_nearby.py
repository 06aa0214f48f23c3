"""Large values of local pools go through the memory of the host, and nothing of them stays."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import redis

import actorq
from actorq import ActorEnvironment
from actorq.broker import nearby
from actorq.runtime.program import runtime
from tests.conftest import ROOT, eventually

resets = ActorEnvironment("nearby-reset", replica_count=2, isolation="reset", max_crashes=1)
forks = ActorEnvironment("nearby-fork", replica_count=2, isolation="fork")
COUNT = 400_000


@resets.task
def doubled(array: np.ndarray) -> np.ndarray:
    return 2 * array


@forks.task
def doubled_in_a_fork(array: np.ndarray) -> np.ndarray:
    return 2 * array


@resets.task
def dies(array: np.ndarray) -> np.ndarray:
    if array[0] == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return array


def arrays(count: int = 12) -> list[np.ndarray]:
    return [np.full(COUNT, float(i)) for i in range(count)]


def url() -> str:
    client = runtime().pools.client
    assert client is not None
    return client.url


def folder() -> Path:
    found = Path(url().removeprefix("unix://")).parent / "memory"
    return found.resolve()


def left() -> list[str]:
    """What lies there beside files that are written again."""
    return [path.name for path in folder().iterdir() if not path.name.startswith("f-")]


def stored() -> int:
    """Large values that the server was given."""
    with redis.Redis.from_url(url()) as server:
        told = server.info("commandstats").get("cmdstat_set", {})
        return int(told.get("calls", 0))


@pytest.mark.parametrize("task", [doubled, doubled_in_a_fork])
def test_arrays_of_a_map_do_not_pass_through_the_server(task: actorq.Task[..., np.ndarray, np.ndarray]) -> None:
    list(task.map(arrays(1)))
    before = stored()
    for at, output in enumerate(task.map(arrays())):
        assert output.shape == (COUNT,)
        assert (output == 2.0 * at).all()
        assert not output.flags.writeable
    assert stored() - before < 12  # what a map notes of itself
    assert eventually(lambda: not left())


def test_a_call_goes_the_same_way() -> None:
    doubled.remote(np.zeros(1))
    before = stored()
    for at in range(5):
        assert doubled.remote(np.full(COUNT, float(at)))[-1] == 2.0 * at
    assert stored() - before < 5
    assert eventually(lambda: not left())


def test_nothing_stays_of_what_a_dead_replica_had() -> None:
    outputs: list[Any] = list(dies.map(arrays(), return_exceptions=True))
    assert isinstance(outputs.pop(3), actorq.ReplicaLostError)
    assert [output[0] for output in outputs] == [0, 1, 2, *range(4, 12)]
    assert eventually(lambda: not left())


def test_where_there_is_no_room_the_server_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    list(doubled.map(arrays(1)))
    before = stored()
    monkeypatch.setattr(nearby, "_FREE", 1.0)  # in this process
    assert [output[0] for output in doubled.map(arrays(6))] == [0, 2, 4, 6, 8, 10]
    assert stored() - before >= 6


def test_the_result_of_a_job_stays_on_the_server_however_long_it_is_kept() -> None:
    job = doubled.spawn(np.ones(COUNT), result_ttl=120)  # as long as others wait for their reader
    assert job.result(timeout=30)[-1] == 2.0
    assert not left()
    assert job.result(timeout=30)[-1] == 2.0
    job.delete()


def test_the_results_of_a_run_stay_on_the_server() -> None:
    run = doubled.spawn_map(arrays(3))
    assert run.wait(timeout=30) == "done"
    for _ in range(2):
        assert [output[0] for output in run] == [0, 2, 4]
    run.delete()
    assert eventually(lambda: not left())


def test_the_folder_goes_with_a_program_that_is_killed(tmp_path: Path) -> None:
    script = tmp_path / "job.py"
    script.write_text(
        "import time, numpy\n"
        "from actorq import ActorEnvironment\n"
        "from actorq.runtime.program import runtime\n"
        "env = ActorEnvironment('killed', replica_count=1)\n"
        "@env.task\n"
        "def waits(array):\n"
        "    time.sleep(60)\n"
        "if __name__ == '__main__':\n"
        "    handle = waits.map([numpy.zeros(400_000)] * 4)\n"
        "    iter(handle)\n"
        "    time.sleep(1)\n"
        "    print(runtime().pools.client.url, flush=True)\n"
        "    time.sleep(60)\n"
    )
    with subprocess.Popen(
        [sys.executable, script], stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": str(ROOT)}
    ) as program:
        assert program.stdout is not None
        link = Path(program.stdout.readline().strip().removeprefix("unix://")).parent / "memory"
        memory = link.resolve()
        assert any(memory.iterdir())
        program.kill()
    assert eventually(lambda: not memory.exists() and not link.parent.exists())
