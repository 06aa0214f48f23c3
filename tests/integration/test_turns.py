"""Whose turn it is: a replica that becomes free serves who has had the least of the recent time."""

from __future__ import annotations

import itertools
import threading
from collections import deque
from contextlib import suppress
from typing import Any

import pytest
import redis

from actorq import DeclarationError, PoolError
from actorq.broker import keys
from actorq.broker.scripts import submitting
from tests.conftest import Worker, eventually
from tests.support.code import tasks
from tests.support.server_steps import Asked

# -- the scripts -------------------------------------------------------------------------------------------------------


def test_the_map_that_had_the_least_of_the_time_is_next(asked: Asked) -> None:
    long = [asked.submit(of="long", served=5.0) for _ in range(3)]
    short = [asked.submit(of="short", served=0.1) for _ in range(2)]
    assert [asked.take("me") for _ in range(5)] == [*short, *long]
    assert asked.client.exists(keys.queue("e"), keys.wait("long"), keys.wait("short")) == 0


def test_maps_that_had_as_much_take_turns(asked: Asked) -> None:
    for of in ("a", "b"):
        asked.submit_all("", "", "", of=of, served=1.0)
        asked.check(of=of, served=1.0, cost=0.5)
    assert [asked.take("me")[0] for _ in range(6)] == ["a", "b"] * 3


def test_what_runs_counts_before_it_is_over(asked: Asked) -> None:
    asked.submit_all("", "", of="a", served=0.0)
    asked.submit_all("", "", of="b", served=0.9)
    running = asked.next("me")
    assert running.startswith("a")
    asked.check(running, of="a", served=0.0, cost=1.0)
    assert asked.next("you").startswith("b")


def test_a_call_goes_before_every_map(asked: Asked) -> None:
    for of in ("a", "b", "c"):
        asked.submit(of=of)
    asked.call(1)
    assert asked.next("me") == "lane-1"
    assert asked.queue() == ["a-1", "b-2", "c-3"]


def test_calls_that_had_more_of_the_time_than_maps_let_one_pass(asked: Asked) -> None:
    asked.submit_all("", "", "")
    asked.check(busy=1.5)
    for serial in range(1, 4):
        asked.call(serial, cost=1.0)
    assert [asked.take("me") for _ in range(3)] == ["lane-1", "lane-2", "m-1"]
    asked.check(*asked.queue(), busy=1.0)
    assert asked.take("me") == "lane-3"


def test_calls_are_not_charged_for_what_nobody_waited_for(asked: Asked) -> None:
    for serial in range(1, 4):
        asked.call(serial, cost=10.0)
        assert asked.take("me") == f"lane-{serial}"
    asked.submit()
    asked.call(4)
    assert asked.take("me") == "lane-4"


def test_nothing_is_claimed_ahead_while_others_wait(asked: Asked) -> None:
    running, *_ = asked.submit_all(*[""] * 5)
    assert asked.next("me") == running
    asked.submit(of="other", served=1.0)
    assert asked.go_on("me", "", running) == ""
    assert asked.ask("me", running) == ("m-2", False)


def test_a_map_is_alone_again_when_the_other_has_ended(asked: Asked) -> None:
    running, second, *_ = asked.submit_all(*[""] * 5)
    other = asked.submit(of="other", served=1.0)
    assert asked.next("me") == running
    asked.end("other", other)
    assert asked.go_on("me", "", running) == second


def test_what_is_for_another_replica_holds_up_nobody(asked: Asked) -> None:
    yours = asked.submit("you")
    anyones = asked.submit(of="other", served=9.0)
    assert [asked.take("me"), asked.take("me")] == [anyones, ""]
    assert asked.take("you") == yours


def test_what_is_given_back_waits_in_its_place(asked: Asked) -> None:
    running, claimed, waiting = asked.submit_all("", "", "")
    asked.next("me")
    assert asked.go_on("me", "", running) == claimed
    asked.unclaim("me", running)
    assert asked.client.lrange(keys.wait("m"), 0, -1) == asked.queue() == [claimed, waiting]


def test_a_call_that_is_given_back_waits_among_the_calls(asked: Asked) -> None:
    asked.call(1)
    assert asked.next("me") == "lane-1"
    asked.call(2)
    asked.lost("me")
    assert asked.client.lrange(keys.calls("e"), 0, -1) == asked.queue() == ["lane-1", "lane-2"]


def test_what_a_submitter_takes_back_or_ends_waits_nowhere(asked: Asked) -> None:
    first, second, mine = asked.submit_all("", "", "me")
    assert asked.recall(first, mine) == [first, mine]
    asked.end("m", second)
    asked.call(1)
    asked.end("lane", "lane-1")
    waiting = [keys.queue("e"), keys.wait("m"), keys.wait("m", "me"), keys.calls("e"), keys.turns("e")]
    assert [key for key in waiting if asked.client.exists(key)] in ([], [keys.turns("e")])
    assert asked.next("me") == ""
    assert not asked.client.exists(keys.turns("e"))


def test_what_rq_requeues_is_run_also_while_maps_keep_all_busy(asked: Asked) -> None:
    asked.submit_all(*[""] * 4)
    asked.client.hset(keys.job("again"), mapping={"aq": "payload", "aq_map": "", "status": "queued"})
    asked.client.rpush(keys.queue("e"), "again")
    asked.renew()
    asked.renew()
    assert [asked.take("me"), asked.take("me")] == ["again", "m-1"]


