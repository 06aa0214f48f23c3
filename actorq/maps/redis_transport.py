"""The transport of a map over Redis.

Two connections, since a connection that waits for frames (`XREAD BLOCK`) cannot submit: replicas must be fed while a
long lease runs. A pipe wakes the wait when the consumer made room.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Sequence
from typing import Any

from redis.exceptions import RedisError

from actorq.base.waiting import Waker, ready
from actorq.base.warned import warn
from actorq.broker import blobs, keys, scripts
from actorq.broker.client import Client
from actorq.broker.commands import Argument, Command, iso_now
from actorq.broker.link import Store
from actorq.broker.refusals import ServerFullError
from actorq.broker.stream import after, parse_reports, submit_keys
from actorq.code.bundle import Courier
from actorq.declare.map_options import MapOptions
from actorq.errors import BrokerError, DeclarationError
from actorq.maps.pools import Pool, no_replica_free
from actorq.maps.share import Share
from actorq.wire import codec, failure
from actorq.wire.lease import NONE_RAN, Counters, GivenUp, Lease, Lost, Report
from actorq.wire.messages import Heads, Parts
from actorq.wire.seal import seal

#: one XREAD waits this long on the server; then it is asked again
_BLOCK_SECONDS = 5.0
#: without an answer for so much longer the connection is taken for one that went silent, seconds
_SILENT_SECONDS = 5.0
#: pause before a full server is asked again, seconds
_FULL_PAUSE = 0.25
#: a server that is full for so long is worth a word to the user, seconds
_FULL_WARN_AFTER = 3.0
#: seconds to try an unreachable server when the map ends
_LAST_PATIENCE = 1.0
#: how long the names of the replicas are believed, seconds
_NAMES_SECONDS = 1.0
#: indexes that dashboards show of a lease whose inputs are not consecutive; of the others the number
_SHOWN = 8
#: frames taken at once
_COUNT = 64


class RedisTransport:
    """Leases of one map, through one server."""

    prompt = True

    def __init__(
        self, client: Client, map_id: str, owner: str, options: MapOptions, *, lease_seconds: float, pool: Pool
    ) -> None:
        self._owner = owner
        self._pool = pool
        self._at_least = pool.replicas
        self.replicas = self._at_least
        self._client = client
        self._map_id = map_id
        self._name = map_id.encode()
        self._env = options.environment
        self._heads = Heads(options.head)
        self._task = options.head.task
        self._lease_seconds = lease_seconds
        self._submit, self._reader = client.borrow(), client.borrow()
        self._keys = submit_keys(map_id, self._env)
        # `beat` renews the map; the first submission sets its TTL
        self._offer = Command.of(scripts.SUBMIT, self._keys, *keys.prefix(self._env), "", lease_seconds)
        self._reading = False
        self._asked = 0.0  # when it last was, monotonic seconds
        self._read = Command("XREAD", "COUNT", _COUNT, "BLOCK", int(_BLOCK_SECONDS * 1000), "STREAMS", keys.out(map_id))
        self._last = b"0-0"
        self._trim = b""
        self._waker = Waker()
        self._suspects: set[str] = set()
        self._started = time.time()
        self._code = Courier(options.bundle)
        self._code.bring(self._submit)
        self._full_since: float | None = None
        self._told_full = False
        self._names: tuple[str, ...] = ()
        self._names_until = 0.0

    # -- Transport -----------------------------------------------------------------------------------------------------

    def offer(self, leases: Sequence[Lease], *, beside: int, share: Share) -> int:
        # what runs is counted before it is measured: as many leases as there are replicas, at most
        served = share.standing.served + min(beside, self.replicas) * share.standing.cost
        args = [iso_now(), self._trim, b"1" if self._pool.is_own else b"", self._name, self._owner.encode()]
        args.append(b"%.6f" % served)
        stores: list[Store] = []
        for lease in leases:
            parts = self._sealed(lease)
            payload, store = blobs.send(parts, lease.id, lives=keys.LEASE_TTL_SECONDS)
            stores += store
            where = lease.replica.encode() or (b"1" if lease.front else b"")
            described = describe_lease(self._task, lease).encode()
            args += (b"%d" % lease.serial, lease.id.encode(), described, where, payload)
        try:
            live, accepted = self._submit.call_packed(scripts.SUBMIT, self._offer.packed(*args), stores, full=False)
        except ServerFullError as error:
            self._bear_full(error, alone=not beside, pause=_FULL_PAUSE)
            return 0
        if live < 0:
            raise DeclarationError(f"map_id {self._map_id!r} is in use by another map: choose another one.")
        self._full_since = None
        self._trim = b""
        self.replicas = max(int(live), self._at_least)
        if accepted < len(leases):
            unused = [store.key for store in stores if store.key in {keys.blob(le.id) for le in leases[accepted:]}]
            if unused:
                self._submit.command("UNLINK", *unused)
            if accepted == 0 and not beside:
                raise no_replica_free(self._env)
        return int(accepted)

    def names(self) -> Sequence[str]:
        now = time.monotonic()
        if self._pool.is_own:  # a call to the own environment goes to whoever is free
            return ()
        if now >= self._names_until:
            # a record that nobody has renewed for a lease is that of a replica whose supervisor has vanished
            least = keys.worker_ttl(self._lease_seconds) - self._lease_seconds
            found = self._submit.call(scripts.REPLICAS, [], [*keys.prefix(self._env), least])
            self._names = tuple(sorted(name.decode() for name in found))
            complete = len(self._names) >= self._at_least
            self._names_until = now + (_NAMES_SECONDS if complete else _NAMES_SECONDS / 50)
        return self._names

    def recall(self, leases: Sequence[Lease]) -> list[Lease]:
        args: list[Argument] = [*keys.prefix(self._env), *(lease.id for lease in leases)]
        taken = {lease.decode() for lease in self._submit.call(scripts.RECALL, [], args)}
        return [lease for lease in leases if lease.id in taken]

    def wait(self, timeout: float, *, expecting: bool) -> list[Report]:
        if not expecting and not self._reading:
            if ready([self._waker], timeout):
                self._waker.clear()
            return []
        if not self._reading:
            self._ask()
        if not self._reader.has_reply():
            found = ready([self._reader, self._waker], timeout)
            if self._waker.fileno() in found:
                self._waker.clear()
            if self._reader.fileno() not in found:
                if time.monotonic() - self._asked > _BLOCK_SECONDS + _SILENT_SECONDS:
                    self._forget_reader()
                return []
        return self._receive()

    def beat(self, outstanding: Sequence[Lease], counters: Counters, share: Share) -> list[Report]:
        reply = self._check(counters, share, [lease.id for lease in outstanding])
        live, missing = int(reply[0]), {item.decode() for item in reply[2:]}
        self.replicas = max(live, self._at_least)
        self._pool.check(live)
        # A lease without a job has finished, its frame on the way to us, or has vanished. Only a second look tells, and
        # only if nothing lies in the stream that we have not read: the reader may be silent.
        vanished, self._suspects = self._suspects & missing, missing
        if not vanished:
            return []
        if reports := self._read_past_reader():
            return reports
        self._suspects = missing - vanished
        self._submit.call(scripts.RECALL, [], [*keys.prefix(self._env), *vanished])
        self._submit.command("UNLINK", *(key for lease in vanished for key in (keys.job(lease), keys.blob(lease))))
        return [
            Lost(lease=lease, reason="vanished from the server", position=NONE_RAN, replica="?") for lease in vanished
        ]

    def finish(self, outstanding: Sequence[Lease]) -> None:
        try:
            if self._reading:
                self._reader.drop()
                self._reading = False
            args: list[Argument] = [*keys.prefix(self._env), self._owner, self._map_id]
            args += [lease.id for lease in outstanding]
            self._submit.call(scripts.CLOSE, self._keys, args)
        finally:
            self._client.give_back(self._submit)
            self._client.give_back(self._reader)
            self._waker.close()

    def hurry(self) -> None:
        for link in (self._submit, self._reader):
            link.hurry(min(_LAST_PATIENCE, self._client.patience))

    def wake(self) -> None:
        self._waker.wake()

    def record(self, given_up: Sequence[GivenUp]) -> None:
        args: list[Argument] = [*keys.prefix(self._env), iso_now()]
        for each in given_up:
            failed, head = f"{each.lease}-{each.index}", self._heads.of(final=True)
            payload = b"".join(seal(self._env, failed, head, codec.join_list([each.input])))
            description = f"{self._task}: {each.reason}"
            kept = payload if len(payload) < blobs.LARGE_BYTES else b""
            args += (failed, description, failure.registered(each.reason), kept, each.replica)
        with contextlib.suppress(BrokerError):  # for operators; the caller gets its errors either way
            self._submit.call(scripts.FAIL, [], args)

    # -- parts ---------------------------------------------------------------------------------------------------------

    def _check(self, counters: Counters, share: Share, leases: Sequence[str]) -> Any:
        """A heartbeat: the reply of check.lua. Whose it is, and how far the map is, for `actorq status`."""
        standing = share.standing
        args: list[Argument] = [
            *(*keys.prefix(self._env), keys.MAP_TTL_SECONDS, self._owner, self._map_id, self._last),
            *(standing.served, standing.cost, share.take_untold() or 0),
            5,
            *("task", self._task),
            *("started", f"{self._started:.3f}"),
            *("total", "" if counters.total is None else counters.total),
            *("done", counters.succeeded + counters.failed),
            *("failed", counters.failed),
            *leases,
        ]
        reply = self._submit.call(scripts.CHECK, self._keys, args)
        if not reply[1]:  # the server has forgotten what was read: its stream begins anew
            self._last, self._trim = b"0-0", b""
            self._forget_reader()
        self._code.bring(self._submit, anew=not reply[1])  # nor has it the code
        return reply

    def _bear_full(self, error: ServerFullError, *, alone: bool, pause: float) -> None:
        """A full server has refused an offer: waits a moment, or raises that where nothing of ours will make room."""
        now = time.monotonic()
        if self._full_since is None:
            self._full_since, self._told_full = now, False
        full_for = now - self._full_since
        if alone and full_for > self._client.patience:
            raise error
        if full_for > _FULL_WARN_AFTER and not self._told_full:
            self._told_full = True
            warn(f"{error} The map waits for room.")
        time.sleep(pause)

    def _ask(self) -> None:
        self._reader.ask(self._read.packed(self._last))
        self._reading, self._asked = True, time.monotonic()

    def _receive(self) -> list[Report]:
        self._reading = False
        try:
            reply = self._reader.read()
        except RedisError as error:  # asked again; nothing read was forgotten, the stream keeps it
            self._reader.bear(error)
            return []
        self._reader.answered()
        return self._reports(reply)

    def _forget_reader(self) -> None:
        """What comes is read over a new connection, from the last id on."""
        self._reader.drop()
        self._reading = False

    def _read_past_reader(self) -> list[Report]:
        """What lies in the stream and the reader has not told, over the connection that has just been answered."""
        reports = self._reports(self._submit.command("XREAD", "COUNT", _COUNT, "STREAMS", self._keys[1], self._last))
        if reports:
            self._forget_reader()  # what it would tell now is known
        return reports

    def _reports(self, reply: Any) -> list[Report]:
        """What a read of the stream has brought."""
        if not reply:
            return []
        entries = reply[0][1]
        self._last = entries[-1][0]
        self._trim = after(self._last)
        return parse_reports(entries, self._submit, self._env)

    def _sealed(self, lease: Lease) -> Parts:
        """The payload of a lease."""
        head = self._heads.of(final=lease.last_try, alone=lease.alone)
        return seal(self._env, lease.id, head, lease.inputs)


def describe_lease(task: str, lease: Lease) -> str:
    """What dashboards show for a lease: the task and the inputs."""
    lo, count = lease.indexes[0], lease.count
    if count == 1 or isinstance(lease.indexes, range):
        return f"{task}[{lo}:{lo + count}]"
    return f"{task}[{','.join(map(str, lease.indexes[:_SHOWN]))}{f'+{count - _SHOWN}' if count > _SHOWN else ''}]"
