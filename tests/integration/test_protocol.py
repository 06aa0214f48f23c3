"""The scripts: who holds a lease, and what becomes of it when an answer, a connection or a replica is lost."""

from __future__ import annotations

import pytest
from rq.job import Job
from rq.worker import Worker as StockWorker

from actorq.broker import keys
from tests.support.server_steps import Asked


def test_a_lease_is_handed_to_the_idle_replica_that_was_seen_last(asked: Asked) -> None:
    asked.next("you")
    asked.next("me")
    lease = asked.submit()
    assert (asked.mail("me"), asked.mail("you")) == (1, 0)
    assert asked.next("me") == lease


def test_a_mail_that_was_not_read_is_the_next_lease(asked: Asked) -> None:
    asked.next("me")
    handed = asked.submit()
    asked.next("you")
    assert asked.next("me") == handed
    assert asked.mail("me") == 0


def test_a_mail_whose_reader_lost_its_connection_is_found_again(asked: Asked) -> None:
    asked.next("me")
    handed = asked.submit()
    asked.client.lpop(keys.mail("me"))
    other = asked.submit()
    assert asked.next("me", again=True) == handed
    assert asked.next("you") == other


def test_an_answer_that_was_lost_is_given_again(asked: Asked) -> None:
    first, second = asked.submit(), asked.submit()
    assert asked.next("me") == first
    assert asked.next("me", again=True) == first
    assert asked.commit("me", first, again=True) == ("ok", second)
    assert asked.commit("me", first, again=True) == ("lost", second)  # the same, sent twice
    assert asked.reports() == [(first, "f", "frame")]


def test_a_mail_that_is_not_ours_is_thrown_away(asked: Asked) -> None:
    asked.client.rpush(keys.mail("me"), "hello")
    lease = asked.submit()
    assert asked.next("me") == lease


def test_a_nudge_is_no_lease(asked: Asked) -> None:
    asked.client.rpush(keys.mail("me"), "", "")
    lease = asked.submit()
    assert asked.next("me") == lease
    assert asked.mail("me") == 0


def test_a_replica_that_leaves_gives_back_what_it_was_handed(asked: Asked) -> None:
    asked.next("me")
    handed = asked.submit()
    assert asked.next("me", want=False) == ""
    assert asked.queue() == [handed]
    asked.submit()
    assert asked.mail("me") == 0  # it is not idle any more


def test_a_replica_whose_mail_is_taken_back_unread_looks_at_the_queue(asked: Asked) -> None:
    """It is not among the idle ones any more: it would wait on its mailbox while leases wait for it."""
    asked.next("me")
    handed = asked.submit()
    asked.end("m", handed)
    other = asked.submit(of="n")
    assert asked.queue() == [other]
    assert asked.client.lpop(keys.mail("me")) in ("", b"")  # look at the queue
    assert asked.next("me") == other


def test_a_lapsed_lease_that_was_not_read_leaves_its_replica_a_word(asked: Asked) -> None:
    asked.next("me")
    handed = asked.submit()
    asked.lapse(handed)
    asked.renew()
    assert asked.client.lrange(keys.mail("me"), 0, -1) in ([""], [b""])


def test_a_dead_replica_had_not_begun_what_it_had_not_read(asked: Asked) -> None:
    asked.next("me")
    handed = asked.submit()
    asked.lost("me")
    assert (asked.queue(), asked.reports()) == ([handed], [])
    assert asked.client.zcard(keys.wip("e")) == asked.mail("me") == 0


def test_a_dead_replica_lost_what_it_ran(asked: Asked) -> None:
    lease = asked.submit()
    asked.next("me")
    asked.lost("me", lease)
    assert asked.reports() == [(lease, "x", "killed")]


def test_results_of_a_lease_that_was_taken_away_are_dropped(asked: Asked) -> None:
    lease = asked.submit()
    asked.next("me")
    asked.lost("me", lease)
    assert asked.commit("me", lease) == ("lost", "")
    assert [kind for _, kind, _ in asked.reports()] == ["x"]


def test_results_for_a_map_that_has_ended_leave_nothing(asked: Asked) -> None:
    lease = asked.submit()
    asked.next("me")
    asked.client.delete(keys.map_("m"), keys.out("m"))
    assert asked.commit("me", lease) == ("ok", "")
    assert not asked.client.exists(keys.out("m"), keys.job(lease))


