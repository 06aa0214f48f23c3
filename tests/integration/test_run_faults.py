"""What once went wrong with runs and jobs, without a word: large inputs, long journals, old names, lost replies."""

from __future__ import annotations

import asyncio
import os
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from actorq import CodecError, MapConflictError, MapTimeoutError, PoolError
from actorq.broker import keys, run_records
from actorq.broker.client import Client
from actorq.broker.scripts import jobs, running, submitting
from actorq.broker.scripts.jobs import JobOffers, JobRules
from actorq.broker.scripts.serving import LEASE, Step, Steps
from actorq.cli.checkpoint import Checkpoint, CheckpointError
from actorq.maps import remote
from actorq.runs import driver as driver_module
from actorq.runs import inputs, reader
from actorq.runs.driver import Driver as DriverThread
from actorq.runs.driver import take_over
from actorq.runs.inputs import StoredInputs
from actorq.runs.journal import Journal
from actorq.runs.process import DriverProcess
from actorq.wire.seal import MARK
from tests import tasks
from tests.conftest import Worker, eventually
from tests.support.run_steps import RUN, RunSteps

Steps_ = Callable[..., RunSteps]


@pytest.fixture
def steps(server: str) -> Iterator[Steps_]:
    made: list[RunSteps] = []

    def make(fails: Callable[[Any], bool] = lambda _: False, **asked: Any) -> RunSteps:
        made.append(RunSteps(server, fails, **asked))
        return made[-1]

    yield make
    for each in made:
        each.close()


# -- sizes -------------------------------------------------------------------------------------------------------------


def test_an_input_of_any_size_that_is_taken_is_read_again(steps: Steps_) -> None:
    run = steps()
    large = b"x" * (20 << 20)
    run.start([large, 1])
    stored = StoredInputs(run.link, "e", RUN)
    assert len(stored.at(0)) > len(large)
    assert stored.at(1) == b"\x01"


def test_a_chunk_has_a_size_whatever_its_inputs_have(steps: Steps_) -> None:
    run = steps()
    run.start([b"x"] * 111 + [os.urandom(20_000)] * 1000)
    found = run.link.command("XRANGE", keys.run_inputs(RUN), "-", "+", most=100 << 20)
    sizes = [len(fields[3]) for _, fields in found]
    assert max(sizes) < 3 * inputs._CHUNK_BYTES
    assert len(list(run_records.run_sums(run.link, RUN))) == len(sizes)


def test_a_journal_of_any_length_is_folded(steps: Steps_) -> None:
    run = steps()
    run.start(range(3))
    for _ in range(700):
        run.link.command("XADD", keys.out(RUN), "*", "l", "", "n", b"x" * 32_000)
    run.drive(run.driver())
    assert list(run.reader().outputs()) == [0, 2, 4]


def test_checksums_are_compared_however_many_there_are(steps: Steps_, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_records, "_SUMS_AT_ONCE", 2)
    monkeypatch.setattr(inputs, "_CHUNK_INPUTS", 3)
    run = steps()
    run.start(range(50))
    run.start(range(50))  # finds them
    with pytest.raises(MapConflictError, match="at input 49 the run that is there has another input"):
        run.start([*range(49), 0])


def everything(run: RunSteps) -> dict[Any, Any]:
    """What lies on the server."""
    return {name: run.server.dump(name) for name in run.server.keys("*")}


# -- results -----------------------------------------------------------------------------------------------------------


def test_results_that_are_gone_are_told_of(steps: Steps_) -> None:
    run = steps()
    run.start([b"a", b"b" * 100_000, b"c"])
    run.drive(run.driver())
    run.server.delete(*run.server.keys("aq:blob:*"))
    with pytest.raises(PoolError, match=r"results? of run 'machine' cannot be read: large ones have expired"):
        list(run.reader(ordered=True).outputs())


def test_large_results_live_as_long_as_a_run_that_is_tried_again(steps: Steps_) -> None:
    run = steps(fails=lambda value: value == 1)
    run.start([b"b" * 100_000, 1])
    run.drive(run.driver())
    (blob,) = run.server.keys("aq:blob:*")
    run.server.expire(blob, 5)
    reader.retry(run.client, RUN)
    assert run.server.ttl(blob) > 1000


