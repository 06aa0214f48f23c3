"""Programs that were started without standard streams, as some init scripts and daemonizers do."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.support.code import tasks

_SCRIPT = """
import sys
from actorq import ActorEnvironment, TaskEnvironment
warm, regular = ActorEnvironment("closed"), TaskEnvironment("closed-regular", concurrency=1)

@warm.task
def double(x):
    print("said by a task", file=sys.stderr)
    return 2 * x

@regular.task
def triple(x):
    print("said by a task", file=sys.stderr)
    return 3 * x

if __name__ == "__main__":
    with open(sys.argv[1], "w") as file:
        print(list(double.map(range(3))), triple.remote(1), file=file)
"""


@pytest.mark.parametrize("closed", ["2>&-", "0<&-", "0<&- 1>&- 2>&-"])
def test_a_worker_without_standard_streams_serves(closed: str, on_server: str) -> None:
    command = [sys.executable, "-m", "actorq.cli", "worker", "tests.support.code.tasks:plain", "-u", on_server]
    worker = subprocess.Popen(["/bin/sh", "-c", f'exec "$@" {closed}', "sh", *command], cwd=ROOT)
    try:
        assert tasks.double.submit(4).result(timeout=30) == 8
    finally:
        worker.terminate()
    assert worker.wait(timeout=20) == 0


@pytest.mark.parametrize("closed", ["2>&-", "0<&-", "0<&- 1>&- 2>&-"])
def test_a_program_without_standard_streams_has_its_results(closed: str, tmp_path: Path) -> None:
    (tmp_path / "job.py").write_text(_SCRIPT)
    command = [sys.executable, str(tmp_path / "job.py"), str(tmp_path / "results")]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        ["/bin/sh", "-c", f'exec "$@" {closed}', "sh", *command], env=environment, timeout=50, check=False
    )
    assert done.returncode == 0
    assert (tmp_path / "results").read_text() == "[0, 2, 4] 3\n"
