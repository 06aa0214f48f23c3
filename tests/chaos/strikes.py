"""What may happen to a running pool, and the schedule that a seed makes of it."""

from __future__ import annotations

import contextlib
import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable

import psutil
import redis

from tests.chaos import work
from tests.chaos.field import Field

#: pause between two strikes, seconds
_PAUSE = (0.2, 1.0)
#: what a key is called that is never taken away: nobody could tell that it was there
_SPARED = (b"aq:pod:", b"rq:results:")
#: keeps a server from all else, seconds of its processor
_BUSY = "local e = os.clock() + tonumber(ARGV[1]) while os.clock() < e do end"


class Strikes(threading.Thread):
    """Strikes until told to stop. The same seed makes the same choices, as far as these are there."""

    def __init__(self, field: Field, seed: int) -> None:
        super().__init__(name="strikes")
        self._field = field
        self._random = random.Random(seed)
        self._stop_now = threading.Event()
        #: when and what, Unix seconds
        self.done: list[tuple[float, str]] = []
        self._table: dict[Callable[[], None], float] = {
            self.kill_a_replica: 3,
            self.cut_connections: 3,
            self.forget_scripts: 2,
            self.freeze_a_replica: 2,
            self.freeze_beyond_the_lease: 0.5,
            self.kill_a_worker: 1,
            self.drain_a_worker: 1,
            self.scale_up_and_down: 0.5,
            self.kill_the_server: 0.7,
            self.restart_the_server: 0.3,
            self.freeze_the_server: 0.5,
            self.keep_the_server_busy: 0.5,
            self.fill_the_server: 0.5,
            self.silence_connections: 0.7,
            self.take_a_key: 2,
        }

    @property
    def counts(self) -> Counter[str]:
        return Counter(name for _, name in self.done)

    def run(self) -> None:
        while not self._stop_now.wait(self._random.uniform(*_PAUSE)):
            strike = self._random.choices(list(self._table), list(self._table.values()))[0]
            with contextlib.suppress(psutil.NoSuchProcess, redis.RedisError, IndexError):
                strike()
                self.done.append((time.time(), strike.__name__))

    def stop(self) -> None:
        self._stop_now.set()
        self.join()

    # -- replicas and workers ------------------------------------------------------------------------------------------

    def _replica(self) -> psutil.Process:
        return self._random.choice([each for worker in self._field.workers for each in worker.executors()])

    def kill_a_replica(self) -> None:
        self._replica().kill()

    def freeze_a_replica(self) -> None:
        self._freeze(self._replica(), self._random.uniform(0.1, 1.0))

    def freeze_beyond_the_lease(self) -> None:
        """With its supervisor, or that would go on renewing the lease."""
        worker = self._random.choice(self._field.workers)
        for process in (family := [worker.process, *worker.family()]):
            process.suspend()
        time.sleep(1.5 * work.LEASE_SECONDS)
        for process in family:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.resume()

    def _freeze(self, process: psutil.Process, seconds: float) -> None:
        process.suspend()
        time.sleep(seconds)
        process.resume()

    def kill_a_worker(self) -> None:
        worker = self._random.choice(self._field.workers)
        worker.process.kill()
        self._field.replace(worker)

    def drain_a_worker(self) -> None:
        """As a rollout does: the new one comes while the old one leaves."""
        worker = self._random.choice(self._field.workers)
        worker.process.terminate()
        self._field.replace(worker)

    def scale_up_and_down(self) -> None:
        worker = self._field.worker(self._random.choice(["plain", "slots", "forked"]), 1)
        self._field.workers.append(worker)
        time.sleep(2.0)
        worker.process.terminate()
        worker.process.wait()
        self._field.workers.remove(worker)

    # -- the server ----------------------------------------------------------------------------------------------------

    def kill_the_server(self) -> None:
        self._field.server.signal(signal.SIGKILL)
        self._field.server.start()

    def restart_the_server(self) -> None:
        self._field.server.signal(signal.SIGTERM)
        time.sleep(self._random.uniform(0.0, 2.0))
        self._field.server.start()

    def freeze_the_server(self) -> None:
        self._field.server.signal(signal.SIGSTOP)
        time.sleep(self._random.uniform(0.2, 2.0))
        self._field.server.signal(signal.SIGCONT)

    def forget_scripts(self) -> None:
        with self._field.server.client() as client:
            client.script_flush()

    def keep_the_server_busy(self) -> None:
        with self._field.server.client() as client:
            client.config_set("busy-reply-threshold", 1)
            client.eval(_BUSY, 0, "0.5")

    def fill_the_server(self) -> None:
        with self._field.server.client() as client:
            client.config_set("maxmemory", 1)
            time.sleep(0.5)
            client.config_set("maxmemory", 0)

    def take_a_key(self) -> None:
        with self._field.server.client() as client:
            keys = sorted(key for key in client.keys("*") if not key.startswith(_SPARED))
            client.delete(self._random.choice(keys))

    # -- connections ---------------------------------------------------------------------------------------------------

    def cut_connections(self) -> None:
        with self._field.server.client() as client:
            client.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")

    def silence_connections(self) -> None:
        self._field.proxy.silence(lambda connection: self._random.random() < 0.5)
