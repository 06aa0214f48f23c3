"""The transport of a map over Redis.

Two connections, since a connection that waits for frames (`XREAD BLOCK`) cannot submit: replicas must be fed while a
long lease runs. A pipe wakes the wait when the consumer made room.
"""

from __future__ import annotations

import os
import select
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from redis.exceptions import RedisError

from actorq.broker import blobs, keys, scripts
from actorq.broker.client import Client
from actorq.broker.wire import Argument, Link, ServerFullError, Store
from actorq.clock import iso_now
from actorq.errors import CodecError, PoolError
from actorq.frames import join_parts, parse_frame
from actorq.maps.ledger import Lease
from actorq.maps.options import MapOptions
from actorq.maps.transport import HandedBack, Lost, Report, Results
from actorq.pool.local import LocalPool

#: one XREAD waits this long on the server; then it is asked again
_BLOCK_SECONDS = 5.0
#: frames taken at once
_COUNT = 64


class RedisTransport:
    """Leases of one map, through one server."""

    def __init__(
        self, client: Client, map_id: str, options: MapOptions, *, lease_seconds: float, pool: LocalPool | None
    ) -> None:
        self._pool = pool
        self._at_least = pool.replicas if pool else 1
        self.replicas = self._at_least
        self._client = client
        self._map_id = map_id
        self._env = options.environment
        # two heads, since only a failure that is final belongs into RQ's registry
        self._heads = {final: replace(options.head, record=final).packed() for final in (False, True)}
        self._task = options.head.task
        self._lease_seconds = lease_seconds
        self._submit, self._reader = client.borrow(), client.borrow()
        self._reading = False
        self._last = "0-0"
        self._trim = ""
        self._wake_read, self._wake_write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._suspects: set[str] = set()
        self._full_since: float | None = None

    # -- Transport -----------------------------------------------------------------------------------------------------

    def offer(self, leases: Sequence[Lease]) -> int:
        args = self._submit_args()
        stores: list[Store] = []
        for lease in leases:
            parts = join_parts(self._heads[lease.last_try], lease.inputs)
            payload, store = blobs.send(keys.blob(lease.id), parts, lives=keys.LEASE_TTL_SECONDS)
            stores += store
            args += (lease.serial, lease.id, describe_lease(self._task, lease), "1" if lease.front else "", payload)
        try:
            live, accepted = self._submit.call(scripts.SUBMIT, self._map_keys(), args, stores)
        except ServerFullError:
            if not self._reading and len(leases) and self._full_for() > self._client.patience:
                raise
            return 0
        self._full_since = None
        self._trim = ""
        self.replicas = max(int(live), self._at_least)
        if accepted < len(leases) and self._client.nested_in(self._env) and not self._reading and accepted == 0:
            raise PoolError(
                f"A task of environment {self._env!r} maps over its own environment, and no replica is free: it would "
                "wait for itself. Use another environment for the inner work, or more replicas."
            )
        return int(accepted)

    def wait(self, timeout: float, *, expecting: bool) -> list[Report]:
        if not expecting and not self._reading:
            self._sleep([self._wake_read], timeout)
            return []
        if not self._reading:
            self._ask()
        if not self._reader.has_reply():
            ready = self._sleep([self._reader, self._wake_read], timeout)
            if self._reader not in ready:
                return []
        return self._receive()

    def beat(self, outstanding: Sequence[Lease]) -> list[Report]:
        args: list[Argument] = [
            *self._client.prefix(self._env),
            keys.MAP_TTL_SECONDS,
            *(lease.id for lease in outstanding),
        ]
        reply = self._submit.call(scripts.CHECK, self._map_keys(), args)
        live, missing = int(reply[0]), {item.decode() for item in reply[2:]}
        self.replicas = max(live, self._at_least)
        if self._pool is not None:
            self._pool.check()
        else:
            self._client.watch(self._env, live)
        # A lease without a job has finished, its frame on the way to us, or has vanished: only the second look tells.
        vanished = self._suspects & missing
        self._suspects = missing - vanished
        return [Lost(lease=lease, reason="vanished from the server", position=None, replica="?") for lease in vanished]

    def finish(self, outstanding: Sequence[Lease]) -> None:
        try:
            if self._reading:
                self._reader.drop()
                self._reading = False
            args: list[Argument] = [*self._client.prefix(self._env), *(lease.id for lease in outstanding)]
            self._submit.call(scripts.CLOSE, self._map_keys(), args)
        finally:
            self._client.give_back(self._submit)
            self._client.give_back(self._reader)
            write, self._wake_write = self._wake_write, -1
            os.close(write)
            os.close(self._wake_read)

    def wake(self) -> None:
        write = self._wake_write
        if write >= 0:
            try:
                os.write(write, b"\0")
            except OSError:  # full: it is awake already; closed: the map is over
                return

    # -- parts ---------------------------------------------------------------------------------------------------------

    def _map_keys(self) -> list[str]:
        return submit_keys(self._map_id, self._env)

    def _submit_args(self) -> list[Argument]:
        only_idle = "1" if self._client.nested_in(self._env) else ""
        prefix = self._client.prefix(self._env)
        # `beat` renews the map; the first submission sets its TTL
        return [*prefix, "", self._lease_seconds, iso_now(), self._trim, only_idle, self._map_id]

    def _full_for(self) -> float:
        import time

        now = time.monotonic()
        if self._full_since is None:
            self._full_since = now
        return now - self._full_since

    def _sleep(self, sources: list[Any], timeout: float) -> list[Any]:
        ready, _, _ = select.select(sources, [], [], timeout)
        if self._wake_read in ready:
            try:
                while os.read(self._wake_read, 4096):
                    pass
            except BlockingIOError:
                pass
        return ready

    def _ask(self) -> None:
        self._reader.connect()
        block = int(_BLOCK_SECONDS * 1000)
        self._reader.send(["XREAD", "COUNT", _COUNT, "BLOCK", block, "STREAMS", keys.out(self._map_id), self._last])
        self._reading = True

    def _receive(self) -> list[Report]:
        self._reading = False
        try:
            reply = self._reader.read()
        except RedisError:  # asked again over a new connection; nothing read was forgotten, the stream keeps it
            self._reader.drop()
            return []
        if not reply:
            return []
        entries = reply[0][1]
        self._last = entries[-1][0].decode()
        self._trim = after(self._last)
        return [parse_report(entry[1], self._submit) for entry in entries]


