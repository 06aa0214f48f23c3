"""One call on a replica: the path with nothing on it that a map needs and a call does not.

A lane is a connection with a result stream of its own. The calling thread writes the lease and the wait for its result
in one go, and reads both replies: no thread, no hand-over, one round trip for the caller. Where so many threads call
that most wait for a replica in any case, `is_crowded` says so: their calls share leases then, by `futures.py`.
"""

from __future__ import annotations

import time
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any

from actorq.base import tracing
from actorq.base.names import new_id
from actorq.broker import blobs, keys, records
from actorq.broker.client import Client
from actorq.broker.commands import NO_REPLY, Command
from actorq.broker.linger import Linger
from actorq.broker.link import Link
from actorq.broker.refusals import CallError
from actorq.broker.scripts import submitting
from actorq.broker.scripts.submitting import CallOffers
from actorq.code.bundle import Courier
from actorq.code.difference import tell
from actorq.code.fingerprint import FINGERPRINTS
from actorq.errors import BrokerError, CodecError
from actorq.maps.pools import Pool, no_replica_free
from actorq.maps.share import Share
from actorq.maps.stream import Position
from actorq.maps.verdict import Final, Verdicts
from actorq.wire import codec, failure
from actorq.wire.lease import NONE_RAN, Bundle, HandedBack, Lives, Lost, Noted, Report, Results
from actorq.wire.messages import CALL, Frame, Heads, Parts
from actorq.wire.seal import seal

if TYPE_CHECKING:
    from actorq.declare.environment import ActorEnvironment
    from actorq.declare.task import Task

#: one wait for a result lasts this long; then the map is renewed and asked for again
_BLOCK_SECONDS = 1.0
#: how long a server may take to be told that a call is given up, seconds
_LAST_SECONDS = 1.0
#: results of a lane that may stay in its stream before they are dropped: a call that trims takes 3 us longer
_TRIM_FRAMES = 32

#: threads that call one task at once, for each of its replicas, above which their calls share leases: with four that
#: gains nothing, with eight it makes 1.7 times as many calls a second
_CROWD = 4
#: how long it is believed how many replicas there are, and that no map waits for them, seconds
_SEEN_SECONDS = 1.0

#: what may become of a lease
Ending = Results | HandedBack | Lost


class _Lane:
    """A connection, a result stream, and how far it was read."""

    def __init__(self, link: Link, environment: str, lease_seconds: float, description: str) -> None:
        #: what is noted of the present call; None until it fails
        self.verdicts: Verdicts | None = None
        self.link = link
        self.linger = Linger(link)
        self.id = f"call-{new_id()}"
        self.serial = 0
        self.position = Position()
        self.renewed = 0.0
        self.offers = CallOffers(environment, self.id, lease_seconds, description)
        self._read = Command("XREAD", "BLOCK", int(_BLOCK_SECONDS * 1000), "STREAMS", keys.out(self.id))

    def read(self) -> bytes:
        """The command that waits for what comes after the last result."""
        return self._read.packed(self.position.last)

    def ttl(self) -> int | None:
        """The lane's TTL in seconds when it is time to renew it; one in use must not lapse between two calls."""
        now = time.monotonic()
        if now - self.renewed < keys.HEARTBEAT_SECONDS:
            return None
        self.renewed = now
        return keys.MAP_TTL_SECONDS

    def trim(self) -> bytes:
        """Up to where the server is to drop what was read, now and then."""
        if self.position.frames < _TRIM_FRAMES:
            return b""
        read_until = self.position.read_until
        self.position.dropped()
        return read_until


def _for_one_input(report: Ending) -> Ending:
    """`report`, or that its results are not those of one input."""
    if isinstance(report, Results) and (report.frame.start, report.frame.count) != (0, 1):
        problem = f"The frame of {report.frame.replica} has results of inputs that were not its own."
        return Lost(lease=report.lease, reason=problem, position=None, replica=report.frame.replica, damaged=True)
    return report


#: lanes of this process that wait for a result
_busy: set[_Lane] = set()


class _Raised:
    """The outcome of a call whose task raised: the lane is as good as new."""

    def __init__(self, error: Exception) -> None:
        self.error = error


