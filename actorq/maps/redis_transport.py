"""The transport of a map to warm replicas: through one server, by its scripts.

A pipe wakes the wait for results when the consumer made room, since replicas must be fed while a long lease runs.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Sequence

from actorq.broker import blobs, keys, records
from actorq.broker.client import Client
from actorq.broker.link import Store
from actorq.broker.refusals import ServerFullError
from actorq.broker.scripts import submitting
from actorq.broker.scripts.submitting import Failed, MapOffers, Offered
from actorq.declare.map_options import MapOptions
from actorq.errors import BrokerError
from actorq.maps.pools import Pool, no_replica_free
from actorq.maps.presence import Presence
from actorq.maps.share import Share
from actorq.wire import codec, failure
from actorq.wire.lease import NONE_RAN, Counters, GivenUp, Lease, Lost, Report, first_index
from actorq.wire.seal import seal

#: pause before a full server is asked again, seconds
_FULL_PAUSE = 0.25
#: how long the names of the replicas are believed, seconds
_NAMES_SECONDS = 1.0
#: indexes that dashboards show of a lease whose inputs are not consecutive; of the others the number
_SHOWN = 8


class RedisTransport:
    """Leases of one map, through one server."""

    prompt = True

    def __init__(
        self, client: Client, map_id: str, owner: str, options: MapOptions, *, lease_seconds: float, pool: Pool
    ) -> None:
        self._map = Presence(client, map_id, owner, options)
        self._link = self._map.link
        self._environment = options.environment
        self._pool = pool
        self._at_least = pool.replicas
        self.replicas = self._at_least
        self._lease_seconds = lease_seconds
        self._offers = MapOffers(self._environment, map_id, owner, lease_seconds)
        self._suspects: set[str] = set()
        self._names: tuple[str, ...] = ()
        self._names_until = 0.0

    # -- Transport -----------------------------------------------------------------------------------------------------

    def offer(self, leases: Sequence[Lease], *, beside: int, share: Share) -> int:
        # what runs is counted before it is measured: as many leases as there are replicas, at most
        served = share.standing.served + min(beside, self.replicas) * share.standing.cost
        offered, stores = [], list[Store]()
        for lease in leases:
            payload, store = blobs.send_payload(self._map.sealed(lease), lease.id, self._link)
            stores += store
            where = lease.replica or ("1" if lease.front else "")
            offered.append(Offered(lease.serial, lease.id, describe_lease(self._map.task, lease), where, payload))
        position = self._map.stream.position
        try:
            accepted = self._offers.send(
                self._link,
                offered,
                stores,
                read_until=position.read_until,
                only_idle=self._pool.is_own,
                served=served,
            )
        except ServerFullError as error:
            blobs.forget_payloads([lease.id for lease in leases], self._link)
            self._map.bear_full(error, alone=not beside, pause=_FULL_PAUSE)
            return 0
        if accepted is None:
            raise self._map.taken()
        self._map.has_room()
        position.dropped()
        self.replicas = max(accepted.replicas, self._at_least)
        if accepted.leases < len(leases):
            refused = {keys.blob(lease.id) for lease in leases[accepted.leases :]}
            blobs.forget_payloads([lease.id for lease in leases[accepted.leases :]], self._link)
            if unused := [store.key for store in stores if store.key in refused]:
                records.drop(self._link, unused)
            if accepted.leases == 0 and not beside:
                raise no_replica_free(self._environment)
        return accepted.leases

    def names(self) -> Sequence[str]:
        now = time.monotonic()
        if self._pool.is_own:  # a call to the own environment goes to whoever is free
            return ()
        if now >= self._names_until:
            # a record that nobody has renewed for a lease is that of a replica whose supervisor has vanished
            self._names = tuple(sorted(submitting.replicas(self._link, self._environment, self._lease_seconds)))
            complete = len(self._names) >= self._at_least
            self._names_until = now + (_NAMES_SECONDS if complete else _NAMES_SECONDS / 50)
        return self._names

    def recall(self, leases: Sequence[Lease]) -> list[Lease]:
        taken = submitting.recall(self._link, self._environment, [lease.id for lease in leases])
        return [lease for lease in leases if lease.id in taken]

    def wait(self, timeout: float, *, expecting: bool) -> list[Report]:
        return self._map.stream.wait(timeout, self._map.waker, expecting=expecting)

    def beat(self, outstanding: Sequence[Lease], counters: Counters, share: Share) -> list[Report]:
        found = self._map.check(counters, share, [lease.id for lease in outstanding])
        self.replicas = max(found.replicas, self._at_least)
        self._pool.check(found.replicas)
        # A lease without a job has finished, its frame on the way to us, or has vanished. Only a second look tells, and
        # only if nothing lies in the stream that we have not read: the reader may be silent.
        vanished, self._suspects = self._suspects & found.missing, found.missing
        if not vanished:
            return []
        if reports := self._map.stream.read_past():
            return reports
        self._suspects = found.missing - vanished
        submitting.recall(self._link, self._environment, vanished)
        records.drop_leases(self._link, vanished)
        return [
            Lost(lease=lease, reason="vanished from the server", position=NONE_RAN, replica="?") for lease in vanished
        ]

    def finish(self, outstanding: Sequence[Lease]) -> None:
        self._map.finish(outstanding)

    def hurry(self) -> None:
        self._map.hurry()

    def wake(self) -> None:
        self._map.waker.wake()

    def record(self, given_up: Sequence[GivenUp]) -> None:
        failed = []
        for each in given_up:
            name, head = f"{each.lease}-{_position(each)}", self._map.heads.of(final=True)
            payload = b"".join(seal(self._environment, name, head, codec.join_list([each.input])))
            kept = payload if len(payload) < blobs.LARGE_BYTES else b""
            description = f"{self._map.task}: {each.reason}"
            failed.append(Failed(name, description, failure.registered(each.reason), kept, each.replica))
        with contextlib.suppress(BrokerError):  # for operators; the caller gets its errors either way
            submitting.fail(self._link, self._environment, failed)


def _position(given_up: GivenUp) -> int:
    """Of the input in its lease; its index where the lease's id does not tell that of the first."""
    try:
        return given_up.index - first_index(given_up.lease)
    except ValueError:
        return given_up.index


def describe_lease(task: str, lease: Lease) -> str:
    """What dashboards show for a lease: the task and the inputs."""
    lo, count = lease.indexes[0], lease.count
    if count == 1 or isinstance(lease.indexes, range):
        return f"{task}[{lo}:{lo + count}]"
    return f"{task}[{','.join(map(str, lease.indexes[:_SHOWN]))}{f'+{count - _SHOWN}' if count > _SHOWN else ''}]"