def test_a_reader_that_is_slow_goes_on_when_the_run_is_tried_again(steps: Steps_) -> None:
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


def test_a_reader_goes_on_where_it_was_when_the_server_returns_in_an_older_state(steps: Steps_) -> None:
    run = steps()
    run.start(range(8))
    old = run.driver()
    old.offer()
    run.work()
    saved = everything(run)
    run.work()
    run.work()
    found = run.reader(ordered=True)
    found.catch_up()
    seen = list(found.some(wait=False) or ())
    assert seen
    run.server.flushall()
    for name, data in saved.items():
        run.server.restore(name, 100_000, data)
    run.holds = {"me": None, "you": None}
    old.close()
    run.drive(run.driver())
    while (some := found.some()) is not None:
        seen += some
    assert seen == [2 * index for index in range(8)]


def test_a_driver_that_has_read_what_the_server_has_forgotten_writes_nothing(steps: Steps_) -> None:
    run = steps()
    run.start(range(8))
    old = run.driver()
    old.offer()
    run.work()
    saved = everything(run)
    run.work()
    old.hear()
    run.server.flushall()
    for name, data in saved.items():
        run.server.restore(name, 100_000, data)
    run.work("you")  # others go on: what they send hides the gap
    before = everything(run)
    for step in (old.offer, old.hear, old.beat, old.note, lambda: old.keep(run.link)):
        with pytest.raises(PoolError, match="or the server has returned in an older state"):
            step()
    assert old.say_end("done", run.link) == running.OTHERS
    assert everything(run) == before
    old.close()


# -- names -------------------------------------------------------------------------------------------------------------


def test_a_run_has_nothing_of_one_before_it_that_was_dropped(steps: Steps_) -> None:
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


def test_all_keys_of_a_run_end_together(steps: Steps_) -> None:
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


def test_a_reader_does_not_mix_two_runs_of_one_name(steps: Steps_) -> None:
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


def test_inputs_that_two_programs_store_at_once_are_a_conflict(steps: Steps_) -> None:
    run = steps()
    run.start([1])
    run.server.hdel(keys.run(RUN), "total")
    store = ("e", RUN, 1, 1, b"\x91\x02")
    assert running.append(run.link, *store, b"2222", 100) == 2
    assert running.append(run.link, *store, b"2222", 100) == 2  # sent twice
    assert running.append(run.link, *store, b"3333", 100) == running.CONFLICT


def test_nothing_brings_a_deleted_run_or_map_back(steps: Steps_) -> None:
    run = steps()
    assert not running.seal(run.link, "e", RUN, 5)
    assert not submitting.cancel_map(run.link, RUN)
    assert not run.server.keys("aq:*")


# -- trying again ------------------------------------------------------------------------------------------------------


def test_an_input_that_waits_to_be_tried_again_is_kept_when_the_run_ends_early(steps: Steps_) -> None:
    run = steps(fails=lambda value: value == 1, return_exceptions=True)
    run.start(range(3))
    run.drive(run.driver())
    reader.retry(run.client, RUN)
    record = run.record()
    assert record is not None
    driving = driver_module.Driving.__new__(driver_module.Driving)
    lead = run.driver().lead
    for name, value in {
        "_url": run.url, "_run_id": RUN, "_environment": "e", "_plan": run.plan, "_ledger": lead.ledger,
        "_transport": lead.transport,
    }.items():  # fmt: skip
        setattr(driving, name, value)
    driving._end(TimeoutError("too long"))  # before it has run again
    assert run.state() == "failed"
    reader.retry(run.client, RUN)
    run.fails = lambda _: False
    run.drive(run.driver())
    assert list(run.reader(ordered=True).outputs()) == [0, 2, 4]


