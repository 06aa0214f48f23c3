"""A lease that is claimed while another runs: nobody waits for it, and it waits for nobody."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import redis

from actorq import ActorEnvironment, ReplicaLostError
from actorq.broker import keys
from actorq.runtime.program import runtime
from tests.conftest import eventually
from tests.support.code import tasks

alone = ActorEnvironment("ahead-alone", replica_count=1, isolation="none")
pair = ActorEnvironment("ahead-pair", replica_count=2, isolation="none")
strict = ActorEnvironment("ahead-strict", replica_count=2, isolation="none", max_crashes=0)


@alone.task
def begin(seconds: float) -> float:
    begun = time.monotonic()
    time.sleep(seconds)
    return begun


@pair.task
def span(seconds: float) -> tuple[float, float]:
    """When it began and ended. A negative one holds the interpreter's lock in C: no signal handler runs."""
    begun = time.monotonic()
    if seconds < 0:
        tasks.stuck_in_c(-seconds)
    else:
        time.sleep(seconds)
    return begun, time.monotonic()


@strict.task
def dies_at(index: int, folder: str, at: int) -> int:
    """Notes that it ran, and dies if it is the one."""
    with (Path(folder) / str(index)).open("a") as file:
        file.write("x")
    if index == at:
        os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(0.005)
    return index


def test_one_replica_runs_its_inputs_in_their_order_however_long_they_take() -> None:
    begun = list(begin.map([0.0001] * 30 + [0.005, 0.002, 0.09, 0.005] * 8 + [0.001] * 40))
    assert begun == sorted(begun)


def test_nothing_waits_behind_an_input_that_blocks_its_replica() -> None:
    assert list(span.map([0.0]))
    assert eventually(lambda: pair.status().ready == 2)  # one that is alone keeps what it has
    spans = list(span.map([0.005] * 40 + [-3.0] + [0.005] * 60))
    blocked, others = spans[40], spans[:40] + spans[41:]
    assert all(end < blocked[1] for _, end in others)


def test_what_a_dead_executor_had_claimed_runs_once_and_is_not_charged(tmp_path: Path) -> None:
    outputs = list(dies_at.map(range(100), kwargs={"folder": str(tmp_path), "at": 40}, return_exceptions=True))
    lost = outputs.pop(40)
    assert isinstance(lost, ReplicaLostError)
    assert outputs == [*range(40), *range(41, 100)]
    assert {path.read_text() for path in tmp_path.iterdir()} == {"x"}


def test_replicas_hold_more_than_they_run() -> None:
    outputs = span.map([0.01] * 200)
    client = runtime().pools.client
    assert client is not None
    with redis.Redis.from_url(client.url) as server:
        assert eventually(lambda: server.zcard(keys.wip(pair.name)) > pair.replica_count)
    assert len(list(outputs)) == 200