def test_a_submitter_that_keeps_no_stream_hears_what_its_replicas_say(asked: Asked) -> None:
    lease = asked.submit()
    asked.next("me")
    asked.client.delete(keys.out("m"))
    asked.next("me", done=lease)
    assert asked.reports() == [(lease, "f", "frame")]
    assert asked.client.ttl(keys.out("m")) > 0


def test_the_stream_of_a_map_lives_as_long_as_the_map(asked: Asked) -> None:
    lease = asked.submit()
    asked.next("me", done=lease)
    assert 0 < asked.client.ttl(keys.out("m")) <= asked.client.ttl(keys.map_("m"))


def test_rq_can_read_a_lease_as_soon_as_it_is_handed_over(asked: Asked) -> None:
    asked.next("me")
    job = Job.fetch(asked.submit(), connection=asked.binary)
    assert (job.get_status(), job.worker_name, job.origin) == ("started", "me", "e")


def test_rq_sees_what_a_replica_has_run_for_a_moment(asked: Asked) -> None:
    lease = asked.submit()
    asked.next("me")
    asked.book("me", lease)
    worker = StockWorker.find_by_key("rq:worker:me", connection=asked.binary)
    assert worker is not None
    assert worker.get_current_job_id() == lease
    assert worker.get_state() == "busy"
    assert worker.successful_job_count == 7
    for key in ("rq:worker:me:executions", f"rq:execution:{lease}:1", keys.job(lease)):
        assert asked.client.ttl(key) > 0, key
    asked.next("me", done=lease)
    assert not asked.client.exists("rq:worker:me:executions", f"rq:execution:{lease}:1", keys.job(lease))


def test_a_full_server_takes_what_is_shown_of_a_replica(asked: Asked) -> None:
    lease = asked.submit()
    asked.next("me")
    asked.client.config_set("maxmemory", 1)
    asked.book("me", lease)
    asked.client.config_set("maxmemory", 0)
    assert asked.client.hget(keys.worker("me"), "state") == "busy"


def test_what_ended_before_it_could_be_shown_is_not_shown(asked: Asked) -> None:
    lease = asked.submit()
    asked.next("me")
    asked.next("me", done=lease)
    asked.book("me", lease)
    assert not asked.client.exists("rq:worker:me:executions", f"rq:execution:{lease}:1", keys.job(lease))


def test_a_worker_that_has_left_is_not_brought_back(asked: Asked) -> None:
    asked.client.delete("rq:worker:me")
    asked.book("me", "")
    assert not asked.client.exists("rq:worker:me")


def test_a_replica_claims_a_lease_ahead_while_enough_wait_for_the_others(asked: Asked) -> None:
    first, second, third, _ = (asked.submit() for _ in range(4))
    assert asked.next("me") == first
    assert asked.go_on("me", "", first) == second
    assert asked.go_on("me", first, second) == third  # two wait for two replicas
    assert asked.go_on("me", second, third) == ""  # the last one is to be there for whoever is free first
    assert not asked.idle("me")
    assert asked.reports() == [(first, "f", "frame"), (second, "f", "frame")]


def test_the_last_leases_are_claimed_ahead_where_every_replica_gets_one(asked: Asked) -> None:
    mine, yours, third, fourth = asked.submit_all("", "", "", "")
    assert asked.next("me") == mine
    assert asked.next("you") == yours
    assert asked.claim("me", "", mine) == (third, True)
    assert asked.claim("you", "", yours) == (fourth, False)


def test_a_replica_claims_ahead_what_waits_for_it_and_for_nobody_else(asked: Asked) -> None:
    running = asked.submit()
    assert asked.next("me") == running
    yours, mine, anyones = asked.submit("you"), asked.submit("me"), asked.submit()
    assert asked.go_on("me", "", running) == mine
    assert asked.go_on("me", running, mine) == ""
    assert asked.queue() == [yours, anyones]


def test_there_is_more_behind_a_lease_for_one_replica_while_another_waits_for_it(asked: Asked) -> None:
    first, second, yours = asked.submit("me"), asked.submit("me"), asked.submit("you")
    assert asked.ask("me") == (first, True)
    assert asked.ask("me", done=first) == (second, False)
    assert asked.ask("you") == (yours, False)


def test_what_waits_for_others_is_not_plenty(asked: Asked) -> None:
    anyones = asked.submit()
    for _ in range(3):
        asked.submit("you")
    assert asked.ask("me") == (anyones, False)


