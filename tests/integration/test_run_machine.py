"""Whatever happens to drivers, replicas, readers and the server, a run has one right result for every input.

Drivers, replicas and readers are real, a step at a time; the server is a real one, which may return in an older state.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule, run_state_machine_as_test

from actorq import PoolError
from actorq.broker import keys
from actorq.broker.scripts import running, serving
from actorq.runs import inputs, reader
from actorq.runs.inputs import FencedError
from actorq.runs.reader import Reader
from actorq.runtime.embedded import EmbeddedServer
from tests.support.run_steps import RUN, Driver, RunSteps, Saved

INPUTS = 12
REPLICAS = st.sampled_from(["me", "you"])
#: inputs that fail until they are mended
FAILING = st.sets(st.integers(0, INPUTS - 1), max_size=3)


class Machine(RuleBasedStateMachine):
    """A run that is driven, run, read, ended, tried again, and set back in time."""

    url: str

    @initialize(stored=st.integers(0, INPUTS), failing=FAILING, tolerant=st.booleans(), retries=st.integers(0, 1))
    def begin(self, stored: int, failing: set[int], tolerant: bool, retries: int) -> None:
        self.failing = failing
        asked = {"return_exceptions": tolerant, "max_crashes": 1000, "retries": retries}
        self.steps = RunSteps(self.url, lambda value: value in self.failing, **asked)
        self.server, self.link, self.tolerant = self.steps.server, self.steps.link, tolerant
        self.drivers: list[Driver] = []
        self.readers: list[tuple[Reader, list[Any]]] = []
        self.snapshot: Saved | None = None
        self.upload(stored)
        self.the_server_is_saved()

    def upload(self, count: int) -> None:
        """By a script that is cut after so many inputs, or is not."""

        def some() -> Iterator[int]:
            yield from range(count)
            if count < INPUTS:
                raise OSError("cut")

        with contextlib.suppress(OSError):
            self.steps.start(some())

    @rule()
    def the_script_is_run_again(self) -> None:
        if self.steps.state() == "running":
            self.upload(INPUTS)

    # -- drivers -------------------------------------------------------------------------------------------------------

    @rule()
    def a_driver_takes_over(self) -> None:
        if self.steps.state() == "running":
            self.drivers.append(self.steps.driver())

    @precondition(lambda self: self.drivers)
    @rule(data=st.data(), what=st.sampled_from(["offer", "hear", "beat", "beat", "note", "end"]))
    def a_driver_goes_on(self, data: st.DataObject, what: str) -> None:
        """Who leads no more changes nothing, and who does not know what the server knows finds out at its next beat."""
        driver = data.draw(st.sampled_from(self.drivers))
        leads = self.leads(driver)
        before = None if leads else self.steps.everything()
        try:
            if what != "end":
                getattr(driver, what)()
            elif not leads:
                assert driver.say_end("done", self.link) != running.DONE
        except PoolError as error:  # who leads no more may miss an input, too, that nobody needs any more
            if leads and not isinstance(error, FencedError):
                raise
            self.drivers.remove(driver)
            driver.close()
        else:
            assert what != "beat" or self.leads(driver)
        assert leads or self.steps.everything() == before
        self.check_leader()

    @rule()
    def a_while_passes(self) -> None:
        """In which all do what they do."""
        for driver in [each for each in self.drivers if self.leads(each)]:
            with contextlib.suppress(FencedError):
                driver.offer()
                for who in ("me", "you", "me"):
                    self.steps.work(who)
                driver.hear()
        self.check_leader()

    def leads(self, driver: Driver) -> bool:
        """Whether the server has it for the leader, and has all that it has read."""
        last = driver.lead.transport._stream.position.last
        known = last == b"0-0" or self.server.xrange(keys.out(RUN), last, last)
        lead = self.server.get(keys.lead(RUN))
        owner = driver.lead.transport.owner.encode()
        return bool(known) and self.server.hget(keys.map_(RUN), "owner") == owner and lead in (owner, None)

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
        anew = self.steps.reader()
        anew.catch_up()
        mine, its = driver.lead.ledger, anew._journal.ledger
        anew.close()
        told = [
            (ledger.counters.succeeded, sorted(ledger.failed), sorted(ledger.outstanding)) for ledger in (mine, its)
        ]
        assert told[0] == told[1]

    def end(self, driver: Driver) -> None:
        driver.end(self.link, tolerant=self.tolerant)
        self.drivers.remove(driver)

    # -- replicas ------------------------------------------------------------------------------------------------------

    @rule(who=REPLICAS)
    def a_replica_works(self, who: str) -> None:
        """Commits what it holds, and takes the next lease."""
        self.steps.work(who)

    @rule(who=REPLICAS)
    def a_replica_dies(self, who: str) -> None:
        held, self.steps.holds[who] = self.steps.holds[who], None
        member = b"%b:%b" % held[:2] if held else b""
        serving.lost(self.link, "e", who, "killed", member=member.decode(), position=0 if held else None)

    @rule(who=REPLICAS)
    def a_lease_lapses(self, who: str) -> None:
        """Its replica goes on with it, and does not know."""
        if held := self.steps.holds[who]:
            self.server.zadd(keys.wip("e"), {b"%b:%b" % held[:2]: 1}, xx=True)
            serving.renew(self.link, "e", 10, held=[], idle=[])

    # -- people --------------------------------------------------------------------------------------------------------

    @rule()
    def what_fails_is_mended(self) -> None:
        self.failing = set()

    @rule()
    def what_failed_is_tried_again(self) -> None:
        try:
            reader.retry(self.steps.client, RUN)
        except PoolError:
            assert self.steps.state() == "running"

    @precondition(lambda self: len(self.readers) < 3)
    @rule(start=st.integers(0, INPUTS))
    def a_reader_comes(self, start: int) -> None:
        self.readers.append((self.steps.reader(ordered=True, start=start), [start]))

    @precondition(lambda self: self.readers)
    @rule(data=st.data())
    def a_reader_goes_on(self, data: st.DataObject) -> None:
        """What it gets is in order, and right."""
        self.read(*data.draw(st.sampled_from(self.readers)))

    def read(self, found: Reader, seen: list[Any]) -> None:
        try:
            found.catch_up()
            some = list(found.some(wait=False) or ())
        except ValueError:
            assert not self.tolerant
            self.readers = [each for each in self.readers if each[0] is not found]
            found.close()
            return
        for value in some:
            index = seen[0]
            seen[0] += 1
            assert value == 2 * index or (isinstance(value, ValueError) and self.tolerant)

    @rule()
    def the_server_is_saved(self) -> None:
        self.snapshot = self.steps.saved()

    @precondition(lambda self: self.snapshot is not None)
    @rule()
    def the_server_returns_in_an_older_state(self) -> None:
        assert self.snapshot is not None
        self.steps.return_to(self.snapshot)

    # -- the end -------------------------------------------------------------------------------------------------------

    def teardown(self) -> None:
        if not hasattr(self, "steps"):
            return
        try:
            for driver in list(self.drivers):
                self.drivers.remove(driver)
                driver.close()
            self.finish()
            self.failing = set()
            reader.retry(self.steps.client, RUN)
            self.finish()
            assert self.steps.state() == "done"
            outputs = list(self.steps.reader(ordered=True).outputs())
            assert outputs == [2 * index for index in range(INPUTS)]
            for found, seen in self.readers:
                while not found.over:
                    self.read(found, seen)
                assert seen == [INPUTS]
                found.close()
            assert not self.server.exists(keys.wip("e"), keys.queue("e"), keys.turns("e"))
        finally:
            self.steps.close()

    def finish(self) -> None:
        """The script is run again, and a driver is left alone until the end."""
        if self.steps.state() != "running":
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
        assert self.steps.state() in ("done", "failed")


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
    run_state_machine_as_test(Machine, settings=settings(max_examples=60, stateful_step_count=50, deadline=None))