def submit_keys(map_id: str, env: str) -> list[str]:
    """The keys of submit.lua; the first two are those of check.lua and close.lua."""
    return [keys.map_(map_id), keys.out(map_id), keys.QUEUES, keys.queue(env), keys.workers(env), keys.SUSPENDED]


def after(entry_id: str) -> str:
    """The least stream id after `entry_id`."""
    milliseconds, _, number = entry_id.partition("-")
    return f"{milliseconds}-{int(number) + 1}"


def parse_report(fields: list[bytes], link: Link) -> Report:
    """A stream entry as a report; the layouts are at the head of `lua/_lib.lua`. `link` fetches a large frame."""
    lease, kind, value = fields[1].decode(), fields[2], fields[3]
    if kind == b"f":
        try:
            return Results(lease=lease, frame=parse_frame(blobs.receive(link, value)))
        except CodecError as error:
            return Lost(lease=lease, reason=str(error), position=None, replica="?")
    if kind == b"c":
        return HandedBack(lease=lease, end=int(value))
    position = int(fields[5]) if fields[5] else None
    return Lost(lease=lease, reason=value.decode(), position=position, replica=fields[7].decode())


def describe_lease(task: str, lease: Lease) -> str:
    """What dashboards show for a lease: the task and the inputs."""
    return f"{task}[{lease.lo}:{lease.lo + lease.count}]"