def test_there_is_plenty_while_a_lease_waits_for_every_replica(asked: Asked) -> None:
    first, second, third, fourth, _ = asked.submit_all("", "", "", "", "")
    assert asked.ask("me") == (first, True)
    assert asked.claim("me", "", first) == (second, True)
    assert asked.claim("me", first, second) == (third, True)  # two are left, one of which may be claimed
    assert asked.claim("me", second, third) == (fourth, False)
    assert asked.claim("me", third, fourth) == ("", False)


@pytest.mark.parametrize("leases", [1, 2, 3, 4])
def test_who_is_handed_a_lease_is_told_whether_there_is_plenty(asked: Asked, leases: int) -> None:
    assert asked.next("me") == ""
    asked.submit_all(*[""] * leases)
    mail = str(asked.client.lindex(keys.mail("me"), 0))
    _, _, plenty, _ = mail.split("\0")
    assert plenty == ("1" if leases - 1 >= 2 else "")  # beside the one that is handed over


def test_nothing_is_claimed_ahead_while_the_workers_are_suspended(asked: Asked) -> None:
    running = asked.submit()
    assert asked.next("me") == running
    waiting = [asked.submit(), asked.submit()]
    asked.client.set(keys.SUSPENDED, "1")
    assert asked.go_on("me", "", running) == ""
    assert asked.queue() == waiting


def test_what_was_claimed_ahead_is_given_back_when_the_lease_before_it_takes_its_time(asked: Asked) -> None:
    running, claimed, waiting = (asked.submit() for _ in range(3))
    asked.next("me")
    asked.go_on("me", "", running)
    assert asked.unclaim("me", running) == 1
    assert asked.queue() == [claimed, waiting]
    assert asked.client.hget(keys.job(claimed), "status") == "queued"
    assert asked.client.ttl(keys.job(claimed)) > 0
    assert asked.unclaim("me", running) == 0
    assert asked.next("you") == claimed
    assert asked.commit("me", running) == ("ok", waiting)
    assert asked.commit("you", claimed) == ("ok", "")


def test_an_idle_replica_is_told_of_what_is_given_back(asked: Asked) -> None:
    running, claimed, waiting = (asked.submit() for _ in range(3))
    asked.next("me")
    asked.go_on("me", "", running)
    asked.next("you", done=asked.next("you"))
    assert (asked.mail("you"), asked.idle("you")) == (0, True)
    asked.unclaim("me", running)
    assert (asked.mail("you"), asked.idle("you")) == (1, False)
    assert asked.next("you") == claimed
    assert asked.reports() == [(waiting, "f", "frame")]


def test_what_is_given_back_leaves_the_record_of_what_runs(asked: Asked) -> None:
    running, *_ = (asked.submit() for _ in range(3))
    asked.next("me")
    asked.go_on("me", "", running)
    asked.book("me", running)
    asked.unclaim("me", running)
    assert asked.client.smembers("rq:worker:me:executions") == {asked.member(running)}


def test_a_requeued_job_that_is_given_back_is_still_queued(asked: Asked) -> None:
    running, requeued, _ = (asked.submit() for _ in range(3))
    asked.client.hset(keys.job(requeued), "aq_map", "")
    asked.next("me")
    asked.go_on("me", "", running)
    asked.unclaim("me", running)
    assert asked.queue()[0] == requeued


def test_what_is_given_back_of_a_map_that_has_ended_is_dropped(asked: Asked) -> None:
    running, claimed, _ = (asked.submit() for _ in range(3))
    asked.next("me")
    asked.go_on("me", "", running)
    asked.client.delete(keys.map_("m"), keys.out("m"))
    asked.unclaim("me", running)
    assert not asked.client.exists(keys.job(claimed))
    assert claimed not in asked.queue()


def test_the_only_replica_keeps_what_it_has_claimed(asked: Asked) -> None:
    running, claimed, _ = (asked.submit() for _ in range(3))
    asked.client.srem(keys.workers("e"), keys.worker("you"))
    asked.next("me")
    asked.go_on("me", "", running)
    assert asked.unclaim("me", running) == 0
    assert asked.reports() == []
    assert asked.commit("me", running, again=True) == ("ok", claimed)


def test_the_only_replica_keeps_the_rest_of_a_late_lease(asked: Asked) -> None:
    running = asked.submit()
    asked.next("me")
    asked.client.srem(keys.workers("e"), keys.worker("you"))
    assert asked.sync(running, 3) == 2
    assert asked.reports() == []
    assert asked.sync(running, 3, must=True) == 1
    assert asked.reports() == [(running, "c", "3")]


