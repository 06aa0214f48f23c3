"""Whatever happens to drivers, replicas, readers and the server, a run has one right result for every input.

Drivers, replicas and readers are real, a step at a time; the server is a real one, which may return in an older state.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from typing import Any

import pytest
import redis
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule, run_state_machine_as_test

from actorq import PoolError
from actorq.broker import keys, records
from actorq.broker.client import Client
from actorq.broker.link import Link
from actorq.broker.scripts import running, serving
from actorq.broker.scripts.serving import LEASE, Step, Steps
from actorq.maps.pump import Pump
from actorq.runs import inputs, reader
from actorq.runs.driver import Lead, take_over
from actorq.runs.inputs import FencedError, StoredInputs
from actorq.runs.plan import Plan
from actorq.runs.reader import Reader
from actorq.runs.start import start
from actorq.runtime.embedded import EmbeddedServer
from actorq.wire import codec
from actorq.wire.messages import Frame
from actorq.wire.seal import seal_results, unseal
from tests.unit.test_ledger import ERROR, options

RUN = "machine"
INPUTS = 12
REPLICAS = st.sampled_from(["me", "you"])
#: inputs that fail until they are mended
FAILING = st.sets(st.integers(0, INPUTS - 1), max_size=3)


class Driver:
    """One that leads, or has led and does not know that it does not any more."""

    def __init__(self, url: str, record: records.RunRecord) -> None:
        self.links = [Link(url, patience=0.0) for _ in range(3)]
        lead = take_over(self.links, RUN, record)
        assert lead is not None
        self.lead: Lead = lead
        self.pump = Pump(lead.ledger, lead.transport, deliver=lambda _: None)
        self.beats = 0

    def offer(self) -> None:
        self.pump._offer(time.monotonic())

    def hear(self) -> None:
        self.pump._book(self.lead.transport._stream.read_past())

    def beat(self) -> None:
        ledger = self.lead.ledger
        self.pump._book(self.lead.transport.beat(list(ledger.outstanding.values()), ledger.counters, ledger.share))

    def close(self) -> None:
        self.lead.transport.finish([])
        for link in self.links:
            link.close()


class Machine(RuleBasedStateMachine):
    """A run that is driven, run, read, ended, tried again, and set back in time."""

    url: str

    @initialize(stored=st.integers(0, INPUTS), failing=FAILING, tolerant=st.booleans(), retries=st.integers(0, 1))
    def begin(self, stored: int, failing: set[int], tolerant: bool, retries: int) -> None:
        self.client = Client(self.url, 10.0)
        self.server = redis.Redis.from_url(self.url)
        self.link = Link(self.url, patience=0.0)
        for name in ("me", "you"):
            self.server.hset(keys.worker(name), "birth", "x")
            self.server.sadd(keys.workers("e"), keys.worker(name))
        asked = options(return_exceptions=tolerant, max_crashes=1000, retries=retries)
        self.tolerant, self.failing = tolerant, failing
        self.plan = Plan(options=asked, lease_seconds=10, expires=1000, result_ttl=1000)
        self.drivers: list[Driver] = []
        #: replica -> lease, attempt, positions and inputs of what it runs
        self.holds: dict[str, tuple[bytes, bytes, list[int]] | None] = {"me": None, "you": None}
        self.readers: list[tuple[Reader, list[Any]]] = []
        self.snapshot: dict[Any, tuple[bytes | None, int]] | None = None
        self.upload(stored)

    def upload(self, count: int) -> None:
        """By a script that is cut after so many inputs, or is not."""

        def some() -> Iterator[int]:
            yield from range(count)
            if count < INPUTS:
                raise OSError("cut")

        with contextlib.suppress(OSError):
            start(self.client, RUN, (some(),), self.plan, lambda _: None)

    @rule()
    def the_script_is_run_again(self) -> None:
        if self.state() == "running":
            self.upload(INPUTS)

    def state(self) -> str:
        record = records.run_record(self.link, RUN)
        return "gone" if record is None else record.state

    # -- drivers -------------------------------------------------------------------------------------------------------

    @rule()
    def a_driver_takes_over(self) -> None:
        """Whoever led is silent for the length of its lead, and does not know."""
        record = records.run_record(self.link, RUN)
        if record is not None and record.state == "running":
            records.leave_lead(self.link, RUN)
            self.drivers.append(Driver(self.url, record))

    @precondition(lambda self: self.drivers)
    @rule(data=st.data(), what=st.sampled_from(["offer", "hear", "beat", "beat"]))
    def a_driver_goes_on(self, data: st.DataObject, what: str) -> None:
        driver = data.draw(st.sampled_from(self.drivers))
        try:
            getattr(driver, what)()
        except FencedError:
            self.drivers.remove(driver)
            driver.close()
        self.check_leader()

    def check_leader(self) -> None:
        """Whatever another driver has tried, which leads no more."""
        owner = self.server.hget(keys.map_(RUN), "owner")
        for driver in [each for each in self.drivers if each.lead.transport.owner.encode() == owner]:
            try:
                self.check_books(driver)
                if driver.lead.ledger.finished:
                    self.end(driver)
            except FencedError:
                self.drivers.remove(driver)
                driver.close()

    def check_books(self, driver: Driver) -> None:
        """Whoever leads, and has read all, has the same books as who folds the journal anew."""
        driver.hear()
        driver.beat()  # raises where it leads no more
        driver.hear()
        anew = Reader(self.client, RUN)
        anew.catch_up()
        mine, its = driver.lead.ledger, anew._journal.ledger
        anew.close()
        told = [
            (ledger.counters.succeeded, sorted(ledger.failed), sorted(ledger.outstanding)) for ledger in (mine, its)
        ]
        assert told[0] == told[1]

    def end(self, driver: Driver) -> None:
        ledger = driver.lead.ledger
        StoredInputs(self.link, "e", RUN).put(ledger.kept or [], 1000)
        failed = bool(ledger.failed) and not self.tolerant
        running.end(self.link, "e", RUN, ledger.owner, "failed" if failed else "done", b"", 1000, ledger.counters)
        self.drivers.remove(driver)
        driver.close()

    # -- replicas ------------------------------------------------------------------------------------------------------

    @rule(who=REPLICAS)
    def a_replica_works(self, who: str) -> None:
        """Commits what it holds, and takes the next lease."""
        step = Step(want=LEASE, holds=b"" if self.holds[who] else b"1")
        if held := self.holds[who]:
            lease, attempt, values = held
            errors = {at: dict(ERROR) for at, value in enumerate(values) if value in self.failing}
            outputs = codec.pack([None if at in errors else 2 * value for at, value in enumerate(values)])
            frame = Frame(start=0, count=len(values), busy=0.001, replica=who, errors=dict(errors), outputs=outputs)
            step.lease, step.attempt, step.errors = lease, attempt, bool(errors)
            step.frame = b"".join(map(bytes, seal_results("e", lease.decode(), frame.parts())))
        answer = Steps("e", who, 10).patiently(self.link, step, [])
        self.holds[who] = None
        if answer.lease:
            _, items = unseal("e", answer.lease.decode(), answer.payload)
            self.holds[who] = (answer.lease, answer.attempt, codec.unpack_list(items))

    @rule(who=REPLICAS)
    def a_replica_dies(self, who: str) -> None:
        held, self.holds[who] = self.holds[who], None
        member = b"%b:%b" % held[:2] if held else b""
        serving.lost(self.link, "e", who, "killed", member=member.decode(), position=0 if held else None)

    @rule(who=REPLICAS)
    def a_lease_lapses(self, who: str) -> None:
        """Its replica goes on with it, and does not know."""
        if held := self.holds[who]:
            self.server.zadd(keys.wip("e"), {b"%b:%b" % held[:2]: 1}, xx=True)
            serving.renew(self.link, "e", 10, held=[], idle=[])

    # -- people --------------------------------------------------------------------------------------------------------

    @rule()
    def what_fails_is_mended(self) -> None:
        self.failing = set()

    @rule()
    def what_failed_is_tried_again(self) -> None:
        try:
            reader.retry(self.client, RUN)
        except PoolError:
            assert self.state() == "running"

    @precondition(lambda self: len(self.readers) < 3)
    @rule(start=st.integers(0, INPUTS))
    def a_reader_comes(self, start: int) -> None:
        self.readers.append((Reader(self.client, RUN, ordered=True, start=start), [start]))

    @precondition(lambda self: self.readers)
    @rule(data=st.data())
    def a_reader_goes_on(self, data: st.DataObject) -> None:
        """What it gets is in order, and right."""
        found, seen = data.draw(st.sampled_from(self.readers))
        found.catch_up()
        try:
            some = list(found.some(wait=False) or ())
        except ValueError:
            assert not self.tolerant
            return
        for value in some:
            index = seen[0]
            seen[0] += 1
            assert value == 2 * index or (isinstance(value, ValueError) and self.tolerant)

    @rule()
    def the_server_is_saved(self) -> None:
        names = self.server.keys("*")
        self.snapshot = {name: (self.server.dump(name), max(0, self.server.pttl(name))) for name in names}

    @precondition(lambda self: self.snapshot is not None)
    @rule()
    def the_server_returns_in_an_older_state(self) -> None:
        assert self.snapshot is not None
        self.server.flushall()
        for name, (data, ttl) in self.snapshot.items():
            if data is not None:
                self.server.restore(name, ttl, data)
        for found, _ in self.readers:
            found.close()
        self.readers.clear()  # who reads finds what there is now

    # -- the end -------------------------------------------------------------------------------------------------------

    def teardown(self) -> None:
        if not hasattr(self, "client"):
            return
        try:
            for driver in list(self.drivers):
                self.drivers.remove(driver)
                driver.close()
            self.finish()
            self.failing = set()
            reader.retry(self.client, RUN)
            self.finish()
            assert self.state() == "done"
            outputs = list(Reader(self.client, RUN, ordered=True).outputs())
            assert outputs == [2 * index for index in range(INPUTS)]
            assert not self.server.exists(keys.wip("e"), keys.queue("e"), keys.turns("e"))
        finally:
            self.link.close()
            self.client.close()
            self.server.flushall()
            self.server.close()

    def finish(self) -> None:
        """The script is run again, and a driver is left alone until the end."""
        if self.state() != "running":
            return
        self.upload(INPUTS)
        self.a_driver_takes_over()
        for _ in range(30 * INPUTS):
            for driver in list(self.drivers):
                try:
                    driver.offer()
                    for who in ("me", "you"):
                        self.a_replica_works(who)
                    driver.hear()
                    driver.beat()
                    if driver.lead.ledger.finished:
                        self.end(driver)
                except FencedError:
                    self.drivers.remove(driver)
                    driver.close()
                    self.a_driver_takes_over()
            if not self.drivers:
                break
        for who in ("me", "you"):
            self.a_replica_works(who)
        assert self.state() in ("done", "failed")


@pytest.fixture
def shared(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setattr(inputs, "_CHUNK_INPUTS", 3)  # so that some go while others stay
    embedded = EmbeddedServer()
    embedded.wait_ready()
    yield embedded.url
    embedded.stop()


@pytest.mark.timeout(240)  # thousands of steps, which a busy machine takes longer for
def test_whatever_happens_a_run_has_one_right_result_for_every_input(shared: str) -> None:
    Machine.url = shared
    run_state_machine_as_test(Machine, settings=settings(max_examples=80, stateful_step_count=60, deadline=None))
