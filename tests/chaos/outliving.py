"""Runs and jobs under fire: their script is killed at once, their drivers every few seconds, workers and server, too.

python -m tests.chaos.outliving [--inputs 6000] [--seed N]
"""

from __future__ import annotations

import argparse
import contextlib
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from pathlib import Path
from typing import Any

import psutil
import redis

from actorq.broker.client import Client
from actorq.runs.handle import Run
from actorq.runs.job import Job
from actorq.runs.reader import Reader
from tests.chaos import work
from tests.chaos.field import Field, environment
from tests.chaos.running import Outcome, executions
from tests.conftest import ROOT

#: pause between two deaths of a driver, seconds
_DRIVER_PAUSE = 3.0
#: how often all workers are killed, and the server; runs of one script; jobs of it
_WORKER_DEATHS, _SERVER_DEATHS, _RUNS, _JOBS = 2, 5, 2, 100
#: seconds that all may take
_PATIENCE = 240.0
_WORKERS = (("plain", 2), ("plain", 1))

#: SEED INPUTS: starts the runs and the jobs, says so, and waits to be killed
SCRIPT = """
import sys, time
from tests.chaos import outliving, work
seed, inputs = int(sys.argv[1]), int(sys.argv[2])
for at in range(outliving._RUNS):
    work.work.spawn_map(([seed + at, i] for i in range(inputs)), map_id=f"run-{at}", return_exceptions=True)
for i in range(outliving._JOBS):
    work.work.spawn([seed - 1, i], job_id=f"job-{i}")
print("stored", flush=True)
time.sleep(3600)
"""


class _Reader(threading.Thread):
    """Follows one run from its begin, whatever happens to the server."""

    def __init__(self, client: Client, run_id: str) -> None:
        super().__init__(daemon=True)
        self._client, self._run_id = client, run_id
        self.outputs: list[Any] = []
        self.error = ""

    def run(self) -> None:
        try:
            for output in Reader(self._client, self._run_id).outputs():
                self.outputs.append(output)
        except Exception:  # of any kind: it is told, where a thread that dies tells nothing
            self.error = traceback.format_exc()


def run(folder: Path, seed: int, inputs: int) -> Outcome:
    outcome = Outcome(seed=seed, seconds=0.0, inputs=_RUNS * inputs + _JOBS)
    arena = Field(folder, _WORKERS)
    begin = time.monotonic()
    try:
        arena.wait_ready()
        _begin(arena, seed, inputs)
        client = Client(arena.server.url, _PATIENCE)
        readers = [_Reader(client, f"run-{at}") for at in range(_RUNS)]
        for reader in readers:
            reader.start()
        over = threading.Event()
        striker = threading.Thread(target=_strike, args=(arena, random.Random(seed), over, outcome))
        striker.start()
        for at, reader in enumerate(readers):
            reader.join(max(1.0, _PATIENCE - (time.monotonic() - begin)))
            _judge(outcome, f"run-{at}", seed + at, inputs, reader, client)
        _judge_jobs(outcome, client, seed)
        over.set()
        striker.join()
        for at in range(_RUNS):
            Run[Any](client, f"run-{at}").delete()
        for i in range(_JOBS):
            Job[Any](client, f"job-{i}").delete()
        client.close()
        outcome.problems += [f"left on the way out: {each}" for each in arena.stop_workers()]
        outcome.problems += [f"a key is left: {key}" for key in arena.left_keys()]
    finally:
        arena.close()
    outcome.seconds = time.monotonic() - begin
    outcome.executions = executions(folder)
    return outcome


def _begin(arena: Field, seed: int, inputs: int) -> None:
    """The script that starts all, and is killed as soon as it has."""
    variables = {**environment(arena.folder), "ACTORQ_REDIS_URL": arena.server.url}
    arguments = [sys.executable, "-c", SCRIPT, str(seed), str(inputs)]
    with subprocess.Popen(arguments, cwd=ROOT, env=variables, stdout=subprocess.PIPE, text=True) as script:
        assert script.stdout is not None
        assert script.stdout.readline() == "stored\n"
        script.kill()


def _strike(arena: Field, dice: random.Random, over: threading.Event, outcome: Outcome) -> None:
    later = ["workers"] * (_WORKER_DEATHS - 1) + ["server"] * (_SERVER_DEATHS - 1) + ["driver"] * 3
    dice.shuffle(later)
    planned = ["driver", "workers", "server", *later]  # each of them, however soon all is done
    while not over.wait(1.0):
        with contextlib.suppress(psutil.NoSuchProcess, redis.RedisError):
            strike = planned.pop(0) if planned else "driver"
            if strike == "driver":
                for process in _drivers(arena):
                    process.kill()
            elif strike == "server":
                arena.server.signal(signal.SIGKILL)
                arena.server.start()
            else:
                for worker in list(arena.workers):
                    family = [worker.process, *worker.family()]
                    for process in family:
                        process.kill()
                    psutil.wait_procs(family, timeout=10.0)  # its folder is nobody's then
                    arena.replace(worker)
            outcome.strikes[strike] += 1
            if strike == "driver":
                over.wait(_DRIVER_PAUSE)


def _drivers(arena: Field) -> list[psutil.Process]:
    return [each for worker in arena.workers for each in worker.family() if "actorq.runs.process" in each.cmdline()]


def _judge(outcome: Outcome, name: str, seed: int, inputs: int, reader: _Reader, client: Client) -> None:
    outputs = reader.outputs
    lost = inputs - len(outputs)
    wrong = [at for at, value in enumerate(outputs) if not work.is_right([seed, at], value)]
    misplaced = [at for at in wrong if isinstance(outputs[at], list) and outputs[at][0] == seed]
    outcome.lost += lost
    outcome.wrong += len(wrong)
    outcome.disorder += len(misplaced)
    if reader.error or lost or wrong:
        state = Run[Any](client, name).stats()
        outcome.problems.append(f"{name}: {lost} lost, wrong {wrong[:3]}, {reader.error}, {state}")
        return
    again: list[Any] = list(Reader(client, name).outputs())  # whoever reads, and whenever: the same
    outcome.twice += len(again) - inputs
    if [repr(value) for value in again] != [repr(value) for value in outputs]:
        outcome.problems.append(f"{name}: a second reader finds other outputs")


def _judge_jobs(outcome: Outcome, client: Client, seed: int) -> None:
    for i in range(_JOBS):
        value: Any
        try:
            value = Job[Any](client, f"job-{i}").result(timeout=60.0)
        except Exception as error:
            value = error
        if not work.is_right([seed - 1, i], value):
            outcome.wrong += 1
            outcome.problems.append(f"job-{i}, which {work.kind([seed - 1, i])}: {value!r:.200}")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.outliving", description="Strike runs and jobs.")
    parser.add_argument("--inputs", type=int, default=6000)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1000))
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="chaos-") as folder:
        outcome = run(Path(folder), given.seed, given.inputs)
    print(outcome)
    return 1 if outcome.problems else 0


if __name__ == "__main__":
    sys.exit(main())
