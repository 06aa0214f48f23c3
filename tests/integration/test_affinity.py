"""Inputs that prefer the replica which holds what they need, on real replicas."""

from __future__ import annotations

import asyncio
import random
import signal
from collections import Counter
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path

import psutil
import pytest
import redis

import actorq
from actorq import DeclarationError
from actorq.broker.scripts import submitting
from tests.conftest import Worker, eventually, pool_client
from tests.support.code import tasks
from tests.support.server_steps import Asked

Used = tuple[str, int, bool]


def shuffled(prefix: str, kinds: int, each: int) -> list[str]:
    names = [f"{prefix}{kind}" for kind in range(kinds) for _ in range(each)]
    random.Random(1).shuffle(names)
    return names


def loads(outputs: Iterable[Used]) -> int:
    return sum(loaded for _, _, loaded in outputs)


@pytest.fixture
def known_replicas() -> None:
    """A pool whose replicas are known by name: before that, whoever comes first runs an input."""
    tasks.double.remote(1)
    with pool_client() as client:
        assert eventually(lambda: client.scard("rq:workers:plain") == 2)


@pytest.mark.usefixtures("known_replicas")
def test_a_model_is_loaded_by_one_replica() -> None:
    names = shuffled("one-", 16, 30)
    outputs = list(tasks.uses_model.map(names))
    assert [name for name, _, _ in outputs] == names
    assert loads(outputs) <= 24  # of 32: the end of the map may be shared, and on a busy machine more than that
    assert len({pid for _, pid, _ in outputs}) == 2


@pytest.mark.usefixtures("known_replicas")
def test_a_later_map_finds_what_an_earlier_one_loaded() -> None:
    names = shuffled("later-", 16, 30)
    list(tasks.uses_model.map(names))
    assert loads(tasks.uses_model.map(names[::-1])) <= 8  # of 16


def test_one_model_keeps_both_replicas_busy() -> None:
    used = Counter(pid for _, pid, _ in tasks.uses_model.map(["all"] * 300))
    assert len(used) == 2
    assert min(used.values()) > 75


@pytest.mark.usefixtures("known_replicas")
def test_every_way_to_call_keeps_a_model_where_it_is() -> None:
    async def awaited(names: list[str]) -> list[Used]:
        return [output async for output in tasks.uses_model.map.aio(names)]

    ways: dict[str, Callable[[list[str]], Iterable[Used]]] = {
        "map": tasks.uses_model.map,
        "starmap": lambda names: tasks.uses_model.starmap([(name, 0.001) for name in names]),
        "partial": lambda names: actorq.map(partial(tasks.uses_model, seconds=0.001), names),
        "unordered": lambda names: tasks.uses_model.map(iter(names), order_outputs=False),
        "aio": lambda names: asyncio.run(awaited(names)),
        "submit": lambda names: [f.result() for f in [tasks.uses_model.submit(name) for name in names]],
        "keyword": lambda names: [f.result() for f in [tasks.uses_model.submit(model=name) for name in names]],
    }
    for way, call in ways.items():
        assert loads(call(shuffled(f"{way}-", 8, 40))) <= 13, way  # of 16
    assert tasks.uses_model.remote("map-1")[0] == "map-1"


@pytest.mark.usefixtures("known_replicas")
def test_a_function_of_the_arguments_may_make_the_key() -> None:
    names = shuffled("made-", 8, 40)
    outputs = list(tasks.uses_second.map(range(len(names)), names))
    assert [name for name, _, _ in outputs] == names
    assert loads(outputs) <= 13  # of 16


def test_a_function_that_fails_is_an_error_that_names_the_input() -> None:
    with pytest.raises(KeyError) as caught:
        list(tasks.uses_mapping.map([{"key": 1}, {}]))
    assert "input 1 of tests.support.code.tasks.uses_mapping" in "".join(caught.value.__notes__)
    good = tasks.uses_mapping.submit({"key": 1})
    with pytest.raises(KeyError):  # that caller alone gets it
        tasks.uses_mapping.submit({})
    assert good.result()


def test_a_constant_key_is_like_no_affinity() -> None:
    outputs = tasks.uses_second.map(range(100), kwargs={"model": "constant"})
    assert len({pid for _, pid, _ in outputs}) == 2


def test_a_parameter_that_does_not_exist_is_refused() -> None:
    def with_options(path: str, *rest: str, deep: bool = False) -> None: ...

    with_options.__qualname__ = "with_options"
    with pytest.raises(DeclarationError, match=r"'paht'.*no such parameter.*'path', 'deep'"):
        tasks.plain.task(affinity="paht")(with_options)
    with pytest.raises(DeclarationError, match="'rest'"):
        tasks.plain.task(affinity="rest")(with_options)
    with pytest.raises(DeclarationError, match="affinity=3"):
        tasks.plain.task(affinity=3)(with_options)  # type: ignore[call-overload]  # on purpose