def test_what_rq_requeues_is_run_at_once_by_who_is_idle(asked: Asked) -> None:
    asked.client.hset(keys.job("again"), mapping={"aq": "payload", "aq_map": "", "status": "queued"})
    asked.client.rpush(keys.queue("e"), "again")
    assert asked.next("me") == "again"


# -- keys that vanish alone --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("key", [keys.queue("e"), keys.turns("e"), keys.wait("m")])
def test_what_waits_is_run_though_one_of_its_lists_was_deleted(key: str, asked: Asked) -> None:
    leases = asked.submit_all("", "", "")
    asked.client.delete(key)
    gone = asked.check(*leases)[1]
    asked.recall(*gone)  # its submitter offers them again
    assert sorted([*gone, *filter(None, (asked.take("me") for _ in leases))]) == leases


def test_a_lease_that_runs_and_is_in_no_list_of_running_ones_is_gone(asked: Asked) -> None:
    lease = asked.submit()
    assert asked.next("me") == lease
    asked.client.delete(keys.wip("e"))
    assert asked.check(lease) == (1, [lease])


def test_a_call_that_waits_in_no_list_is_gone(asked: Asked) -> None:
    asked.call(1)
    asked.client.delete(keys.calls("e"))
    found = submitting.check(asked.link, "e", "lane", "lane", last=b"0-0", leases=["lane-1"])
    assert found.missing == {"lane-1"}


def test_a_lease_that_is_in_a_list_twice_runs_once(asked: Asked) -> None:
    lease = asked.submit()
    asked.client.rpush(keys.wait("m"), lease)
    assert asked.next("me") == lease
    assert asked.next("you") == ""


# -- a stream that begins anew -----------------------------------------------------------------------------------------


def test_the_server_knows_what_was_read_while_it_has_the_map_and_its_stream(asked: Asked) -> None:
    lease = asked.submit()
    asked.next("me", done=asked.next("me"))
    entries: Any = asked.client.xrange(keys.out("m"))
    assert asked.check(lease, last=entries[-1][0])[0] == 1


@pytest.mark.parametrize("lost", [[keys.map_("m")], [keys.out("m")], [keys.map_("m"), keys.out("m")]])
def test_a_server_that_lost_a_map_or_its_stream_says_so_once(lost: list[str], asked: Asked) -> None:
    asked.submit()
    asked.client.delete(*lost)
    assert asked.check(last="5-5")[0] == 0
    assert asked.check(last="0-0")[0] == 1


def test_a_stream_from_an_older_state_is_noticed_by_its_last_id(asked: Asked) -> None:
    asked.submit()
    asked.client.xadd(keys.out("m"), {"l": "x"}, id="1000-2")
    assert asked.check(last="1000-2")[0] == 1
    assert asked.check(last="1000-3")[0] == 0
    assert asked.check(last="999-9")[0] == 1


# -- a replica that was cut off ----------------------------------------------------------------------------------------


def test_a_replica_that_was_given_up_and_lives_is_told_of(asked: Asked) -> None:
    lease = asked.submit()
    asked.next("me")
    asked.lapse(lease)
    assert asked.renew(lease) == [lease]
    assert asked.renew(lease) == [lease]
    assert [(each[0], each[1]) for each in asked.reports()] == [(lease, "x"), (lease, "a")]


# -- maps --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("priority", [10, -10, 1.0, True, "high"])
def test_a_priority_that_is_none_is_refused(priority: object) -> None:
    with pytest.raises(DeclarationError, match="priority"):
        tasks.double.map([1], priority=priority)  # type: ignore[call-overload]


def test_a_map_of_higher_priority_passes_one_that_waits(worker: Worker) -> None:
    """Both have waited; of the first results that come while both do, nearly all are of the higher."""
    with redis.Redis.from_url(worker.url) as client:
        client.set("rq:suspended", "1")
        low = tasks.span.map(range(200), map_id="low")
        high = tasks.span.map(range(100), map_id="high", priority=2)
        assert eventually(lambda: client.llen(keys.wait("low")) and client.llen(keys.wait("high")))
        client.delete("rq:suspended")
        ended = max(end for _, end in high)
        before = [1 for begin, _ in low if begin < ended]
    assert len(before) <= 20


def test_a_short_map_and_a_call_pass_maps_that_never_end(worker: Worker) -> None:
    """Each of the others has had more time than the short one takes as a whole."""
    endless = [tasks.span.map(itertools.repeat(0), map_id=f"endless-{i}") for i in range(3)]
    for outputs in endless:
        threading.Thread(target=_consume, args=(outputs,), daemon=True).start()
    assert eventually(lambda: all(outputs.stats().busy_seconds > 0.4 for outputs in endless))
    busy = [outputs.stats().leases for outputs in endless]
    assert len(list(tasks.span.map(range(20)))) == 20
    assert tasks.double.remote(1) == 2
    served = [outputs.stats().leases - before for outputs, before in zip(endless, busy, strict=True)]
    assert sum(served) < 20
    for outputs in endless:
        outputs.close()


def _consume(outputs: object) -> None:
    with suppress(PoolError):
        deque(outputs, maxlen=0)  # type: ignore[call-overload]
