"""What once went wrong with runs and jobs, without a word: large inputs, long journals, old names, lost replies."""

from __future__ import annotations

import os

import pytest

from actorq import MapConflictError, MapTimeoutError, PoolError
from actorq.broker import keys, run_records
from actorq.broker.client import Client
from actorq.broker.scripts import running, submitting
from actorq.maps import remote
from actorq.runs import inputs, reader
from actorq.runs.inputs import StoredInputs
from actorq.wire.seal import MARK
from tests.support.code import tasks
from tests.support.run_steps import RUN, MakeSteps

# -- sizes -------------------------------------------------------------------------------------------------------------


def test_an_input_of_any_size_that_is_taken_is_read_again(steps: MakeSteps) -> None:
    run = steps()
    large = b"x" * (20 << 20)
    run.start([large, 1])
    stored = StoredInputs(run.link, "e", RUN)
    assert len(stored.at(0)) > len(large)
    assert stored.at(1) == b"\x01"


def test_a_chunk_has_a_size_whatever_its_inputs_have(steps: MakeSteps) -> None:
    run = steps()
    run.start([b"x"] * 111 + [os.urandom(20_000)] * 1000)
    found = run.link.command("XRANGE", keys.run_inputs(RUN), "-", "+", most=100 << 20)
    sizes = [len(fields[3]) for _, fields in found]
    assert max(sizes) < 3 * inputs._CHUNK_BYTES
    assert len(list(run_records.run_sums(run.link, RUN, 0))) == len(sizes)


def test_a_journal_of_any_length_is_folded(steps: MakeSteps) -> None:
    run = steps()
    run.start(range(3))
    for _ in range(700):
        run.link.command("XADD", keys.out(RUN), "*", "l", "", "n", b"x" * 32_000)
    run.drive(run.driver())
    assert list(run.reader().outputs()) == [0, 2, 4]


def test_checksums_are_compared_however_many_there_are(steps: MakeSteps, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_records, "_SUMS_AT_ONCE", 2)
    monkeypatch.setattr(inputs, "_CHUNK_INPUTS", 3)
    run = steps()
    run.start(range(50))
    run.start(range(50))  # finds them
    with pytest.raises(MapConflictError, match="at input 49 the run that is there has another input"):
        run.start([*range(49), 0])


# -- results -----------------------------------------------------------------------------------------------------------


def test_results_that_are_gone_are_told_of(steps: MakeSteps) -> None:
    run = steps()
    run.start([b"a", b"b" * 100_000, b"c"])
    run.drive(run.driver())
    run.server.delete(*run.server.keys("aq:blob:*"))
    with pytest.raises(PoolError, match=r"results? of run 'machine' cannot be read: large ones have expired"):
        list(run.reader(ordered=True).outputs())


def test_large_results_live_as_long_as_a_run_that_is_tried_again(steps: MakeSteps) -> None:
    run = steps(fails=lambda value: value == 1)
    run.start([b"b" * 100_000, 1])
    run.drive(run.driver())
    (blob,) = run.server.keys("aq:blob:*")
    run.server.expire(blob, 5)
    reader.retry(run.client, RUN)
    assert run.server.ttl(blob) > 1000


def test_a_reader_that_is_slow_goes_on_when_the_run_is_tried_again(steps: MakeSteps) -> None:
    broken = {1}
    run = steps(fails=broken.__contains__, return_exceptions=True)
    run.start(range(3))
    run.drive(run.driver())
    found = run.reader(ordered=True)
    found.catch_up()  # to its end
    broken.clear()
    reader.retry(run.client, RUN)
    seen = list(found.some() or ())
    assert seen[0] == 0
    assert not found.over
    run.drive(run.driver())
    while (some := found.some()) is not None:
        seen += some
    assert [each for each in seen if not isinstance(each, Exception)] == [0, 4]  # what it saw fail had failed
    assert list(run.reader(ordered=True).outputs()) == [0, 2, 4]


def test_a_reader_goes_on_where_it_was_when_the_server_returns_in_an_older_state(steps: MakeSteps) -> None:
    run = steps()
    run.start(range(8))
    old = run.driver()
    old.offer()
    run.work()
    saved = run.saved()
    run.work()
    run.work()
    found = run.reader(ordered=True)
    found.catch_up()
    seen = list(found.some(wait=False) or ())
    assert seen
    run.return_to(saved)
    run.holds = {"me": None, "you": None}
    old.close()
    run.drive(run.driver())
    while (some := found.some()) is not None:
        seen += some
    assert seen == [2 * index for index in range(8)]


def test_a_driver_that_has_read_what_the_server_has_forgotten_writes_nothing(steps: MakeSteps) -> None:
    run = steps()
    run.start(range(8))
    old = run.driver()
    old.offer()
    run.work()
    saved = run.saved()
    run.work()
    old.hear()
    run.return_to(saved)
    run.work("you")  # others go on: what they send hides the gap
    before = run.everything()
    for step in (old.offer, old.hear, old.beat, old.note, lambda: old.keep(run.link)):
        with pytest.raises(PoolError, match="or the server has returned in an older state"):
            step()
    assert old.say_end("done", run.link) == running.OTHERS
    assert run.everything() == before
    old.close()


