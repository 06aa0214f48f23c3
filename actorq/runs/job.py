"""Single jobs: what `task.spawn` makes, and what it returns.

The one idea: a job is a lease of one input that nobody waits for. The scripts that book what replicas report decide
whether it runs again, and keep what has ended it; so it needs no driver, and whoever has its id can look.
"""

from __future__ import annotations

import time
from dataclasses import replace
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from actorq.base import tracing
from actorq.base.awaiting import in_thread
from actorq.broker import blobs, job_records, records, run_records
from actorq.broker.client import Client
from actorq.broker.job_records import JobRecord
from actorq.broker.link import Link, Store
from actorq.broker.scripts import jobs
from actorq.broker.scripts.jobs import JobOffers, JobRules
from actorq.broker.stream import parse_reports
from actorq.errors import MapConflictError, MapTimeoutError, PoolError
from actorq.maps.remote import Lonely
from actorq.wire import codec, failure
from actorq.wire.lease import Bundle, Ended, Lost, Report, Results
from actorq.wire.messages import CALL, Heads
from actorq.wire.seal import seal

if TYPE_CHECKING:
    from actorq.declare.engine import JobOptions
    from actorq.declare.environment import ActorEnvironment
    from actorq.declare.task import Task

R = TypeVar("R")

#: one wait for the end of a job, seconds; then it is looked whether it is still there
_WAIT_SECONDS = 1.0
#: RQ's words for a job that has ended
ENDED = frozenset({"finished", "failed", "canceled"})
#: bytes of the checksum by which two jobs of one name are compared
_SUM_BYTES = 16


class Job(Generic[R]):
    """One call that outlives the program that made it; see `Task.spawn`.

    Example:
        job = embed.spawn("x", delay=60)
        ...
        vector = actorq.job(job.job_id).result()  # perhaps in another process, perhaps tomorrow
    """

    def __init__(self, client: Client, job_id: str) -> None:
        self._client = client
        #: its name: what `actorq.job` is given, and the id of its job in RQ's tools
        self.job_id = job_id

    def result(self, timeout: float | None = None) -> R:
        """Its output, waited for. Raises what the task raised, and `PoolError` for one that was cancelled or is gone.

        Args:
            timeout: seconds to wait; then `MapTimeoutError`. None: as long as it takes.
        """
        with self._client.lent() as link:
            record = self._waited_for(link, timeout)
            if record.status not in ENDED:
                raise MapTimeoutError(
                    f"Job {self.job_id!r} did not end within {timeout} s: it is {record.status}, and goes on."
                )
            return self._outcome(link, record)

    async def aio(self) -> R:
        """`result`, without blocking the event loop; `asyncio.timeout` bounds it."""
        while not await in_thread(lambda: self._ends_within(_WAIT_SECONDS)):
            pass
        return await in_thread(self.result)

    def status(self) -> str:
        """RQ's word for where it is: "scheduled", "queued", "started", "finished", "failed" or "canceled".

        Raises `PoolError` where the server has none of its name.
        """
        with self._client.lent() as link:
            return _record(link, self.job_id).status

    def cancel(self) -> bool:
        """Ends it: what waits never runs, what runs is stopped. False for one that has ended before."""
        with self._client.lent() as link:
            return jobs.cancel(link, _record(link, self.job_id).environment, self.job_id)

    def retry(self) -> None:
        """Runs a job that has failed once more, with all its retries. Raises `PoolError` for one that has not."""
        with self._client.lent() as link:
            record = _record(link, self.job_id)
            if not jobs.retry(link, record.environment, self.job_id):
                raise PoolError(f"Job {self.job_id!r} is {record.status}: only one that has failed can be tried again.")

    def delete(self) -> None:
        """Ends it, and removes all that the server keeps of it."""
        with self._client.lent() as link:
            environment = _record(link, self.job_id).environment
            jobs.cancel(link, environment, self.job_id)
            job_records.delete(link, environment, self.job_id)

    def __repr__(self) -> str:
        return f"<job {self.job_id!r}>"

    def _ends_within(self, seconds: float) -> bool:
        with self._client.lent() as link:
            return self._waited_for(link, seconds).status in ENDED

    def _waited_for(self, link: Link, timeout: float | None) -> JobRecord:
        """The job when it has ended, or after `timeout` seconds."""
        until = None if timeout is None else time.monotonic() + timeout
        before = job_records.last_entry(link, self.job_id)  # of a job that is tried again
        last = before[0][0] if before else b"0-0"
        lonely: Lonely | None = None
        while (record := _record(link, self.job_id)).status not in ENDED:
            left = _WAIT_SECONDS if until is None else min(_WAIT_SECONDS, until - time.monotonic())
            if left <= 0:
                break
            last = run_records.wait_for_entry(link, self.job_id, last, left)
            if record.status == "queued":
                lonely = lonely or Lonely(record.environment, link.url, f"job {self.job_id!r} waits")
                lonely.check(records.replica_count(link, record.environment))
        return record

    def _outcome(self, link: Link, record: JobRecord) -> R:
        """The output. Raises what has ended the job."""
        found = parse_reports(job_records.last_entry(link, self.job_id), link, record.environment, keep=True)
        if not found:
            raise PoolError(f"The result of job {self.job_id!r} is not on the server any more.")
        return _output(self.job_id, record, found[0])  # type: ignore[no-any-return]