@pytest.fixture
def one_word(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each call is the first one once more, as a connection sends it that has lost the reply."""
    for module in (running, jobs):
        monkeypatch.setattr(module, "new_id", lambda: "word")


def test_to_try_a_run_again_may_be_sent_twice(steps: Steps_, one_word: None) -> None:
    run = steps(fails=lambda _: True)
    run.start([1])
    run.drive(run.driver())
    args = ("e", RUN, run.plan.packed(RUN), 100)
    assert [running.retry(run.link, *args) for _ in range(2)] == [running.DONE] * 2


def spawned(run: RunSteps, job_id: str = "j", alone: bytes = b"", retries: int = 0) -> None:
    offers = JobOffers("e", 10, JobRules(retries, 1, "", ""))
    offers.send(
        run.link, job_id, b"payload", alone=alone, checksum=b"sum", description="d", due=None, expires=100,
        result_ttl=100, stores=(),
    )  # fmt: skip


def test_to_end_a_job_or_to_try_it_again_may_be_sent_twice(steps: Steps_, one_word: None) -> None:
    run = steps()
    spawned(run)
    assert [jobs.cancel(run.link, "e", "j") for _ in range(2)] == [True] * 2
    spawned(run, "k")
    run.server.hset(keys.job("k"), "status", "failed")
    assert [jobs.retry(run.link, "e", "k") for _ in range(2)] == [True] * 2


def test_a_job_that_another_has_disturbed_runs_again_by_itself(steps: Steps_) -> None:
    run = steps()
    spawned(run, alone=b"by itself", retries=3)
    replica = Steps("e", "me", 10)
    taken = replica.patiently(run.link, Step(want=LEASE, holds=b"1"), [])
    assert taken.payload == b"payload"
    step = Step(want=LEASE, lease=taken.lease, attempt=taken.attempt, frame=b"f", errors=True, disturbed=True)
    again = replica.patiently(run.link, step, [])
    assert (again.lease, again.payload) == (b"j", b"by itself")
    assert run.server.hget(keys.job("j"), "aq_retries") == b"3"


# -- drivers -----------------------------------------------------------------------------------------------------------


def test_a_run_that_somebody_leads_is_not_taken_over(steps: Steps_) -> None:
    run = steps()
    run.start(range(3))
    driver = run.driver()
    record = run.record()
    assert record is not None
    assert take_over([run.link] * 3, RUN, record) is None
    driver.beat()
    run.drive(driver)


def test_a_driver_keeps_its_lead_while_it_reads_a_long_journal(steps: Steps_, monkeypatch: pytest.MonkeyPatch) -> None:
    run = steps()
    run.start(range(3))
    monkeypatch.setattr(driver_module, "_KEEP_SECONDS", 0.0)
    read = Journal.read

    def slow(journal: Journal) -> bool:
        run.server.expire(keys.lead(RUN), 1)
        return read(journal)

    monkeypatch.setattr(Journal, "read", slow)
    driver = run.driver()
    assert run.server.ttl(keys.lead(RUN)) > 1
    driver.close()


def test_a_driver_that_loses_its_lead_while_it_reads_takes_nothing(
    steps: Steps_, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = steps()
    run.start(range(3))
    monkeypatch.setattr(driver_module, "_KEEP_SECONDS", 0.0)
    read = Journal.read

    def slow(journal: Journal) -> bool:
        run.server.set(keys.lead(RUN), "another")
        return read(journal)

    monkeypatch.setattr(Journal, "read", slow)
    with pytest.raises(AssertionError):  # there is no lead
        run.driver()


def test_a_driver_goes_on_after_an_error_of_its_own(on_server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(driver_module, "_LOOK_SECONDS", 0.01)
    looks: list[int] = []

    def look(_: DriverThread) -> None:
        looks.append(1)
        if len(looks) == 1:
            raise MemoryError

    monkeypatch.setattr(DriverThread, "look", look)
    driver = DriverThread(on_server, "plain")
    driver.start()
    assert eventually(lambda: len(looks) > 2)
    driver.stop()


def test_the_password_of_the_server_is_on_no_command_line(server: str) -> None:
    process = DriverProcess(server.replace("redis://", "redis://:secret@"), "plain", ("json", "info"))
    process.ensure()
    assert process._process is not None
    assert "secret" not in " ".join(psutil.Process(process._process.pid).cmdline())
    process.stop(10)


def test_outputs_that_nobody_awaits_any_more_leave_the_connection_alone(on_server: str) -> None:
    run = tasks.wait.spawn_map([0.01], map_id="awaited")  # nobody serves it

    async def impatient() -> None:
        outputs = run.aio()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.3):
                await anext(outputs)
        states = await asyncio.gather(*(asyncio.to_thread(lambda: run.state) for _ in range(4)))
        assert states == ["running"] * 4

    for _ in range(3):
        asyncio.run(impatient())
    run.delete()


def test_a_bound_on_failures_holds_when_the_number_of_inputs_comes_last(on_server: str) -> None:
    worker = Worker(on_server)
    worker.wait_ready()

    def slow() -> Iterator[int]:
        yield 3
        assert eventually(lambda: run_records.run_progress(link, "bounded").failed == 1)

    from actorq.broker.link import Link

    link = Link(on_server, patience=0.0)
    run = tasks.fails_at.spawn_map(slow(), map_id="bounded", min_success_ratio=0.9)
    assert run.wait(timeout=30) == "failed"
    link.close()
    run.delete()
    worker.stop()


def test_a_large_job_that_is_made_again_leaves_no_payload(on_server: str) -> None:
    worker = Worker(on_server)
    worker.wait_ready()
    job = tasks.echo.spawn("x" * 100_000, job_id="once")
    assert job.result(timeout=30) == "x" * 100_000
    tasks.echo.spawn("x" * 100_000, job_id="once")
    with pytest.raises(MapConflictError):
        tasks.echo.spawn("y" * 100_000, job_id="once")
    from actorq.broker.link import Link

    link = Link(on_server, patience=0.0)
    assert len(link.command("KEYS", "aq:blob:once*")) == 1  # its result
    job.delete()
    assert link.command("KEYS", "*once*") == []
    link.close()
    worker.stop()


# -- actorq map --------------------------------------------------------------------------------------------------------


class Full:
    """A file on a disk that takes ten bytes more."""

    def __init__(self, file: Any) -> None:
        self.file, self.room = file, 10

    def write(self, data: Any) -> int:
        if not self.room:
            raise OSError(28, "No space left on device")
        taken = self.file.write(bytes(data[: self.room]))
        self.room -= taken
        return int(taken)

    def close(self) -> None:
        self.file.close()


def test_an_output_that_met_a_full_disk_is_gone_on_with(tmp_path: Path) -> None:
    path = tmp_path / "out"
    rows = [struct.pack(">I", number) for number in range(5)]

    def checkpoint() -> Checkpoint:
        made = Checkpoint(path, {"task": "t"}, 1)
        made._rows.extend(range(len(rows)))
        return made

    first = checkpoint()
    first._file = Full(first._file)  # type: ignore[assignment]
    for number in range(5):
        first.write(b"line %d\n" % number)
    with pytest.raises(CheckpointError, match=r"cannot be written: .*No space left on device\. Make room, and run"):
        first.close()
    second = checkpoint()
    assert second.done == 1
    second.close()
    assert path.read_bytes() == b"line 0\n"


def test_a_number_that_is_no_json_is_named() -> None:
    from actorq.cli.runs import line_of

    with pytest.raises(CodecError, match="Output 3 has what JSON cannot hold"):
        line_of(3, float("nan"))


def test_an_output_in_a_folder_that_is_not_there_is_told_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"nowhere/out cannot be written: No such file or directory\.$"):
        Checkpoint(tmp_path / "nowhere" / "out", {"task": "t"}, 1)


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


def test_a_run_that_was_cancelled_is_not_started_again(steps: Steps_) -> None:
    run = steps()
    run.start([1])
    reader.cancel(run.client, RUN)
    with pytest.raises(PoolError, match="was cancelled, and its inputs are gone: delete it, or choose another map_id"):
        run.start([1])


def test_a_run_whose_driver_has_gone_tells_all_that_is_done_when_it_is_cancelled(steps: Steps_) -> None:
    run = steps()
    run.start(range(8))
    driver = run.driver()
    driver.offer()
    run.work()
    run.work()
    driver.close()  # it has told nothing
    reader.cancel(run.client, RUN)
    assert run_records.run_progress(run.link, RUN).done == 1


def test_a_signed_run_is_not_tried_again_without_the_key(steps: Steps_) -> None:
    run = steps(fails=lambda _: True)
    run.start([1])
    run.drive(run.driver())
    run.server.hset(keys.run(RUN), "plan", MARK + b"\0" * 100)
    with pytest.raises(PoolError, match="is signed: set ACTORQ_SIGNING_KEY"):
        reader.retry(run.client, RUN)
