"""Faults at random while a map runs: every input has exactly one output, in order, whatever dies."""

from __future__ import annotations

import contextlib
import random
import signal
import threading
import time

import psutil
import pytest
import redis

from tests import tasks
from tests.conftest import Worker


class Chaos(threading.Thread):
    """Kills and cuts every quarter of a second until told to stop."""

    def __init__(self, worker: Worker, seed: int) -> None:
        super().__init__(name="chaos")
        self._worker = worker
        self._random = random.Random(seed)
        self._stop_now = threading.Event()
        self.done: list[str] = []

    def run(self) -> None:
        with redis.Redis.from_url(self._worker.url) as client:
            while not self._stop_now.wait(0.25):
                fault = self._random.choice([self._kill, self._cut, self._cut, self._freeze, self._forget_scripts])
                with contextlib.suppress(psutil.NoSuchProcess, redis.RedisError, IndexError):
                    fault(client)
                    self.done.append(fault.__name__)

    def stop(self) -> None:
        self._stop_now.set()
        self.join()

    def _kill(self, _: redis.Redis) -> None:
        self._random.choice(self._worker.executors()).send_signal(signal.SIGKILL)

    def _cut(self, client: redis.Redis) -> None:
        """Closes every connection but ours, in the middle of whatever they do."""
        client.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")

    def _freeze(self, _: redis.Redis) -> None:
        executor = self._random.choice(self._worker.executors())
        executor.send_signal(signal.SIGSTOP)
        time.sleep(0.3)
        executor.send_signal(signal.SIGCONT)

    def _forget_scripts(self, client: redis.Redis) -> None:
        client.script_flush()


@pytest.mark.parametrize("seed", [1, 2])
def test_no_input_is_lost_and_none_comes_twice(worker: Worker, seed: int) -> None:
    chaos = Chaos(worker, seed)
    chaos.start()
    try:
        # an innocent input may be running whenever its replica is killed: it must not be given up for that
        outputs = tasks.sturdy.map(range(4000))
        assert list(outputs) == list(range(4000))
        assert [tasks.sturdy.remote(x) for x in range(20)] == list(range(20))
        futures = [tasks.sturdy.submit(x) for x in range(200)]
        assert [future.result(timeout=40) for future in futures] == list(range(200))
    finally:
        chaos.stop()
    assert len(chaos.done) > 3
