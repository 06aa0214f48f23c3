"""What an executor says to the server: it commits what is done and takes the next lease.

    ── commit + next ──▶  lease, or nothing: then wait on the mailbox, where a submitter puts a lease it claimed for us
    ── commit + ahead ─▶  go on at once with the lease in hand; the answer, read after it, holds the one behind it

The second way is taken while enough waits for the other replicas: there is no pause between two leases then. A lease
that is claimed ahead waits for the one before it, and not for long: a supervisor that sees that one take its time has
the server give the other back (`unclaim.lua`), and tells so in the page. What is committed is not known to be until
that answer is read: so long the supervisor renews it.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from actorq.base.log import logger
from actorq.broker import blobs, keys
from actorq.broker.commands import packed
from actorq.broker.link import Link, Store
from actorq.broker.refusals import CallError
from actorq.broker.scripts.serving import (
    GO_ON,
    GO_ON_AND_CLAIM,
    LEASE,
    LEASE_OR_MAIL,
    NOTHING,
    Answer,
    Step,
    Steps,
    unclaim,
)
from actorq.errors import ActorqError, BrokerError, CodecError
from actorq.replica import deadlines
from actorq.replica.pages import Page
from actorq.wire import codec, failure
from actorq.wire.messages import Frame, parse_head
from actorq.wire.seal import seal, seal_results, unseal

#: how long an answer that is needed before its time, and should be here, is waited for, seconds
_EARLY_SECONDS = 0.3
#: failed inputs of one lease that are put into RQ's registry; the caller gets all of them either way
_RECORDED_FAILURES = 50
#: kinds of errors that say nothing of the input
_NO_OUTCOME = (failure.DISTURBED, failure.FORGONE)
#: "<lease>:<attempt>", its results, its payload
Done = tuple[bytes, Frame, bytes | bytearray]
#: "<lease>:<attempt>", its payload
Taken = tuple[bytes, bytes | bytearray]


@dataclass(kw_only=True)
class _Sent:
    """A call that is not waited for."""

    step: Step
    #: the number of the lease that had run
    after: int
    #: if it was read before its time
    answer: Answer | None = None
    #: there will be no answer
    lost: bool = False
    #: what was claimed was given back, or may have been
    forgone: bool = False


class Exchange:
    """One executor's, which may be that of one concurrency slot.

    Args:
        link: its connection.
        environment: name of what it serves.
        worker: its name as an RQ worker.
        lease_seconds: how long a lease lives unless it is renewed.
        page: its page.
        tidy: called after every lease, while its results are on their way.
    """

    def __init__(
        self,
        link: Link,
        environment: str,
        worker: str,
        lease_seconds: float,
        page: Page,
        tidy: Callable[[], None],
    ) -> None:
        self._link = link
        self._environment = environment
        self._page = page
        self._tidy = tidy
        # after it the executor registers as idle again, which also heals a server that was flushed or restarted
        self._wait = packed("BLPOP", keys.mail(worker), deadlines.mailbox(lease_seconds))
        self._worker = worker
        self._steps = Steps(environment, worker, lease_seconds)
        self._uncounted: Frame | None = None  # its results are committed, and not in the totals
        self._busy = False  # the last time there was a next lease at once: the wait would be sent for nothing
        self._waits = False  # a BLPOP is sent whose answer has not been read
        self._unsure = False  # it may hold what it does not know of
        #: enough leases wait for the other replicas
        self.plenty = False
        #: seconds that large results of the lease that runs are kept for their readers; 0: until its submitter has them
        self.keep = 0
        self._near = set[bytes]()  # leases whose payloads came beside them
        self._sent: _Sent | None = None  # by `go_on`, and not settled

    def next(self, done: Done | None, *, want: bool, again: bool = False) -> Taken | None:
        """Commits what is done and takes the next lease, if one is wanted. None when there is none.

        If there was none the last time, the wait on the mailbox is sent behind it in the same write; `_waits` says that
        its answer is still to come.

        Args:
            again: it holds leases that it does not know of, or will not run.
        """
        # with nothing done: a connection that broke long ago may have taken a mail since, as its wait is the older one
        again = again or self._unsure or done is None
        answer = self._call(*self._step(done, LEASE if want else NOTHING, b"1" if again else b""))
        self._unsure = False
        self._page.release()
        self._busy, self.plenty = bool(answer.lease), bool(answer.plenty)
        if not self._busy:
            return None
        if self._waits:
            self._waits = False
            try:
                self._link.read()  # the empty mail that answers the wait
            except CallError:
                self._link.drop()
        return self._taken(answer.lease, answer.attempt, answer.payload)

    def mail(self, read: Callable[[], Any]) -> Taken | None:
        """A lease from the mailbox, or None when it is time to ask. `read` gives the answer to the wait."""
        try:
            if not self._waits:
                self._link.send(self._wait)
            reply = read()
            self._waits = False
        except (CallError, BrokerError):
            self.drop()
            return None
        if not reply or not reply[1]:
            return None
        try:
            lease, attempt, plenty, payload = reply[1].split(b"\0", 3)
            self.plenty = bool(plenty)
            return self._taken(lease, attempt, payload)
        except ValueError:  # not one of ours
            logger().warning("mail_unreadable")
            return None

    def drop(self) -> None:
        """Closes the connection. What its answers would have brought is asked for again."""
        self._waits = False
        self._link.drop()

    def leave(self) -> None:
        """Gives back whatever it holds: none of it has begun, and none may run here."""
        self.settle()
        if self._waits:
            self.drop()  # the wait's answer would be taken for that of the next call
        self.next(None, want=False)

    # -- ahead ---------------------------------------------------------------------------------------------------------

    def go_on(self, done: Done | None, member: bytes, patience: float) -> None:
        """Commits what is done, and does not wait: `member` runs now. Claims a lease behind it, if that can be patient.

        Args:
            patience: how long it may wait, seconds; 0 claims none.
        """
        if done is None and not patience:
            return
        step, stores = self._step(done, GO_ON_AND_CLAIM if patience else GO_ON, member)
        if stores or not self._link.connected:
            self._unsure = self._unsure or not self._link.connected
            step.want = GO_ON
            self._steps.patiently(self._link, step, stores)
        else:
            self._sent = _Sent(step=step, after=self._page.lease)
            self._page.sent(b"" if done is None else done[0], int(patience * 1e9))
            try:
                self._link.send(self._steps.packed(step))
            except BrokerError:
                self._sent.lost = True
        self._meanwhile()

    def settle(self) -> Taken | None:
        """The lease that `go_on` has claimed; None when there was none, or it may have been taken back."""
        sent, self._sent = self._sent, None
        if sent is None:
            return None
        self._read_answer(sent, self._link.read)
        if sent.lost and sent.step.lease:  # once more
            sent.step.want = GO_ON
            self._steps.patiently(self._link, sent.step, [])
        self._page.settled()
        if sent.lost or sent.answer is None:
            self._unsure = True
            return None
        self.plenty = bool(sent.answer.plenty)
        if not sent.answer.lease:
            return None
        if sent.forgone or self._page.unclaimed > sent.after:
            self._unsure = True
            return None
        return self._taken(sent.answer.lease, sent.answer.attempt, sent.answer.payload)

    def forgo(self, running: bytes) -> None:
        """Gives back what was claimed behind `running`, if there is another replica. Called while it runs."""
        link, sent = self.free_link(), self._sent
        if sent is None or sent.answer is None or not sent.answer.lease or sent.forgone:
            return
        try:
            sent.forgone = unclaim(link, self._environment, self._worker, running, within=_EARLY_SECONDS)
        except BrokerError:
            sent.forgone = True  # perhaps

    def free_link(self) -> Link:
        """The connection, which waits for no answer. May be called while a lease runs."""
        if self._sent is not None:
            self._read_answer(self._sent, lambda: self._link.read_within(_EARLY_SECONDS))
        return self._link

    def _read_answer(self, sent: _Sent, read: Callable[[], Any]) -> None:
        if sent.answer is not None or sent.lost:
            return
        try:
            sent.answer = Steps.answer(read())
        except CallError:
            sent.lost = True
            self._link.drop()

    # -- parts ---------------------------------------------------------------------------------------------------------

    def _step(self, done: Done | None, want: bytes, holds: bytes) -> tuple[Step, list[Store]]:
        """What is said next, and what is to be stored in front of it."""
        if done is None:
            return Step(want=want, holds=holds), []
        member, frame, payload = done
        self._uncounted = frame
        lease, _, attempt = member.rpartition(b":")
        parts = seal_results(self._environment, lease.decode(errors="replace"), frame.parts())
        message, stores = blobs.send_results(parts, member, frame.start, self._link, keep=self.keep)
        if lease in self._near:  # whatever becomes of it now, nobody runs this lease again
            self._near.discard(lease)
            blobs.forget_payloads([lease.decode(errors="replace")], self._link)
        step = Step(want=want, holds=holds, lease=lease, attempt=attempt, frame=message)
        if frame.errors:
            step.errors = True
            step.disturbed = all(error.get("kind") in _NO_OUTCOME for error in frame.errors.values())
            step.failed = _failures(self._environment, lease.decode(errors="replace"), frame, payload)
        return step, stores

    def _call(self, step: Step, stores: list[Store]) -> Answer:
        """The answer to `step`. On a connection that is new, or broke, it asks for what it may hold unknowingly."""
        answer = None
        if self._link.connected:
            try:
                answer = self._steps.once(self._link, step, stores) if stores else self._send(step)
            except (CallError, BrokerError):
                self._link.drop()
        if answer is None:
            # without the wait behind it: the server may still serve a wait of the old connection first
            step.want, step.holds = LEASE if step.want else NOTHING, b"1"
            answer = self._steps.patiently(self._link, step, stores)
        if self._uncounted is not None:
            self._meanwhile()
        return answer

    def _send(self, step: Step) -> Answer:
        """The answer to `step`; while it is on its way, the process is tidied up."""
        if waits := step.want == LEASE and not self._busy:
            step.want = LEASE_OR_MAIL
            self._link.send(self._steps.packed(step), self._wait)
        else:
            self._link.send(self._steps.packed(step))
        self._meanwhile()
        answer = Steps.answer(self._link.read())
        self._waits = waits
        return answer

    def _meanwhile(self) -> None:
        """What can be done while the results are on their way."""
        frame, self._uncounted = self._uncounted, None
        if frame is not None:
            self._page.totals.add(frame.count, len(frame.errors), frame.busy, whole=True)
        self._tidy()

    def _taken(self, lease: bytes, attempt: bytes, message: bytes) -> Taken:
        """A lease with its payload, fetched if it is large."""
        payload: bytes | bytearray = message
        if message.startswith(blobs.REFERENCE):
            with suppress(CodecError):  # it is gone: running the reference tells its submitter
                payload = blobs.receive(self._link, message, keep=True)  # another attempt may need it
            self._near.add(lease)
        return b"%b:%b" % (lease, attempt), payload


def _failures(environment: str, lease: str, frame: Frame, payload: bytes | bytearray) -> list[bytes]:
    """The inputs that failed for good, for RQ's registry: what `Step.failed` says of each."""
    try:
        head, items = unseal(environment, lease, payload)  # what is not signed must not be signed here
        parsed, inputs = parse_head(head), codec.split_list(bytes(items))
    except ActorqError:  # the payload itself is what failed
        return []
    fields: list[bytes] = []
    final = [at for at in sorted(frame.errors) if _is_final(frame.errors[at], last=parsed.final)]
    chosen = final[:_RECORDED_FAILURES]
    for at in chosen:
        error, position = frame.errors[at], frame.start + at
        text = error.get("traceback") or f"{error['kind']}: {error['message']}"
        description = f"{parsed.task}: {error.get('type', error['kind'])}: {error['message'][:100]}"
        again = b"".join(seal(environment, f"{lease}-{position}", head, codec.join_list([inputs[position]])))
        kept = again if len(again) < blobs.LARGE_BYTES else b""
        told = failure.registered(text)
        told_id, last = f"{lease}-{position}".encode(), b"1" if error.get("final") else b""
        fields += (told_id, description.encode(errors="replace"), told, kept, last)
    return fields


def _is_final(error: dict[str, Any], *, last: bool) -> bool:
    """Whether an input has failed for good; `last`: it has no retries left."""
    return bool(error.get("final")) or (last and error["kind"] not in _NO_OUTCOME)