class Caller:
    """Runs single calls of one task. Any thread may use it."""

    def __init__(
        self,
        client: Client,
        task: Task[Any, Any, Any],
        environment: ActorEnvironment,
        pool: Pool,
        bundle: Bundle | None = None,
    ) -> None:
        self._client = client
        self.pool = pool
        #: until then (monotonic seconds) the pool is taken for one that lives
        self.usable_until = 0.0
        #: the threads that have a call just now
        self.threads: set[int] = set()
        #: how many there are; None until that is known, and while maps wait for them
        self._replicas: int | None = None
        self._seen_until = 0.0
        #: an affinity key would send a call to a replica of its own
        self._may_share = task.key_reader(CALL, {}) is None
        #: a call had trouble with the server: the next one is to look whether there is one
        self.failed = False
        self.code = FINGERPRINTS.of(task.function)
        self.task = task
        self._rules = task.rules
        self.environment = environment
        head = task.head(CALL, {})
        self._heads = Heads(head if bundle is None else head.with_code(bundle.code))
        self._lanes: list[_Lane] = []
        self._share = Share()
        self._code = Courier(bundle)

    def call(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """The output of one call. Raises what the task raised, or a `TaskError`."""
        inputs = self.task.pack_call(args, kwargs)
        try:
            lane = self._lanes.pop()
        except IndexError:
            name, lease_seconds = self.environment.name, self.environment.lease_seconds
            lane = _Lane(self._client.borrow(), name, lease_seconds, f"{self.task.name}()")
        _busy.add(lane)
        try:
            self._code.bring(lane.link)
            outcome = self._attempts(lane, inputs)
        except BaseException:
            self._abandon(lane)
            raise
        finally:
            _busy.discard(lane)
        self._lanes.append(lane)
        if isinstance(outcome, _Raised):
            raise outcome.error
        return outcome

    def is_crowded(self) -> bool:
        """Whether so many threads call that most of them wait for a replica, and nothing is lost if they wait together.

        The span that a call belongs to is told with its lease.
        """
        if len(self.threads) <= _CROWD or not self._may_share or self.pool.is_own or tracing.context():
            return False
        self._look()
        return self._replicas is not None and len(self.threads) > _CROWD * self._replicas

    def _look(self) -> None:
        """Sees how many replicas there are, and whether maps wait for them: calls with leases of their own go first."""
        now = time.monotonic()
        if now < self._seen_until:
            return
        self._seen_until = now + _SEEN_SECONDS  # first: the others do not wait for the answer
        name, lease_seconds = self.environment.name, self.environment.lease_seconds
        with suppress(BrokerError), self._client.lent() as link:  # the call itself asks again, with patience
            found = max(len(submitting.replicas(link, name, lease_seconds)), self.pool.replicas)
            self._replicas = None if records.maps_wait(link, name) else found

    def close(self) -> bool:
        """Removes the lanes' keys; False when the server does not answer."""
        while self._lanes:
            if not self._abandon(self._lanes.pop()):
                return False
        return True

    # -- parts ---------------------------------------------------------------------------------------------------------

    def _attempts(self, lane: _Lane, inputs: bytes) -> Any:
        """Submits until the call has a result: retries of the task, and deaths of replicas."""
        final, alone, trace = not self._rules.retries, False, tracing.context()
        verdicts = lane.verdicts = None
        while True:
            report = self._once(lane, self._heads.of(final=final, alone=alone, trace=trace), inputs)
            if isinstance(report, Results) and not report.frame.errors:
                self._share.observe(report.frame.busy)
                return self._output(report.frame)
            if isinstance(report, HandedBack) or (isinstance(report, Lost) and report.position == NONE_RAN):
                continue
            if verdicts is None:
                verdicts = lane.verdicts = Verdicts(self._rules)
            if isinstance(report, Results):
                replica, verdict = report.frame.replica, verdicts.raised(0, report.frame.errors[0], alone=alone)
            else:
                replica = report.replica
                verdict = verdicts.ended(0, report.lease, report.reason, alone=alone, damaged=report.damaged)
            if isinstance(verdict, Final):
                return _Raised(failure.rebuild(verdict.data, index=0, attempt=verdict.attempt, replica=replica))
            final, alone = verdicts.is_last_try(0), alone or verdict.alone
            if verdict.delay:
                time.sleep(verdict.delay)

    def _output(self, frame: Frame) -> Any:
        try:
            return codec.unpack_list(frame.outputs)[0]
        except CodecError as error:
            raise CodecError(f"The output of {self.task.name} from {frame.replica} cannot be read: {error}") from None

    def _once(self, lane: _Lane, head: bytes, inputs: bytes) -> Ending:
        """Submits one lease and waits for what becomes of it."""
        lane.serial += 1
        lease = f"{lane.id}-{lane.serial}"
        payload = seal(self.environment.name, lease, head, inputs)
        self._submit(lane, lease, payload)
        suspect = False
        while True:
            for report in self._receive(lane):
                if (ending := self._ending(lane, lease, report)) is not None:
                    return ending
            if self._vanished(lane, lease):
                if suspect:
                    return Lost(lease=lease, reason="vanished from the server", position=NONE_RAN, replica="?")
                suspect = True
                self._submit(lane, lease, payload, with_reply=True)  # skipped, or tells why it was refused
            else:
                lane.link.ask(lane.read())

    def _ending(self, lane: _Lane, lease: str, report: Report) -> Ending | None:
        """What a report says of the end of `lease`, if it does."""
        if isinstance(report, Lives):
            if lane.verdicts is not None:
                lane.verdicts.lives(report.lease)
            return None
        if isinstance(report, Noted):
            return None
        if isinstance(report, Results) and report.frame.other_code:
            tell(self.task.name, self.task.function, report.frame.other_code)
            if not report.frame.count:
                return None
        if report.lease != lease or (isinstance(report, HandedBack) and report.end > 0):
            return None
        return _for_one_input(report)

    def _submit(self, lane: _Lane, lease: str, parts: Parts, *, with_reply: bool = False) -> None:
        """Sends the lease and, behind it, the wait for its result."""
        nested = self.pool.is_own
        payload, stores = blobs.send_payload(parts, lease, lane.link)
        packed = partial(
            lane.offers.packed,
            lane.serial,
            payload,
            ttl_seconds=lane.ttl(),
            read_until=lane.trim(),
            only_idle=nested,
            cost=self._share.standing.cost,
        )
        if lane.serial > 1 and lane.link.connected and not (nested or with_reply or stores):
            try:
                lane.link.send(NO_REPLY, packed(new=True), lane.read())
                return
            except BrokerError:
                lane.link.drop()
        # the first call of a connection, or one whose refusal must be known: with a reply, and patience
        if not lane.offers.send(lane.link, packed(new=False), stores):
            raise no_replica_free(self.environment.name)
        lane.link.ask(lane.read())

    def _receive(self, lane: _Lane) -> list[Report]:
        try:
            reply = lane.linger.read(awake=len(_busy) == 1)  # or threads would keep each other from running
        except CallError:  # `_vanished` connects again, with patience
            lane.link.drop()
            return []
        return lane.position.take(reply, lane.link, self.environment.name)

    def _vanished(self, lane: _Lane, lease: str) -> bool:
        """Renews the call and tells whether the server still knows its lease."""
        name, last = self.environment.name, lane.position.last
        found = submitting.check(lane.link, name, lane.id, lane.id, last=last, leases=[lease])
        if not found.known:
            lane.position.begin_anew()
        self.pool.check(found.replicas)
        return bool(found.missing)

    def _abandon(self, lane: _Lane) -> bool:
        """Cancels what the lane waits for, and removes its keys; False when the server does not answer: they expire."""
        lane.link.drop()
        last = f"{lane.id}-{lane.serial}"
        try:
            submitting.close(lane.link, self.environment.name, lane.id, lane.id, [last], within=_LAST_SECONDS)
            blobs.sweep(f"{lane.id}-", lane.link)
        except BrokerError:
            return False
        finally:
            lane.link.close()
        return True
