"""Pools that tasks of this program's own replicas ask for.

A task may map over, or call, a task of another environment. Where the replicas are local nobody else serves that one,
and a replica must not start a pool of its own, which would end with it and be there once for each. The one idea: *the
program that owns the server starts it*, once for all who ask. They ask through the server, which is private to the
program and its replicas.
"""

from __future__ import annotations

import contextlib
import importlib
import threading
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

import msgpack

from actorq.broker import records
from actorq.broker.link import Link
from actorq.declare.environment import ActorEnvironment, Environment
from actorq.errors import ActorqError, BrokerError, PoolError
from actorq.maps.remote import RemotePool

if TYPE_CHECKING:
    from actorq.broker.client import Client
    from actorq.runtime.local import LocalPool

#: one wait for somebody who asks lasts this long, seconds; then pools that were asked for are looked at
_WAIT_SECONDS = 1


class WantedPool(RemotePool):
    """Replicas that the program which this process belongs to starts, seen from one of its replicas."""

    def __init__(self, environment: ActorEnvironment, client: Client) -> None:
        super().__init__(environment.name, client.url)
        self._client = client
        self._ask(environment)

    def check(self, live: int) -> None:
        """Raises `PoolError` where the program could not start them."""
        if not live:
            with self._client.lent() as link:
                trouble = records.trouble(link, self._environment)
            if trouble:
                raise PoolError(trouble)
        super().check(live)

    def _ask(self, environment: ActorEnvironment) -> None:
        if self.is_own:
            return
        with self._client.lent() as link:
            if not records.replica_count(link, environment.name):
                records.wish(link, msgpack.packb([environment.name, sorted(environment.modules)]))


class Wishes(threading.Thread):
    """Starts what replicas ask for, in a thread of its own, as long as the server lives.

    Args:
        url: the server of this program.
        start: starts the replicas of an environment, if they do not run already.
    """

    def __init__(self, url: str, start: Callable[[ActorEnvironment], LocalPool]) -> None:
        super().__init__(name="actorq.wishes", daemon=True)
        self._url = url
        self._start_pool = start
        self._pools: dict[str, LocalPool] = {}

    def run(self) -> None:
        link = Link(self._url, patience=0.0)
        with contextlib.suppress(BrokerError):  # the server has ended, and this with it
            while True:
                if (wish := records.next_wish(link, _WAIT_SECONDS)) is not None:
                    name, modules = msgpack.unpackb(wish)
                    self._trying(link, name, partial(self._grant, name, modules))
                for name, pool in list(self._pools.items()):
                    self._trying(link, name, pool.check)
        link.close()

    def _trying(self, link: Link, name: str, action: Callable[[], None]) -> None:
        """Does it, and lets those who wait know why it cannot be done."""
        try:
            action()
        except BrokerError:
            raise
        except (ActorqError, ImportError) as error:
            self._pools.pop(name, None)
            records.tell_trouble(link, name, str(error))

    def _grant(self, name: str, modules: list[str]) -> None:
        if not Environment.of(name):
            for module in modules:  # that the task has imported in its replica
                importlib.import_module(module)
        self._pools[name] = self._start_pool(ActorEnvironment.declared(name))
