"""A run on a real server whose driver and replicas go a step at a time."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import Any

import redis

from actorq.broker import blobs, keys, run_records
from actorq.broker.client import Client
from actorq.broker.link import Link, Store
from actorq.broker.scripts import running
from actorq.broker.scripts.serving import LEASE, Step, Steps
from actorq.maps.pump import Pump
from actorq.runs.driver import Lead, take_over
from actorq.runs.inputs import StoredInputs
from actorq.runs.plan import Plan
from actorq.runs.reader import Reader
from actorq.runs.start import start
from actorq.wire import codec
from actorq.wire.messages import Frame
from actorq.wire.seal import seal_results, unseal
from tests.unit.test_ledger import ERROR, options

#: what lies on a server, and for how many milliseconds yet
Saved = dict[Any, tuple[bytes | None, int]]
#: the name of the run
RUN = "machine"


class Driver:
    """One that leads, or has led and does not know that it does not any more."""

    def __init__(self, url: str, record: run_records.RunRecord) -> None:
        self.links = [Link(url, patience=0.0) for _ in range(3)]
        lead = take_over(self.links, RUN, record)
        assert lead is not None
        self.lead: Lead = lead
        self.pump = Pump(lead.ledger, lead.transport, deliver=lambda _: None)

    def offer(self) -> None:
        self.pump._offer(time.monotonic())

    def hear(self) -> None:
        self.pump._book(self.lead.transport.read_past())

    def beat(self) -> None:
        ledger = self.lead.ledger
        self.pump._book(self.lead.transport.beat(list(ledger.outstanding.values()), ledger.counters, ledger.share))

    def note(self) -> None:
        self.lead.transport._note(())

    def keep(self, link: Link) -> None:
        StoredInputs(link, "e", RUN).put(self.lead.transport.leader, [(0, b"\x01")])

    def say_end(self, state: str, link: Link) -> int:
        return running.end(link, self.lead.transport.leader, state, b"", 1000, self.lead.ledger.counters)

    def end(self, link: Link, *, tolerant: bool) -> None:
        """As a driver ends a run that is finished."""
        ledger = self.lead.ledger
        StoredInputs(link, "e", RUN).put(self.lead.transport.leader, ledger.failed_inputs or [])
        self.say_end("failed" if ledger.failed and not tolerant else "done", link)
        self.close()

    def close(self) -> None:
        self.lead.transport.finish([])
        for link in self.links:
            link.close()


class RunSteps:
    """The run "machine" of environment "e", and two replicas, "me" and "you", which double their inputs.

    Args:
        url: a server.
        fails: whether a replica fails an input.
        **asked: options of the run.
    """

    def __init__(self, url: str, fails: Callable[[Any], bool] = lambda _: False, **asked: Any) -> None:
        self.url = url
        self.fails = fails
        self.client = Client(url, 10.0)
        self.server = redis.Redis.from_url(url)
        self.link = Link(url, patience=0.0)
        for name in ("me", "you"):
            self.server.hset(keys.worker(name), "birth", "x")
            self.server.sadd(keys.workers("e"), keys.worker(name))
        self.tolerant = bool(asked.get("return_exceptions"))
        self.plan = Plan(options=options(**asked), lease_seconds=10, expires=1000, result_ttl=1000)
        #: replica -> lease, attempt and inputs of what it runs
        self.holds: dict[str, tuple[bytes, bytes, list[Any]] | None] = {"me": None, "you": None}

    def start(self, inputs: Iterable[Any]) -> None:
        start(self.client, RUN, (inputs,), self.plan, lambda _: None)

    def record(self) -> run_records.RunRecord | None:
        return run_records.run_record(self.link, RUN)

    def state(self) -> str:
        record = self.record()
        return "gone" if record is None else record.state

    def driver(self) -> Driver:
        """One that takes over: whoever led is silent for the length of its lead, and does not know."""
        record = self.record()
        assert record is not None
        run_records.leave_lead(self.link, RUN)
        return Driver(self.url, record)

    def work(self, who: str = "me") -> None:
        """A replica commits what it holds, and takes the next lease."""
        stores: list[Store] = []
        step = Step(want=LEASE, holds=b"" if self.holds[who] else b"1")
        if held := self.holds[who]:
            lease, attempt, values = held
            errors = {at: dict(ERROR) for at, value in enumerate(values) if self.fails(value)}
            outputs = codec.pack([None if at in errors else 2 * value for at, value in enumerate(values)])
            frame = Frame(start=0, count=len(values), busy=0.001, replica=who, errors=dict(errors), outputs=outputs)
            step.lease, step.attempt, step.errors = lease, attempt, bool(errors)
            member = b"%b:%b" % (lease, attempt)
            step.frame, stores = blobs.send(seal_results("e", lease.decode(), frame.parts()), member, 0, lives=1000)
        answer = Steps("e", who, 10).patiently(self.link, step, stores)
        self.holds[who] = None
        if answer.lease:
            payload = blobs.receive(self.link, answer.payload, keep=True)
            _, items = unseal("e", answer.lease.decode(), payload)
            self.holds[who] = (answer.lease, answer.attempt, codec.unpack_list(items))

    def drive(self, driver: Driver, steps: int = 100) -> None:
        """Until the run has ended."""
        for _ in range(steps):
            driver.offer()
            for who in ("me", "you"):
                self.work(who)
            driver.hear()
            driver.beat()
            if driver.lead.ledger.finished:
                driver.end(self.link, tolerant=self.tolerant)
                for who in ("me", "you"):
                    self.work(who)
                return
        raise AssertionError("the run does not end")

    def everything(self) -> dict[Any, Any]:
        """What lies on the server, to be compared."""
        return {name: self.server.dump(name) for name in self.server.keys("*")}

    def saved(self) -> Saved:
        """All that lies on the server."""
        names = self.server.keys("*")
        return {name: (self.server.dump(name), max(0, self.server.pttl(name))) for name in names}

    def return_to(self, saved: Saved) -> None:
        """The server returns in an older state; its replicas know nothing of it."""
        self.server.flushall()
        for name, (data, ttl) in saved.items():
            if data is not None:
                self.server.restore(name, ttl, data)

    def reader(self, **how: Any) -> Reader:
        return Reader(self.client, RUN, **how)

    def close(self) -> None:
        self.link.close()
        self.client.close()
        self.server.flushall()
        self.server.close()


#: what the fixture `steps` is: whether a replica fails an input, and options of the run
MakeSteps = Callable[..., RunSteps]
