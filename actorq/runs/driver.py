"""Who drives the runs of an environment: the program that started one, or a process beside the replicas of a worker.

The one idea: whoever has the lead folds the journal and goes on; whoever loses it stops. The lead is a key that lapses,
so the runs of a driver that is gone are taken over within the length of a lease.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import msgpack

from actorq.base.log import logger
from actorq.broker import run_records
from actorq.broker.link import Link
from actorq.broker.refusals import WrongTypeError
from actorq.broker.run_records import JournalGapError
from actorq.broker.scripts import running
from actorq.errors import ActorqError, BrokerError, PoolError
from actorq.maps.ledger import Ledger
from actorq.maps.pump import Pump
from actorq.maps.segment import Segment
from actorq.runs.inputs import FencedError, StoredInputs, StoredSource
from actorq.runs.journal import Journal
from actorq.runs.plan import Plan
from actorq.runs.transport import RunTransport
from actorq.wire import failure

#: how often a driver looks for runs that nobody drives, seconds
_LOOK_SECONDS = 1.0
#: how often a driver that folds a journal says that it leads, seconds
_KEEP_SECONDS = 0.5
#: how long the server may be away before a driver gives up its runs, seconds
_PATIENCE = 30.0
#: seconds to say the last things
_LAST_SECONDS = 1.0


@dataclass(frozen=True, kw_only=True)
class Lead:
    """What whoever leads a run goes on with: its books, folded, and the way to its leases."""

    ledger: Ledger
    transport: RunTransport


def take_over(links: Sequence[Link], run_id: str, record: run_records.RunRecord) -> Lead | None:
    """Takes the lead of a run and folds its journal; None where another driver leads, or it has ended.

    Args:
        links: three connections: for what is said, for what is waited for, and for inputs.
        run_id: the run.
        record: what the server has of it.
    """
    environment, plan = record.environment, Plan.of(record.environment, run_id, record.plan)

    def numbers() -> tuple[int, int | None]:
        found = run_records.run_record(links[2], run_id)
        return (0, None) if found is None else (found.stored, found.total)

    inputs = StoredInputs(links[2], environment, run_id)
    source = StoredSource(inputs, numbers)
    options = replace(plan.options, ordered=False)  # outputs are for the readers
    journal = Journal(links[0], run_id, source, options, record.rounds)
    ledger = journal.ledger
    found = plan.lead(links[0], run_id, ledger.owner, take=True)
    if found == running.ENDED:
        run_records.forget_open_run(links[0], environment, run_id)
    if found != running.DONE:
        return None
    more, kept = True, time.monotonic()
    while more:  # outputs are for the readers: a ledger that kept them would draw no more inputs
        try:
            more = journal.read()
        except JournalGapError:  # the server has returned in an older state meanwhile
            return None
        while ledger.take() is not None:
            pass
        if time.monotonic() - kept > _KEEP_SECONDS:  # a long journal takes longer than a lead lasts
            kept = time.monotonic()
            if plan.lead(links[0], run_id, ledger.owner, take=False) != running.DONE:
                return None
    ledger.options = options
    transport = RunTransport(links[0], links[1], run_id, plan, ledger, journal.last)
    try:
        ledger.fill(inputs.of)
        ledger.failed_inputs = []
        inputs.keep(transport.leader, ledger.failed)  # whoever led before may have had no time for it
    except FencedError:
        return None
    source.begin_at(ledger.drawn)
    return Lead(ledger=ledger, transport=transport)


class DrivenRun:
    """One run that this process drives.

    Args:
        url: the server.
        run_id: the run.
        record: what the server has of it.
    """

    def __init__(self, url: str, run_id: str, record: run_records.RunRecord) -> None:
        self._url = url
        self._run_id = run_id
        self._environment = record.environment
        self._plan = Plan.of(record.environment, run_id, record.plan)
        self._links = [Link(url, patience=_PATIENCE) for _ in range(3)]
        #: nothing is driven here any more
        self.over = False
        self._stopping = False
        self._pump: Pump | None = None
        try:
            lead = take_over(self._links, run_id, record)
            elapsed = run_records.seconds_since(self._links[0], record.begun)
        except BaseException:
            self._let_go()
            raise
        if lead is None:
            self._let_go()
            return
        self._ledger, self._transport = lead.ledger, lead.transport
        logger().info("run_driven", run=run_id, environment=self._environment, drawn=lead.ledger.drawn)
        self._pump = Pump(lead.ledger, lead.transport, deliver=_drop, on_end=self._ended, elapsed=elapsed)
        self._pump.start()

    def stop(self) -> None:
        """Another driver may go on."""
        self._stopping = True
        if self._pump is not None:
            self._pump.close()

    # -- parts ---------------------------------------------------------------------------------------------------------

    def _ended(self, error: Exception | None) -> None:
        """In the pump's thread."""
        try:
            if isinstance(error, FencedError):
                logger().info("run_fenced", run=self._run_id)
            elif self._stopping:
                self._hand_over()
            elif isinstance(error, BrokerError) and not isinstance(error, WrongTypeError):
                logger().warning("run_left", run=self._run_id, error=str(error))
            else:
                self._end(self._told(error))
        except BrokerError as refused:
            logger().warning("run_left", run=self._run_id, error=str(refused))
        finally:
            self._let_go()

    def _told(self, error: Exception | None) -> Exception | None:
        """What readers are told of `error`. One that nobody has foreseen is a fault of ours: the log has all of it."""
        if error is None or isinstance(error, ActorqError):
            return error
        logger().error("driver_failed", run=self._run_id, environment=self._environment, exc_info=error)
        return PoolError(
            f"The driver of run {self._run_id!r} had a fault: {error!r}. The log of its worker tells where. What is "
            f"done is kept: `actorq retry {self._run_id}` goes on."
        )

    def _hand_over(self) -> None:
        """To another driver, at once."""
        link = Link(self._url, patience=_LAST_SECONDS)
        run_records.leave_lead(link, self._run_id)
        run_records.wake_drivers(link, self._environment)
        link.close()

    def _end(self, error: Exception | None) -> None:
        fatal = error or self._ledger.ending()
        failed = fatal is not None or (bool(self._ledger.failures) and not self._ledger.options.tolerant)
        why = b"" if fatal is None else _packed(fatal)
        link = Link(self._url, patience=_PATIENCE)
        inputs = StoredInputs(link, self._environment, self._run_id)
        leader = self._transport.leader
        state = "failed" if failed else "done"
        try:
            inputs.put(leader, self._ledger.failed_inputs or [])
            if fatal is None and self._ledger.complete:  # else some of the others have no result yet
                inputs.keep_only(leader, self._ledger.failed)
            ended = running.end(link, leader, state, why, self._plan.result_ttl, self._ledger.counters) == running.DONE
        except FencedError:
            ended = False
        finally:
            link.close()
        if ended:
            logger().info("run_ended", run=self._run_id, state=state)
        else:
            logger().info("run_fenced", run=self._run_id)

    def _let_go(self) -> None:
        for link in self._links:
            link.close()
        self.over = True


