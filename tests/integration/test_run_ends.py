"""What once went wrong when runs and jobs were tried again, driven, or written to a file, without a word."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from actorq import CodecError, MapConflictError
from actorq.broker import keys, run_records
from actorq.broker.scripts import jobs, running
from actorq.broker.scripts.jobs import JobOffers, JobRules
from actorq.broker.scripts.serving import LEASE, Step, Steps
from actorq.cli.checkpoint import Checkpoint, CheckpointError
from actorq.runs import driver as driver_module
from actorq.runs import reader
from actorq.runs.driver import Driver as DriverThread
from actorq.runs.driver import take_over
from actorq.runs.journal import Journal
from actorq.runs.process import DriverProcess
from tests.conftest import Worker, eventually
from tests.support.code import tasks
from tests.support.run_steps import RUN, MakeSteps, RunSteps

# -- trying again ------------------------------------------------------------------------------------------------------


def test_an_input_that_waits_to_be_tried_again_is_kept_when_the_run_ends_early(steps: MakeSteps) -> None:
    run = steps(fails=lambda value: value == 1, return_exceptions=True)
    run.start(range(3))
    run.drive(run.driver())
    reader.retry(run.client, RUN)
    record = run.record()
    assert record is not None
    driving = driver_module.DrivenRun.__new__(driver_module.DrivenRun)
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


def test_to_try_a_run_again_may_be_sent_twice(steps: MakeSteps, one_word: None) -> None:
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


def test_to_end_a_job_or_to_try_it_again_may_be_sent_twice(steps: MakeSteps, one_word: None) -> None:
    run = steps()
    spawned(run)
    assert [jobs.cancel(run.link, "e", "j") for _ in range(2)] == [True] * 2
    spawned(run, "k")
    run.server.hset(keys.job("k"), "status", "failed")
    assert [jobs.retry(run.link, "e", "k") for _ in range(2)] == [True] * 2


def test_a_job_that_another_has_disturbed_runs_again_by_itself(steps: MakeSteps) -> None:
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


def test_a_run_that_somebody_leads_is_not_taken_over(steps: MakeSteps) -> None:
    run = steps()
    run.start(range(3))
    driver = run.driver()
    record = run.record()
    assert record is not None
    assert take_over([run.link] * 3, RUN, record) is None
    driver.beat()
    run.drive(driver)


def test_a_driver_keeps_its_lead_while_it_reads_much(steps: MakeSteps, monkeypatch: pytest.MonkeyPatch) -> None:
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
    steps: MakeSteps, monkeypatch: pytest.MonkeyPatch
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