# -- names -------------------------------------------------------------------------------------------------------------


def test_a_run_has_nothing_of_one_before_it_that_was_dropped(steps: MakeSteps) -> None:
    run = steps()
    run.start(range(5))
    old = run.driver()
    old.offer()
    run.work()
    run.work()
    run.server.delete(keys.run(RUN))  # as it expires
    run.start([10, 11, 12])
    run.holds = {"me": None, "you": None}
    run.drive(run.driver())
    assert list(run.reader(ordered=True).outputs()) == [20, 22, 24]
    old.close()


def test_all_keys_of_a_run_end_together(steps: MakeSteps) -> None:
    run = steps()
    run.start(range(5))
    driver = run.driver()
    driver.offer()
    run.server.expire(keys.run(RUN), 77)
    driver.beat()
    assert {run.server.ttl(key) for key in (keys.map_(RUN), keys.out(RUN))} <= {76, 77}
    run.server.delete(keys.run(RUN))
    with pytest.raises(PoolError, match="Another driver leads run"):
        driver.beat()
    driver.close()


def test_a_reader_does_not_mix_two_runs_of_one_name(steps: MakeSteps) -> None:
    run = steps()
    run.start(range(3))
    driver = run.driver()
    driver.offer()
    run.work()
    run.work()
    found = run.reader(ordered=True)
    found.catch_up()
    assert list(found.some(wait=False) or ()) == [0]
    driver.close()
    reader.delete(run.client, RUN)
    run.holds = {"me": None, "you": None}
    run.start([10, 11, 12])
    run.drive(run.driver())
    with pytest.raises(PoolError, match="was deleted, and another one of that name was started"):
        list(found.outputs())


def test_inputs_that_two_programs_store_at_once_are_a_conflict(steps: MakeSteps) -> None:
    run = steps()
    run.start([1])
    run.server.hdel(keys.run(RUN), "total")
    store = ("e", RUN, 1, 1, b"\x91\x02")
    assert running.append(run.link, *store, b"2222", 100) == 2
    assert running.append(run.link, *store, b"2222", 100) == 2  # sent twice
    assert running.append(run.link, *store, b"3333", 100) == running.CONFLICT


def test_nothing_brings_a_deleted_run_or_map_back(steps: MakeSteps) -> None:
    run = steps()
    assert not running.seal(run.link, "e", RUN, 5)
    assert not submitting.cancel_map(run.link, RUN)
    assert not run.server.keys("aq:*")


# -- waiting -----------------------------------------------------------------------------------------------------------


def test_who_waits_for_what_nobody_serves_is_told(on_server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote, "_LONELY_SECONDS", 1)
    run = tasks.double.spawn_map([1], map_id="lonely")
    job = tasks.double.spawn(1, job_id="alone")
    client = Client(on_server, 5.0)
    found = reader.Reader(client, "lonely")
    with pytest.warns(
        RuntimeWarning, match=r"No replica serves environment 'plain' .*: run 'lonely' waits\. Start one"
    ):
        assert [list(found.some() or ()) for _ in range(3)] == [[], [], []]
    found.close()
    client.close()
    with pytest.warns(RuntimeWarning, match="run 'lonely' waits"), pytest.raises(MapTimeoutError):
        run.wait(timeout=2.5)
    with pytest.warns(RuntimeWarning, match="job 'alone' waits"), pytest.raises(MapTimeoutError):
        job.result(timeout=2.5)
    run.delete()
    job.delete()


def test_a_run_that_was_cancelled_is_not_started_again(steps: MakeSteps) -> None:
    run = steps()
    run.start([1])
    reader.cancel(run.client, RUN)
    with pytest.raises(PoolError, match="was cancelled, and its inputs are gone: delete it, or choose another map_id"):
        run.start([1])


def test_a_run_whose_driver_has_gone_tells_all_that_is_done_when_it_is_cancelled(steps: MakeSteps) -> None:
    run = steps()
    run.start(range(8))
    driver = run.driver()
    driver.offer()
    run.work()
    run.work()
    driver.close()  # it has told nothing
    reader.cancel(run.client, RUN)
    assert run_records.run_progress(run.link, RUN).done == 1


def test_a_signed_run_is_not_tried_again_without_the_key(steps: MakeSteps) -> None:
    run = steps(fails=lambda _: True)
    run.start([1])
    run.drive(run.driver())
    run.server.hset(keys.run(RUN), "plan", MARK + b"\0" * 100)
    with pytest.raises(PoolError, match="is signed: set ACTORQ_SIGNING_KEY"):
        reader.retry(run.client, RUN)