def _drop(segment: Segment) -> None:
    """Outputs lie in the journal, for who reads them."""


class Driver(threading.Thread):
    """Drives all runs of an environment that nobody else does.

    Args:
        url: the server.
        environment: its name.
        is_gone: whether the server is known to be gone for good.
    """

    def __init__(self, url: str, environment: str, is_gone: Callable[[], bool] = lambda: False) -> None:
        super().__init__(name=f"actorq.driver-{environment}", daemon=True)
        #: the server
        self.url = url
        self._environment = environment
        self._is_gone = is_gone
        self._driven: dict[str, DrivenRun] = {}
        self._refused: dict[str, float | None] = {}  # run -> when it was made, where that is known
        self._stopped = threading.Event()
        self._link = Link(url, patience=0.0)

    @property
    def idle(self) -> bool:
        """Whether it drives nothing."""
        return not self._driven

    def run(self) -> None:
        while not self._stopped.is_set() and not self._is_gone():
            try:
                self.look()
                run_records.wait_for_wake(self._link, self._environment, _LOOK_SECONDS)
            except BrokerError:
                self._stopped.wait(_LOOK_SECONDS)
            except Exception as error:  # no thread, no memory: nobody else would drive while this process lives
                logger().error("driver_failed", environment=self._environment, error=repr(error))
                self._stopped.wait(_LOOK_SECONDS)
        self._link.close()

    def take_all(self) -> None:
        """No other driver lives: nobody has the lead of any run."""
        for run_id in run_records.open_runs(self._link, self._environment):
            run_records.leave_lead(self._link, run_id)

    def look(self) -> None:
        """Drives what is open and nobody drives. Raises `BrokerError`, of the last run that could not be driven."""
        self._driven = {run_id: run for run_id, run in self._driven.items() if not run.over}
        refused: BrokerError | None = None
        for run_id in run_records.open_runs(self._link, self._environment):
            if run_id not in self._driven and not self._stopped.is_set():
                try:
                    self._try(run_id)
                except BrokerError as error:  # of this run, perhaps, and of no other
                    logger().warning("run_left", run=run_id, error=str(error))
                    refused = error
        if refused is not None:
            raise refused

    def stop(self) -> None:
        """Lets go of all runs."""
        self._stopped.set()
        for run in list(self._driven.values()):
            run.stop()
        if self.is_alive() and threading.current_thread() is not self:
            self.join(2 * _LOOK_SECONDS)

    def _try(self, run_id: str) -> None:
        record = None
        try:
            record = run_records.run_record(self._link, run_id)
            if record is None or record.state != "running":
                run_records.forget_open_run(self._link, self._environment, run_id)
            elif self._refused.get(run_id) != record.created:
                run = DrivenRun(self.url, run_id, record)
                if not run.over:
                    self._driven[run_id] = run
                    if self._stopped.is_set():  # meanwhile
                        run.stop()
        except WrongTypeError as error:  # somebody has written to its keys: no driver can go on
            self._refuse(run_id, record, error)
            if record is not None:
                with contextlib.suppress(ActorqError):  # its readers find the same
                    kept = Plan.of(record.environment, run_id, record.plan).result_ttl
                    running.end(
                        self._link, running.by_person(record.environment, run_id), "failed", _packed(error), kept
                    )
        except BrokerError:
            raise
        except ActorqError as error:  # its plan is not signed, or of another version
            self._refuse(run_id, record, error)

    def _refuse(self, run_id: str, record: run_records.RunRecord | None, error: ActorqError) -> None:
        """Says so once; a later run of that name is another one."""
        created = None if record is None else record.created
        if run_id not in self._refused or self._refused[run_id] != created:
            logger().error("run_refused", run=run_id, error=str(error))
        self._refused[run_id] = created


def _packed(error: BaseException) -> bytes:
    """Why a run has ended, for its readers."""
    return bytes(msgpack.packb(failure.describe(error)))