def test_a_regular_task_has_no_affinity() -> None:
    def regular(path: str) -> None: ...

    regular.__qualname__ = "regular"
    with pytest.raises(DeclarationError, match="ActorEnvironment"):
        tasks.regular.task(affinity="path")(regular)


def test_a_replica_that_dies_loses_no_input(tmp_path: Path) -> None:
    names = shuffled("dying-", 8, 30)
    outputs = list(tasks.dies_with_model.map(names, kwargs={"flag": str(tmp_path / "died")}))
    assert [name for name, _, _ in outputs] == names
    assert loads(outputs) <= 8 + 4 + 3  # what the dead one held is loaded again
    assert (tmp_path / "died").exists()


def test_replicas_that_join_get_keys(worker: Worker) -> None:
    names = shuffled("joins-", 16, 100)
    outputs = tasks.uses_model.map(names, kwargs={"seconds": 0.01}, max_outstanding=400)  # three quarters wait
    first = [next(outputs) for _ in range(50)]
    second = Worker(worker.url)
    try:
        second.wait_ready(4)
        used = Counter(pid for _, pid, _ in [*first, *outputs])
        assert len(used) == 4
    finally:
        second.stop()


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_replicas_that_leave_are_not_waited_for(worker: Worker, how: signal.Signals) -> None:
    second = Worker(worker.url)
    second.wait_ready(4)
    family = second.family()
    try:
        names = shuffled("leaves-", 16, 60)
        outputs = tasks.uses_model.map(names, kwargs={"seconds": 0.01})
        some = [next(outputs) for _ in range(100)]
        second.process.send_signal(how)
        assert [name for name, _, _ in [*some, *outputs]] == names
    finally:
        second.stop()
        psutil.wait_procs(family, timeout=5)


def test_a_lease_that_waits_for_its_replica_is_in_the_queue(worker: Worker) -> None:
    outputs = tasks.uses_model.map(["waits"] * 12, kwargs={"seconds": 0.5})
    with redis.Redis.from_url(worker.url, decode_responses=True) as client:
        assert eventually(lambda: client.llen("rq:queue:plain") >= 2)
        waiting = client.lrange("rq:queue:plain", 0, -1)
        assert {client.hget(f"rq:job:{lease}", "status") for lease in waiting} <= {"queued", "started", None}
        assert {client.hget(f"rq:job:{lease}", "aq_for") for lease in waiting} - {None} <= {
            key.removeprefix("rq:worker:") for key in client.smembers("rq:workers:plain")
        }
    outputs.close()


# -- the scripts -------------------------------------------------------------------------------------------------------


def test_a_lease_goes_to_its_replica_when_that_is_idle(asked: Asked) -> None:
    asked.next("me")
    asked.next("you")  # was seen last
    asked.submit("me")
    assert (asked.mail("me"), asked.mail("you")) == (1, 0)
    asked.submit("me")  # is busy now
    assert (asked.mail("me"), asked.mail("you")) == (1, 0)
    assert asked.client.llen("rq:queue:e") == 1


def test_a_lease_waits_for_its_replica_and_holds_up_no_other(asked: Asked) -> None:
    mine, anyones, yours = asked.submit("me"), asked.submit(), asked.submit("you")
    assert asked.next("you") == anyones
    assert asked.next("you", done=anyones) == yours
    assert asked.next("you", done=yours) == ""
    assert asked.next("me") == mine


def test_a_lease_of_a_replica_that_is_gone_is_anyones(asked: Asked) -> None:
    lease = asked.submit("me")
    assert asked.next("you") == ""
    asked.client.delete("rq:worker:me")
    assert asked.next("you") == lease


def test_a_lease_of_a_map_that_is_gone_is_dropped_by_anyone(asked: Asked) -> None:
    asked.submit("me")
    asked.client.delete("aq:map:m")
    assert asked.next("you") == ""
    assert asked.client.llen("rq:queue:e") == 0


def test_only_what_has_not_begun_can_be_taken_back(asked: Asked) -> None:
    runs, waits = asked.submit("me"), asked.submit("me")
    asked.next("me")
    assert submitting.recall(asked.link, "e", [runs, waits, "unknown"]) == {waits}
    assert asked.client.exists(f"rq:job:{runs}", f"rq:job:{waits}") == 1
    assert asked.next("me", done=runs) == ""


def test_only_replicas_that_are_heard_of_are_named(asked: Asked) -> None:
    asked.client.expire("rq:worker:you", 29)
    assert submitting.replicas(asked.link, "e", 10) == ["me"]
