"""The server, workers and submitters of one run, all of which may be struck."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import psutil
import redis

from actorq.runtime.embedded import server_binary
from tests.chaos.submitter import ACCOUNTS
from tests.conftest import ROOT, eventually
from tests.support.silent_proxy import Proxy

#: kind of environment and replicas of each worker; those of `plain` go on alone when the other one is away
WORKERS = (("plain", 2), ("plain", 1), ("slots", 1), ("forked", 2))
#: seconds that what has been stopped may take to end
_PATIENCE = 40.0
#: keys that are there for good, as RQ has them: its tools drop workers that were killed from its lists
_PERMANENT = (b"rq:queues", b"rq:clean_registries", b"rq:workers")


class Server:
    """With an append-only file, so that what was acknowledged survives the death of its process."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None
        self.url = f"unix://{folder}/redis.sock"

    def start(self) -> None:
        options = {
            "port": "0",
            "unixsocket": f"{self._folder}/redis.sock",
            "dir": str(self._folder),
            "logfile": f"{self._folder}/server.log",
            "save": "",
            "appendonly": "yes",
            "appendfsync": "everysec",
            "maxmemory-policy": "noeviction",
        }
        arguments = [part for name, value in options.items() for part in (f"--{name}", value)]
        self._process = subprocess.Popen([server_binary(), *arguments], stdout=subprocess.DEVNULL)
        assert eventually(self._answers)

    def _answers(self) -> bool:
        with contextlib.suppress(redis.RedisError), self.client() as client:
            return bool(client.ping())
        return False

    def client(self) -> redis.Redis:
        return redis.Redis.from_url(self.url, socket_timeout=20)

    def signal(self, number: int) -> None:
        assert self._process is not None
        self._process.send_signal(number)
        if number in (signal.SIGKILL, signal.SIGTERM):
            self._process.wait()


class Worker:
    """`actorq worker`, with a log in a file."""

    def __init__(self, url: str, kind: str, replicas: int, folder: Path) -> None:
        self.kind, self.replicas, self.url = kind, replicas, url
        arguments = [sys.executable, "-m", "actorq.cli", "worker", f"tests.chaos.work:{kind}", "-u", url]
        with Path(folder, f"worker-{kind}.log").open("ab") as log:
            self.process = psutil.Popen(
                [*arguments, "-n", str(replicas)], stdout=log, stderr=log, cwd=ROOT, env=environment(folder)
            )

    def family(self) -> list[psutil.Process]:
        with contextlib.suppress(psutil.NoSuchProcess):
            return list(self.process.children(recursive=True))
        return []

    def executors(self) -> list[psutil.Process]:
        with contextlib.suppress(psutil.NoSuchProcess):
            return [each for zygote in self.process.children() for each in zygote.children()]
        return []


def environment(folder: Path) -> dict[str, str]:
    told = {"CHAOS_FOLDER": str(folder), "TMPDIR": str(folder), "PYTHONPATH": str(ROOT)}
    return {**os.environ, **told, "ACTORQ_BROKER_TIMEOUT": "120"}


class Field:
    """All of it, in `folder`."""

    def __init__(self, folder: Path, workers: Sequence[tuple[str, int]] = WORKERS) -> None:
        self.folder = folder
        self._kinds = {kind for kind, _ in workers}
        self.server = Server(folder)
        self.server.start()
        #: a way to the server on which connections go silent; a worker and a submitter use it
        self.proxy = Proxy(self.server.url)
        self._started: list[Worker] = []
        self.workers = [self.worker(*each, at=at) for at, each in enumerate(workers)]
        self._submitters: list[subprocess.Popen[str]] = []

    def worker(self, kind: str, replicas: int, *, at: int = 0) -> Worker:
        self._started.append(Worker(self.proxy.url if at == 1 else self.server.url, kind, replicas, self.folder))
        return self._started[-1]

    def replace(self, worker: Worker) -> None:
        """Starts one like it in its place."""
        at = self.workers.index(worker)
        self.workers[at] = self.worker(worker.kind, worker.replicas, at=at)

    def wait_ready(self) -> None:
        with self.server.client() as client:
            for kind in self._kinds:
                assert eventually(lambda kind=kind: client.zcard(f"aq:idle:chaos-{kind}") > 0, timeout=_PATIENCE)

    def submit(self, seed: int, seconds: float, *, through_proxy: bool) -> None:
        report = self.folder / f"report-{len(self._submitters)}"
        arguments = [sys.executable, "-m", "tests.chaos.submitter", str(seed), str(seconds), str(report)]
        variables = environment(self.folder)
        variables["ACTORQ_REDIS_URL"] = self.proxy.url if through_proxy else self.server.url
        self._submitters.append(subprocess.Popen(arguments, cwd=ROOT, env=variables, stderr=subprocess.PIPE, text=True))

    def wait_begun(self) -> None:
        """Returns when every map and row of calls has an output: who finds no server at first may give up."""
        wanted = len(self._submitters) * ACCOUNTS
        if not eventually(lambda: len(list(self.folder.glob("begun-*"))) == wanted, timeout=_PATIENCE):
            begun = sorted(each.name for each in self.folder.glob("begun-*"))
            told = [self._where(each) for each in self._submitters]
            raise AssertionError("\n".join([f"only these have begun: {begun}", *told]))

    def _where(self, submitter: subprocess.Popen[str]) -> str:
        """Ends a submitter; where it was, as it says."""
        submitter.send_signal(signal.SIGUSR1)
        with contextlib.suppress(subprocess.TimeoutExpired):
            submitter.wait(1.0)
        submitter.kill()
        return submitter.communicate()[1]

    def reports(self, seconds: float) -> Iterator[dict[str, Any]]:
        """What the submitters tell. One that has not ended after `seconds` says where it waits."""
        deadline = time.monotonic() + seconds
        for at, submitter in enumerate(self._submitters):
            try:
                _, errors = submitter.communicate(timeout=max(1.0, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                errors = self._where(submitter)
            report = self.folder / f"report-{at}"
            if report.exists():
                yield json.loads(report.read_text())
            else:
                yield {"accounts": [], "error": f"submitter {at} did not end:\n{errors}"}

    def left_keys(self) -> list[str]:
        """Keys without an end, when all maps are over and the workers have left."""
        with self.server.client() as client:

            def left() -> list[bytes]:
                return [key for key in client.keys("*") if not key.startswith(_PERMANENT) and client.pttl(key) == -1]

            eventually(lambda: not left())
            return [key.decode() for key in left()]

    def stop_workers(self) -> list[str]:
        """Ends the workers; returns what did not end, or is left on disk."""
        family = [process for worker in self._started for process in [worker.process, *worker.family()]]
        for worker in self._started:
            with contextlib.suppress(psutil.NoSuchProcess):
                worker.process.terminate()
        for worker in self._started:
            worker.process.wait(_PATIENCE)
        _, alive = psutil.wait_procs(family, timeout=5.0)
        return [str(process) for process in alive] + [str(each) for each in self.folder.glob("actorq-*")]

    def close(self) -> None:
        for submitter in self._submitters:
            if submitter.returncode is None:
                submitter.kill()
                submitter.communicate()
        for worker in self._started:
            for process in [*worker.family(), worker.process]:
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.kill()
            worker.process.wait()
        self.server.signal(signal.SIGCONT)
        self.server.signal(signal.SIGKILL)
        self.proxy.close()