def _record(link: Link, job_id: str) -> JobRecord:
    record = job_records.job_record(link, job_id)
    if record is None:
        raise PoolError(f"There is no job {job_id!r} on this server: it was deleted, has expired, or never was.")
    return record


def _output(job_id: str, record: JobRecord, report: Report) -> Any:
    attempt, replica = record.raised + 1, "?"
    match report:
        case Results(frame=frame) if not frame.errors:
            return codec.unpack_list(frame.outputs)[0]
        case Results(frame=frame):
            data, replica = frame.errors[0], frame.replica
        case Lost(reason=reason, replica=replica, damaged=True):
            data = failure.described(failure.DAMAGED, f"its replica sent what is no result of it: {reason}")
        case Lost(reason=reason, replica=replica):
            died = failure.described(failure.LOST, f"its replica died while it ran: {reason}")
            data = failure.overdue(reason, record.timeout) or died
        case Ended():
            raise PoolError(f"Job {job_id!r} was cancelled.")
        case _:
            raise PoolError(f"What the server has of the end of job {job_id!r} cannot be read.")
    raise failure.rebuild(data, index=0, attempt=attempt, replica=replica)


class Spawner:
    """Makes the jobs of one task. Any thread may use it."""

    def __init__(self, task: Task[Any, Any, Any], environment: ActorEnvironment, bundle: Bundle | None) -> None:
        self._task = task
        self._environment = environment
        self._code = "" if bundle is None else bundle.code
        rules, backoff = task.rules, task.rules.retry_delay
        pause = f"{backoff.base} {backoff.factor} {backoff.cap} {int(backoff.jitter)}" if backoff.base else ""
        limit: float | str = "" if rules.timeout is None else rules.timeout
        told = JobRules(rules.retries, rules.max_crashes, pause, limit)
        self._offers = JobOffers(environment.name, environment.lease_seconds, told)
        self._shared = rules.shared
        self._heads: dict[int, Heads] = {}

    def make(self, link: Link, args: tuple[Any, ...], kwargs: dict[str, Any], job_id: str, options: JobOptions) -> None:
        """Makes the job, or finds it there.

        Raises `MapConflictError` where one of this name does something else, `CodecError`, `TypeError` for a call that
        the task cannot take, and `BrokerError`.
        """
        task = self._task
        inputs = task.pack_call(args, kwargs)
        checksum = blake2b(f"{task.name}\0".encode() + inputs, digest_size=_SUM_BYTES).hexdigest()
        due = None if options.at is None and not options.delay else (options.at or time.time()) + options.delay
        waits = 0 if due is None else max(0, int(due - time.time()))
        lives = options.expires + waits
        # a large payload is named by what it holds: one of another job of this name must not take its place
        payload, stores = self._payload((job_id, checksum), inputs, options, lives, alone=False)
        alone = b""
        if self._shared:  # beside others, which a crash of it must not be charged to
            alone, more = self._payload((job_id, checksum, "alone"), inputs, options, lives, alone=True)
            stores += more
        known, waits = self._offers.send(
            link,
            job_id,
            payload,
            alone=alone,
            checksum=checksum.encode(),
            description=f"{task.name}()",
            due=due,
            expires=options.expires,
            result_ttl=options.result_ttl,
            stores=stores,
        )
        if known in (b"map", b"run"):
            raise MapConflictError(f"job_id {job_id!r} is the name of a {known.decode()}: choose another one.")
        same = known == checksum.encode()
        if stores and not (same and waits):  # nobody would remove it
            records.drop(link, [store.key for store in stores])
        if not same:
            raise MapConflictError(
                f"job_id {job_id!r}: the job that is there has another task, or other arguments. Choose another "
                f"job_id, or delete that one: actorq.job({job_id!r}).delete()."
            )

    def _payload(
        self, named: tuple[str, ...], inputs: bytes, options: JobOptions, lives: int, *, alone: bool
    ) -> tuple[bytes, list[Store]]:
        """Of its lease: signed, and beside the job where it is large."""
        heads = self._heads.get(options.result_ttl)
        if heads is None:
            head = replace(self._task.head(CALL, {}), keep=options.result_ttl)
            heads = self._heads[options.result_ttl] = Heads(head.with_code(self._code) if self._code else head)
        head_bytes = heads.of(final=True, alone=alone, trace=tracing.context())
        return blobs.send(seal(self._environment.name, named[0], head_bytes, inputs, lives), *named, lives=lives)
