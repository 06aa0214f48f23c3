"""The systems, each as one class: how its documentation says that a function is mapped, or called."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from typing import Any, ClassVar, Protocol

#: seconds that one answer may take
_PATIENCE = 30
Function = Callable[[Any], Any]


class System(Protocol):
    """One of them. `tiny`: the inputs take microseconds, so they may travel together."""

    #: how it is set up, for the table
    setting: ClassVar[str]

    def start(self, workers: int) -> None: ...
    def map(self, function: Function, inputs: list[Any], *, tiny: bool) -> list[Any]: ...
    def call(self, function: Function, value: Any) -> Any: ...
    def stop(self) -> None: ...


class Pool(System):
    setting = "map; chunksize=1 for naps"

    def start(self, workers: int) -> None:
        self._pool = multiprocessing.Pool(workers)

    def map(self, function: Function, inputs: list[Any], *, tiny: bool) -> list[Any]:
        return self._pool.map(function, inputs, chunksize=None if tiny else 1)

    def call(self, function: Function, value: Any) -> Any:
        return self._pool.apply(function, (value,))

    def stop(self) -> None:
        self._pool.terminate()
        self._pool.join()


class Executor(System):
    setting = "map, chunksize=256; 1 for naps"

    def start(self, workers: int) -> None:
        self._executor = ProcessPoolExecutor(workers)

    def map(self, function: Function, inputs: list[Any], *, tiny: bool) -> list[Any]:
        return list(self._executor.map(function, inputs, chunksize=256 if tiny else 1))

    def call(self, function: Function, value: Any) -> Any:
        return self._executor.submit(function, value).result(_PATIENCE)

    def stop(self) -> None:
        self._executor.shutdown()


class Joblib(System):
    setting = "loky, Parallel kept open, batch_size='auto'"

    def start(self, workers: int) -> None:
        from joblib import Parallel

        self._parallel = Parallel(n_jobs=workers).__enter__()

    def map(self, function: Function, inputs: list[Any], *, tiny: bool) -> list[Any]:
        from joblib import delayed

        return list(self._parallel(delayed(function)(value) for value in inputs))

    def call(self, function: Function, value: Any) -> Any:
        return self.map(function, [value], tiny=False)[0]

    def stop(self) -> None:
        from joblib.externals.loky import get_reusable_executor

        self._parallel.__exit__(None, None, None)
        get_reusable_executor().shutdown(wait=True, kill_workers=True)


class Mpire(System):
    setting = "keep_alive=True; chunk_size=1 for naps"

    def start(self, workers: int) -> None:
        from mpire import WorkerPool

        self._pool = WorkerPool(workers, keep_alive=True)

    def map(self, function: Function, inputs: list[Any], *, tiny: bool) -> list[Any]:
        more = {} if tiny else {"chunk_size": 1}
        return list(self._pool.map(function, inputs, concatenate_numpy_output=False, **more))

    def call(self, function: Function, value: Any) -> Any:
        return self.map(function, [value], tiny=False)[0]  # a pool that has applied can map no more

    def stop(self) -> None:
        self._pool.terminate()


class Dask(System):
    setting = "LocalCluster of processes with a thread each; map(batch_size=256)"

    def start(self, workers: int) -> None:
        from distributed import Client, LocalCluster

        self._cluster = LocalCluster(
            n_workers=workers, threads_per_worker=1, host="127.0.0.1", dashboard_address=None, silence_logs=50
        )
        self._client = Client(self._cluster)

    def map(self, function: Function, inputs: list[Any], *, tiny: bool) -> list[Any]:
        futures = self._client.map(function, inputs, pure=False, batch_size=256 if tiny else None)
        return list(self._client.gather(futures))

    def call(self, function: Function, value: Any) -> Any:
        return self._client.submit(function, value, pure=False).result(_PATIENCE)

    def stop(self) -> None:
        self._client.close()
        self._cluster.close()


class Ray(System):
    setting = "tasks; 256 inputs a task for tiny ones"

    def start(self, workers: int) -> None:
        import ray

        ray.init(
            num_cpus=workers,
            include_dashboard=False,
            log_to_driver=False,
            object_store_memory=1 << 30,
            _node_ip_address="127.0.0.1",
            _temp_dir=os.path.realpath(tempfile.gettempdir()),
        )
        self._ray = ray
        self._one = ray.remote(num_cpus=1)(_one)
        self._many = ray.remote(num_cpus=1)(_many)

    def map(self, function: Function, inputs: list[Any], *, tiny: bool) -> list[Any]:
        if not tiny:
            return list(self._ray.get([self._one.remote(function, value) for value in inputs], timeout=_PATIENCE))
        parts = [inputs[at : at + 256] for at in range(0, len(inputs), 256)]
        found = self._ray.get([self._many.remote(function, part) for part in parts], timeout=_PATIENCE)
        return [value for part in found for value in part]

    def call(self, function: Function, value: Any) -> Any:
        return self._ray.get(self._one.remote(function, value), timeout=_PATIENCE)

    def stop(self) -> None:
        self._ray.shutdown()


def _one(function: Function, value: Any) -> Any:
    return function(value)


def _many(function: Function, values: list[Any]) -> list[Any]:
    return list(map(function, values))


class Celery(System):
    setting = "prefork, prefetch 1 for naps, chunks of 256 for tiny inputs"

    def start(self, workers: int) -> None:
        from benchmarks.peers import celery_app

        self._app = celery_app
        command = ("celery", "-A", "benchmarks.peers.celery_app", "worker", "-c", str(workers), "-P", "prefork")
        self._worker = _Worker(*command, "-l", "ERROR", "--without-gossip", "--without-mingle")

    def map(self, function: Function, inputs: list[Any], *, tiny: bool) -> list[Any]:
        task = self._app.TASKS[function.__name__]
        if tiny:
            group = task.chunks([(value,) for value in inputs], 256).group()
            return [value for part in group.apply_async().get(_PATIENCE, interval=0.005) for value in part]
        return [result.get(_PATIENCE) for result in [task.delay(value) for value in inputs]]

    def call(self, function: Function, value: Any) -> Any:
        return self._app.TASKS[function.__name__].delay(value).get(_PATIENCE)

    def stop(self) -> None:
        self._worker.stop()


class RQ(System):
    setting = "worker-pool of SimpleWorkers, enqueue_many"

    def start(self, workers: int) -> None:
        from redis import Redis
        from rq import Queue

        socket = os.environ["PEERS_SERVER"]
        self._redis = Redis(unix_socket_path=socket)
        self._redis.flushall()
        self._queue = Queue(connection=self._redis)
        pool = ("rq.cli", "worker-pool", "-u", f"unix://{socket}", "-n", str(workers), "-w", "rq.worker.SimpleWorker")
        self._worker = _Worker(*pool, "-q")

    def map(self, function: Function, inputs: list[Any], *, tiny: bool) -> list[Any]:
        from rq import Queue

        jobs = self._queue.enqueue_many([Queue.prepare_data(function, (value,)) for value in inputs])
        return [_result(job) for job in jobs]

    def call(self, function: Function, value: Any) -> Any:
        return _result(self._queue.enqueue(function, value))

    def stop(self) -> None:
        self._worker.stop()
        self._redis.close()


def _result(job: Any) -> Any:
    result = job.latest_result(_PATIENCE)
    if result is None:
        raise TimeoutError("no result")
    return result.return_value


class _Worker:
    """A worker program of this environment."""

    def __init__(self, *command: str) -> None:
        self._process = subprocess.Popen([sys.executable, "-m", *command], stdout=sys.stderr, start_new_session=True)

    def stop(self) -> None:
        self._process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(10)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, 9)
        self._process.wait()


SYSTEMS: dict[str, type[System]] = {
    "multiprocessing.Pool": Pool,
    "ProcessPoolExecutor": Executor,
    "joblib": Joblib,
    "mpire": Mpire,
    "Dask": Dask,
    "Ray": Ray,
    "Celery": Celery,
    "RQ": RQ,
}