def test_what_has_begun_is_not_given_back(asked: Asked) -> None:
    running, claimed, _ = (asked.submit() for _ in range(3))
    asked.next("me")
    asked.go_on("me", "", running)
    asked.go_on("me", running, claimed, ahead=False)
    assert asked.unclaim("me", running) == 0
    assert asked.commit("me", claimed)[0] == "ok"


def test_a_claim_that_lapsed_before_it_began_is_no_crash(asked: Asked) -> None:
    running, claimed, waiting = (asked.submit() for _ in range(3))
    asked.next("me")
    asked.go_on("me", "", running)
    asked.lapse(claimed)
    assert (asked.queue(), asked.reports()) == ([claimed, waiting], [])
    asked.lapse(running)
    assert asked.reports() == [(running, "x", "lapsed")]


def test_a_claim_whose_replica_vanished_is_no_crash(asked: Asked) -> None:
    running, claimed, waiting = (asked.submit() for _ in range(3))
    asked.next("me")
    asked.go_on("me", "", running)
    asked.lapse(running)
    assert (asked.queue(), asked.reports()) == ([claimed, waiting], [(running, "x", "lapsed")])
    asked.lapse(claimed)
    assert len(asked.reports()) == 1


def test_a_replica_that_died_had_not_begun_what_it_had_claimed(asked: Asked) -> None:
    running, claimed, waiting = (asked.submit() for _ in range(3))
    asked.next("me")
    asked.go_on("me", "", running)
    asked.lost("me", running)
    assert (asked.queue(), asked.reports()) == ([claimed, waiting], [(running, "x", "killed")])


def test_a_replica_that_asks_again_is_given_what_it_claimed(asked: Asked) -> None:
    running, claimed, _ = (asked.submit() for _ in range(3))
    asked.next("me")
    asked.go_on("me", "", running)
    assert asked.commit("me", running, again=True) == ("ok", claimed)


def test_what_runs_again_runs_before_the_rest_and_in_its_order(asked: Asked) -> None:
    waits = asked.submit()
    again = asked.submit_all("1", "1")
    assert asked.queue() == [*again, waits]


def test_nothing_is_claimed_behind_a_lease_that_was_taken_away(asked: Asked) -> None:
    running, *waiting = (asked.submit() for _ in range(4))
    asked.next("me")
    asked.lost("me", running)
    assert asked.go_on("me", "", running) == ""
    assert asked.queue() == waiting
    assert not asked.client.exists(keys.job(running))


def test_a_call_to_its_own_environment_never_waits_in_the_queue(asked: Asked) -> None:
    asked.next("me")
    (inner,) = asked.submit_all("", only_idle=True)
    asked.lost("me")
    assert asked.queue() == []
    assert asked.reports() == [(inner, "c", "0")]  # and its caller is told, when nobody is free


# -- single calls ------------------------------------------------------------------------------------------------------


def test_a_call_goes_to_an_idle_replica(asked: Asked) -> None:
    assert asked.next("me") == ""
    assert asked.call(1)
    assert str(asked.client.lindex(keys.mail("me"), 0)).startswith("lane-1\x001\x00")
    assert not asked.idle("me")
    assert asked.queue() == []


def test_a_call_waits_in_the_queue_while_no_replica_is_idle_or_the_workers_are_suspended(asked: Asked) -> None:
    assert asked.call(1)
    asked.next("me")
    asked.client.set(keys.SUSPENDED, "1")
    assert asked.call(2)
    assert asked.queue() == ["lane-2"]
    assert asked.client.ttl(keys.job("lane-2")) > 0


def test_a_call_that_may_not_wait_is_refused_while_no_replica_is_idle(asked: Asked) -> None:
    assert not asked.call(1, only_idle=True)
    assert asked.queue() == []
    assert not asked.client.exists(keys.job("lane-1"))
    assert asked.next("me") == ""
    assert asked.call(2, only_idle=True)


def test_a_call_that_is_sent_again_runs_once(asked: Asked) -> None:
    assert asked.call(1)
    assert asked.call(1, new=False)
    assert asked.queue() == ["lane-1"]
    asked.client.flushdb()  # the server has forgotten it
    assert asked.call(1, new=False)
    assert asked.queue() == ["lane-1"]


def test_a_lane_and_its_stream_expire(asked: Asked) -> None:
    assert asked.call(1)
    assert 0 < asked.client.ttl(keys.map_("lane")) <= keys.MAP_TTL_SECONDS
    assert 0 < asked.client.ttl(keys.out("lane")) <= keys.MAP_TTL_SECONDS
