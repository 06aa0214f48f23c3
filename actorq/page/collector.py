"""Looks at the server once a second, in a thread of its own, for all who read the page.

The one idea: the number of readers costs the server nothing. Readers draw the last `Look`, which never changes; where
the server does not answer they see the last one that there was, and how old it is.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from actorq.base.log import logger
from actorq.base.masking import masked, printable
from actorq.broker import records
from actorq.broker.link import Link
from actorq.broker.refusals import NotPermittedError, WrongTypeError
from actorq.errors import ActorqError
from actorq.monitor import doctor
from actorq.monitor.doctor import Facts
from actorq.monitor.model import EnvironmentView
from actorq.monitor.runs import RunView, runs
from actorq.monitor.view import environments
from actorq.page.history import History

#: pause between two looks, seconds; a look that takes long makes it longer, so that it takes half of the time at most
_PAUSE = 1.0
#: what is read less often, and how often, seconds: runs take some questions each, the server's facts one a replica
_RUNS_EVERY, _FACTS_EVERY = 5.0, 15.0
#: runs are looked at for a twentieth of the time at most
_RUNS_SHARE = 20
#: the server is given so long for an answer, seconds
_REPLY_SECONDS = 5.0
#: the end waits so long for a look, which a silent server may hold; the thread goes with the process, seconds
_END_SECONDS = 0.5


@dataclass(frozen=True, kw_only=True)
class Look:
    """What was seen at one time."""

    #: grows with each look, also with one that found nobody
    serial: int = 0
    #: Unix seconds of the last answer; None before the first
    at: float | None = None
    environments: Sequence[EnvironmentView] = ()
    #: those that go on and those that ended, None before the first answer
    runs: Sequence[RunView] | None = None
    facts: Facts | None = None
    #: seconds for which all queues are suspended, -1 for good, None where they are not
    suspended: int | None = None
    #: why the server does not answer, "" where it does
    error: str = ""
    #: what of the runs cannot be read, "" for nothing
    problem: str = ""


@dataclass
class Collector:
    """Starts with `start`; `close` ends it.

    Args:
        url: the server.
        told: called after each look, in the thread that looks.
    """

    url: str
    told: Callable[[], None] = lambda: None
    history: History = field(default_factory=History)

    def __post_init__(self) -> None:
        self._look = Look()
        self._ended = threading.Event()
        self._wanted = threading.Event()
        self._link: Link | None = None
        self._runs_due = self._facts_due = 0.0
        self._thread: threading.Thread | None = None

    @property
    def look(self) -> Look:
        """The last one. Any thread may ask."""
        return self._look

    def start(self) -> None:
        self._thread = threading.Thread(target=self._run, name="monitor-looks", daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._ended.set()
        self._wanted.set()
        if (link := self._link) is not None:
            link.hurry(0.1)
        if self._thread is not None:
            self._thread.join(_END_SECONDS)

    def hurry(self) -> None:
        """Something was changed just now: look at once, at the runs too."""
        self._runs_due = 0.0
        self._wanted.set()

    def _run(self) -> None:
        while not self._ended.is_set():
            begin = time.monotonic()
            self.take()
            self._wanted.wait(max(_PAUSE, time.monotonic() - begin))
            self._wanted.clear()
        self._drop()

    def take(self) -> Look:
        """Looks once."""
        now = time.monotonic()
        try:
            if self._link is None:
                self._link = Link(self.url, patience=0.0, reply_timeout=_REPLY_SECONDS)
            look = self._seen(self._link, now)
        except ActorqError as error:
            self._drop()
            look = replace(self._look, serial=self._look.serial + 1, error=printable(masked(str(error))))
        except Exception as error:  # of ours, at a record that nobody has thought of: the next look may be better
            self._runs_due = 0.0
            told = printable(masked(f"{type(error).__name__}: {error}"))
            if told not in self._look.problem:  # once, not every second
                logger().exception("look_failed")
            look = replace(
                self._look, serial=self._look.serial + 1, problem=f"A look failed, and so these data are old. {told}"
            )
        else:
            self.history.add(now, look.environments)
        self._look = look
        self.told()
        return look

    def _seen(self, link: Link, now: float) -> Look:
        last = self._look
        found = environments(link)
        told, facts = last.runs, last.facts
        problem = last.problem
        if now >= self._runs_due:
            told, problem = _runs(link, told)
            took = time.monotonic() - now
            self._runs_due = now + max(_RUNS_EVERY, _RUNS_SHARE * took)
        if now >= self._facts_due:
            facts = _facts(link) or facts
            self._facts_due = now + _FACTS_EVERY
        return Look(
            serial=last.serial + 1,
            at=time.time(),
            environments=found,
            runs=told,
            facts=facts,
            suspended=records.suspended_for(link),
            problem=problem,
        )

    def _drop(self) -> None:
        """A connection that failed is no use any more, and an address may lead elsewhere next time."""
        if self._link is not None:
            self._link.close()
            self._link = None


def _runs(link: Link, last: Sequence[RunView] | None) -> tuple[Sequence[RunView] | None, str]:
    """The runs, and what is wrong with them: one that somebody has written over must not hide everything else."""
    try:
        return runs(link), ""
    except (WrongTypeError, ValueError, TypeError, LookupError) as error:
        return last, f"The runs cannot be read: {printable(masked(str(error)))}"


def _facts(link: Link) -> Facts | None:
    """None where this login may not ask: the page has no health to show then."""
    try:
        return doctor.look(link)
    except (NotPermittedError, WrongTypeError, ValueError, TypeError):
        return None
