"""Which systems the probes are run on, each in a virtual environment and processes of its own, and what came of it."""

from __future__ import annotations

import json
import os
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.apart import ROOT, output_of, python_of, redis_socket
from benchmarks.leaks import probes

#: seconds one system may take for all probes; the slowest, with a new process of Ray for each step, takes 90
_TIMEOUT = 600
#: in actorq's log: what is said of each probe whose state is not restored
_TOLD = {
    "third-party function patched": "what=colorsys.rgb_to_hsv",
    "third-party method patched": "what=fractions.Fraction.limit_denominator",
    "thread left": "kind=threads",
    "child process left": "kind=processes",
    "open file left": "kind=files",
}


@dataclass(frozen=True, kw_only=True)
class System:
    """One column of the table.

    Args:
        name: of its function in `peers`, or of a level of actorq.
        title: of the column.
        package: what pip installs for it; empty for the standard library, None for actorq.
    """

    name: str
    title: str
    package: str | None = ""

    @property
    def python(self) -> Path:
        return python_of(self.package) if self.package else Path(sys.executable)


ACTORQ = tuple(System(name=name, title=f"actorq {name}", package=None) for name in ("none", "reset", "fork", "regular"))
PEER_SYSTEMS = (
    System(name="pool", title="multiprocessing.Pool"),
    System(name="pool_fresh", title="Pool(maxtasksperchild=1)"),
    System(name="executor", title="ProcessPoolExecutor"),
    System(name="executor_fresh", title="ProcessPoolExecutor(max_tasks_per_child=1)"),
    System(name="loky", title="joblib's loky", package="joblib"),
    System(name="celery", title="Celery prefork", package="celery"),
    System(name="celery_fresh", title="Celery --max-tasks-per-child 1", package="celery"),
    System(name="rq", title="RQ Worker (forks per job)", package="rq"),
    System(name="rq_simple", title="RQ SimpleWorker", package="rq"),
    System(name="dask", title="Dask distributed", package="dask"),
    System(name="ray", title="Ray task", package="ray"),
    System(name="ray_fresh", title="Ray task, max_calls=1", package="ray"),
    System(name="ray_actor", title="Ray actor", package="ray"),
)


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What became of one probe on one system."""

    verdict: str
    #: whether both inputs ran in one process; None when they did not run
    same_process: bool | None
    #: what the system said of it
    told: list[str] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True)
class Result:
    """One column: an outcome per probe; or why there is none."""

    system: System
    outcomes: dict[str, Outcome]
    versions: dict[str, str]
    #: all that the system reported as left behind
    said: list[str]
    failure: str = ""


def run(system: System) -> Result:
    """All probes on one system."""
    module = "peers" if system.package is not None else "actors"
    with (
        tempfile.TemporaryDirectory(prefix="lk-") as folder,
        redis_socket(wanted=system.package in ("celery", "rq")) as server,
    ):
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": folder, "LEAKS_SERVER": server}
        command = [str(system.python), "-m", "benchmarks.leaks.driving", module, system.name]
        with (Path(folder) / "said").open("w+") as said:
            output, status = output_of(command, environment, said.fileno(), _TIMEOUT)
            said.seek(0)
            lines = said.read().splitlines()
    if status or not output.strip():
        why = lines[-1] if lines else f"ended with status {status}"
        return Result(system=system, outcomes={}, versions={}, said=lines, failure=why)
    message = json.loads(output.splitlines()[-1])
    left = [line for line in lines if "state_left_behind" in line]
    outcomes = {probe.name: _outcome(probe, message["seen"][probe.name], left) for probe in probes.PROBES}
    return Result(system=system, outcomes=outcomes, versions=message["versions"], said=left)


def _outcome(probe: probes.Probe, seen: dict[str, object], left: list[str]) -> Outcome:
    if seen["error"]:
        return Outcome(verdict=f"not run: {seen['error']}", same_process=None)
    text = _TOLD.get(probe.name)
    told = [line for line in left if text is not None and text in line]
    verdict = probe.verdict(seen["before"], seen["after"])
    pids = seen["pids"]
    assert isinstance(pids, list)
    return Outcome(
        verdict=probes.REPORTED if told and verdict == probes.LEAKS else verdict,
        same_process=len(set(pids)) == 1,
        told=told,
    )
