"""The probes on systems that others run tasks on: one worker each, which gets one input after the other.

    python -m benchmarks.leaks.driving peers pool      prints what was seen; needs that system, and nothing of ours

Each is set up as its documentation does, with its default isolation; those called `…_fresh` with the option that gives
every task a process of its own.
"""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from typing import Any

from benchmarks.leaks import driving, probes

#: seconds one input may take; the slowest waits three for a process to end
_TIMEOUT = 60


def pool(maxtasksperchild: int | None = None) -> None:
    with multiprocessing.Pool(1, maxtasksperchild=maxtasksperchild) as workers:
        driving.say(driving.drive(lambda *step: workers.apply_async(probes.act, step).get(_TIMEOUT)))


def pool_fresh() -> None:
    pool(maxtasksperchild=1)


def executor(max_tasks_per_child: int | None = None) -> None:
    with ProcessPoolExecutor(1, max_tasks_per_child=max_tasks_per_child) as workers:
        driving.say(driving.drive(lambda *step: workers.submit(probes.act, *step).result(_TIMEOUT)))


def executor_fresh() -> None:
    executor(max_tasks_per_child=1)


def loky() -> None:
    from joblib.externals.loky import get_reusable_executor

    workers = get_reusable_executor(max_workers=1, timeout=10 * _TIMEOUT)
    seen = driving.drive(lambda *step: workers.submit(probes.act, *step).result(_TIMEOUT))
    workers.shutdown(kill_workers=True)
    driving.say(seen, "joblib")


def celery(*options: str) -> None:
    from benchmarks.leaks.celery_app import act

    with _worker("celery", "-A", "benchmarks.leaks.celery_app", "worker", "-c", "1", "-P", "prefork", *options):
        seen = driving.drive(lambda *step: act.delay(*step).get(_TIMEOUT))
    driving.say(seen, "celery")


def celery_fresh() -> None:
    celery("--max-tasks-per-child", "1")


def rq(kind: str = "rq.worker.Worker") -> None:
    from redis import Redis
    from rq import Queue

    address = os.environ["LEAKS_SERVER"]
    with _worker("rq.cli", "worker", "-u", f"unix://{address}", "-w", kind), Redis(unix_socket_path=address) as server:
        queue = Queue(connection=server)

        def act(*step: str) -> Any:
            result = queue.enqueue(probes.act, *step).latest_result(_TIMEOUT)
            assert result is not None, "no result"
            if result.exc_string:
                raise RuntimeError(result.exc_string.strip().splitlines()[-1])
            return result.return_value

        seen = driving.drive(act)
    driving.say(seen, "rq")


def rq_simple() -> None:
    rq("rq.worker.SimpleWorker")


def dask() -> None:
    from distributed import Client, LocalCluster

    with (
        LocalCluster(n_workers=1, threads_per_worker=1, host="127.0.0.1", dashboard_address=None) as cluster,
        Client(cluster) as client,
    ):
        seen = driving.drive(lambda *step: client.submit(probes.act, *step, pure=False).result(_TIMEOUT))
    driving.say(seen, "distributed")


@contextmanager
def _ray() -> Iterator[Any]:
    import ray

    ray.init(
        num_cpus=1,
        include_dashboard=False,
        log_to_driver=False,
        object_store_memory=100 << 20,
        _node_ip_address="127.0.0.1",
        _temp_dir=os.path.realpath(tempfile.gettempdir()),
    )
    try:
        yield ray
    finally:
        ray.shutdown()


def ray(**options: Any) -> None:
    with _ray() as ray:
        act = ray.remote(num_cpus=1, **options)(probes.act)
        seen = driving.drive(lambda *step: ray.get(act.remote(*step), timeout=_TIMEOUT))
    driving.say(seen, "ray")


def ray_fresh() -> None:
    ray(max_calls=1)


class Actor:
    def act(self, *step: str) -> tuple[int, Any]:
        return probes.act(*step)


def ray_actor() -> None:
    with _ray() as ray:
        actor = ray.remote(num_cpus=1)(Actor).remote()
        seen = driving.drive(lambda *step: ray.get(actor.act.remote(*step), timeout=_TIMEOUT))
    driving.say(seen, "ray")


@contextmanager
def _worker(*command: str) -> Iterator[None]:
    """A worker program of this environment, until its block ends."""
    with subprocess.Popen([sys.executable, "-m", *command], stdout=sys.stderr) as process:
        try:
            yield
        finally:
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()


SYSTEMS: dict[str, Callable[[], None]] = {
    function.__name__: function
    for function in (
        pool,
        pool_fresh,
        executor,
        executor_fresh,
        loky,
        celery,
        celery_fresh,
        rq,
        rq_simple,
        dask,
        ray,
        ray_fresh,
        ray_actor,
    )
}


def main(system: str) -> None:
    SYSTEMS[system]()
