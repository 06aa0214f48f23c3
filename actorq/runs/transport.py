"""The leases of a run, as long as this process leads it.

The one idea: the journal is the only truth. What this driver decides is written there, by a script that refuses who
does not lead any more, and read back like everything else.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

from actorq.base.waiting import Waker
from actorq.broker import blobs, keys, records
from actorq.broker.link import Link, Store
from actorq.broker.refusals import ServerFullError
from actorq.broker.run_records import JournalGapError
from actorq.broker.scripts import running, submitting
from actorq.broker.scripts.running import Leader
from actorq.broker.scripts.submitting import MapOffers, Offered
from actorq.maps.ledger import Ledger
from actorq.maps.pace import Pace
from actorq.maps.presence import told_progress, told_share
from actorq.maps.redis_transport import describe_lease
from actorq.maps.share import Share
from actorq.maps.stream import ReportStream
from actorq.runs.inputs import FencedError, StoredInputs, fenced
from actorq.runs.plan import Plan
from actorq.wire.lease import Counters, GivenUp, Lease, Report
from actorq.wire.messages import Heads
from actorq.wire.seal import seal

#: how long the code of a run is kept beyond its last heartbeat, seconds
_CODE_SECONDS = 86_400
#: pause before a full server is asked again, seconds
_FULL_PAUSE = 0.25


class RunTransport:
    """Of one run.

    Args:
        link, reader: two connections: one that waits for results cannot submit.
        run_id: the run.
        plan: what it is to do.
        ledger: its books, folded up to the journal's entry `last`.
        last: see there.
    """

    prompt = False  # it must be sure that it leads

    def __init__(self, link: Link, reader: Link, run_id: str, plan: Plan, ledger: Ledger, last: bytes) -> None:
        self._link, self._reader = link, reader
        self._run_id, self._plan, self._ledger = run_id, plan, ledger
        self._environment = plan.options.environment
        self.owner = ledger.owner
        self._heads = Heads(plan.options.head)
        self._task = plan.options.head.task
        self._offers = MapOffers(self._environment, run_id, self.owner, plan.lease_seconds)
        self._stream = ReportStream(reader, link, self._environment, run_id, keep=True)
        self._stream.position.last = last
        self._waker = Waker()
        self._suspects: set[str] = set()
        self._inputs = StoredInputs(link, self._environment, run_id)
        self._started = time.time()
        self._pace = Pace()
        self.replicas = 1

    def offer(self, leases: Sequence[Lease], *, beside: int, share: Share) -> int:
        served = share.standing.served + min(beside, self.replicas) * share.standing.cost
        offered, stores = [], list[Store]()
        for lease in leases:
            head = self._heads.of(final=lease.last_try, alone=lease.alone)
            parts = seal(self._environment, lease.id, head, lease.inputs)
            payload, store = blobs.send(parts, lease.id, lives=keys.LEASE_TTL_SECONDS)
            stores += store
            where, opened = "1" if lease.front else "", f"{lease.count}{'a' if lease.alone else ''}"
            description = describe_lease(self._task, lease)
            offered.append(Offered(lease.serial, lease.id, description, where, payload, opened))
        try:
            accepted = self._offers.send(
                self._link, offered, stores, read_until=self._stream.position.last, only_idle=False, served=served
            )
        except ServerFullError:
            time.sleep(_FULL_PAUSE)
            return 0
        if accepted is None:
            raise self._fenced()
        self.replicas = max(accepted.replicas, 1)
        return accepted.leases

    def names(self) -> Sequence[str]:
        return ()

    def recall(self, leases: Sequence[Lease]) -> list[Lease]:
        return []

    def wait(self, timeout: float, *, expecting: bool) -> list[Report]:
        try:
            return self._stream.wait(timeout, self._waker, expecting=True)  # it tells, too, that more inputs are stored
        except JournalGapError:
            raise self._fenced() from None

    def beat(self, outstanding: Sequence[Lease], counters: Counters, share: Share) -> list[Report]:
        self.lead()
        if code := self._plan.options.head.code:
            records.keep_code(self._link, code, _CODE_SECONDS)
        found = submitting.check(
            self._link,
            self._environment,
            self._run_id,
            self.owner,
            last=self._stream.position.last,
            leases=[lease.id for lease in outstanding],
            share=told_share(share),
            progress=told_progress(self._task, self._started, counters, self._pace),
        )
        if found.replicas < 0 or not found.known:
            raise self._fenced()
        self.replicas = max(found.replicas, 1)
        # as of a plain map: only a second look tells, and only if nothing lies in the stream that was not read
        vanished, self._suspects = self._suspects & found.missing, found.missing
        if vanished and (reports := self.read_past()):
            self._suspects = found.missing
            return reports
        self._suspects = found.missing - vanished
        self._drop(vanished)
        self._note(())
        return []

    def lead(self) -> None:
        """Keeps the lead. Raises `FencedError` for who has lost it."""
        if self._plan.lead(self._link, self._run_id, self.owner, take=False) != running.DONE:
            raise self._fenced()

    def read_past(self) -> list[Report]:
        """What lies in the journal and was not read yet."""
        try:
            return self._stream.read_past()
        except JournalGapError:
            raise self._fenced() from None

    @property
    def leader(self) -> Leader:
        """This driver, as far as it has read."""
        return Leader(self._environment, self._run_id, self.owner, self._stream.position.last)

    def _fenced(self) -> FencedError:
        return FencedError(fenced(self._run_id))

    def _drop(self, vanished: set[str]) -> None:
        """Leases of which nothing is left: written down, so that whoever takes over knows."""
        if not vanished:
            return
        submitting.recall(self._link, self._environment, vanished)
        records.drop_leases(self._link, vanished)
        for lease in vanished:
            self._note(("l", lease, "x", "vanished from the server", "p", "-", "w", "?"))

    def _note(self, entry: Sequence[str]) -> None:
        if self._ledger.failed_inputs:
            self._inputs.put(self.leader, self._ledger.failed_inputs)
            self._ledger.failed_inputs = []
        if not running.note(self._link, self.leader, self._ledger.needed_from, entry):
            raise self._fenced()

    def record(self, given_up: Sequence[GivenUp]) -> None:
        """A run keeps its failures itself."""

    def hurry(self) -> None:
        """What is sent now is not waited for long."""
        for link in (self._link, self._reader):
            link.hurry(1.0)

    def finish(self, outstanding: Sequence[Lease]) -> None:
        """Nothing is ended here: another driver may go on."""
        self._stream.close()
        self._waker.close()

    def wake(self) -> None:
        self._waker.wake()
