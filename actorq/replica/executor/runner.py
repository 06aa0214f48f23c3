"""What an executor and the way in which its inputs run have to do with each other.

    Executor: takes leases, commits results, hears the supervisor ──▶ Runner: makes a `Run` of each lease

There are three ways: `direct.py`, one input after the other in the executor's own thread; `forked.py`, each in a child;
`concurrent.py`, on an event loop beside those of other leases.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from actorq.broker.link import Link
from actorq.replica.executor.preparing import PreparedMaps
from actorq.replica.executor.process import Process
from actorq.replica.executor.run import Prepared, Run
from actorq.replica.executor.watched import Watched
from actorq.replica.pages import Page
from actorq.replica.spec import ExecutorSpec


@dataclass(frozen=True, kw_only=True)
class Lent:
    """What an executor lends to its runner."""

    spec: ExecutorSpec
    #: its name as an RQ worker
    worker: str
    #: its page
    page: Page
    #: its connection, on which the wait for mail is sent
    link: Link
    #: the same, when it waits for no reply
    free_link: Callable[[], Link]
    watched: Watched
    #: to be called in the thread of the executor when the supervisor has asked for something; may raise `Stop`
    on_wake: Callable[[], None]


class Runner(Protocol):
    """One way in which inputs run."""

    #: the executor may hold a lease while it runs another one
    looks_ahead: bool
    #: where it runs
    process: Process
    #: what it can run
    maps: PreparedMaps

    def begin(self) -> None:
        """All that the process holds is loaded; leases may come."""

    def end(self) -> None:
        """No lease will come any more."""

    def prepare(self, head: bytes) -> Prepared:
        """What runs the leases with this head. May wait until a lease of theirs may run."""

    def run_of(self, prepared: Prepared, packed: memoryview) -> Run:
        """A lease, ready to run. `packed`: its inputs."""

    def lease_ended(self) -> None:
        """It has run, or could not be prepared."""

    def read_mail(self) -> Any:
        """The answer to the wait on the mailbox. `on_wake` raises out of it when the replica drains."""

    @property
    def wants_rest(self) -> bool:
        """It has something to do before it may be handed a lease."""

    def rest(self) -> bool:
        """There is nothing to run now. Returns whether the replica has to say that it is idle, since it was not."""
