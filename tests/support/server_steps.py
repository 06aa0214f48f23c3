"""What a submitter and replicas ask of the server, step by step, without being processes."""

from __future__ import annotations

from typing import Any

import redis

from actorq.broker import keys
from actorq.broker.commands import iso_now
from actorq.broker.link import Link
from actorq.broker.scripts import serving, submitting
from actorq.broker.scripts.serving import GO_ON, GO_ON_AND_CLAIM, LEASE, NOTHING, Answer, Step, Steps
from actorq.broker.scripts.submitting import CallOffers, MapOffers, Offered
from actorq.wire.lease import tag

STAMP = iso_now()


class Asked:
    """What a submitter and two replicas, `me` and `you`, ask of the server."""

    def __init__(self, url: str) -> None:
        self.link = Link(url, patience=0.0)
        self.client = redis.Redis.from_url(url, decode_responses=True)
        self.binary = redis.Redis.from_url(url)  # for RQ
        for name in ("me", "you"):
            self.client.hset(keys.worker(name), "birth", STAMP)
            self.client.expire(keys.worker(name), 40)
            self.client.sadd(keys.workers("e"), keys.worker(name))
        self.serial = 0
        self.attempts: dict[str, str] = {}  # lease -> its last attempt, where it is not the first
        self._runs: dict[str, str] = {}  # replica -> what it took last

    def submit(self, where: str = "", *, of: str = "m", served: float = 0.0) -> str:
        return self.submit_all(where, of=of, served=served)[0]

    def submit_all(self, *places: str, only_idle: bool = False, of: str = "m", served: float = 0.0) -> list[str]:
        """A lease for each place, in one call, of a map that has had so many seconds."""
        leases = []
        offered = []
        for where in places:
            self.serial += 1
            leases.append(f"{of}-{self.serial}{tag(where) if len(where) > 1 else ''}")
            offered.append(Offered(self.serial, leases[-1], "d", where, b"payload"))
        offers = MapOffers("e", of, "owner", 10)
        offers.send(self.link, offered, [], read_until=b"", only_idle=only_idle, served=served)
        return leases

    def call(self, serial: int, *, new: bool = True, only_idle: bool = False, cost: float = 0.0) -> bool:
        """Offers call number `serial` of a lane, lease "lane-<serial>"; whether it was taken."""
        offers = CallOffers("e", "lane", 10, "d")
        command = offers.packed(
            serial, b"payload", ttl_seconds=None, read_until=b"", only_idle=only_idle, new=new, cost=cost
        )
        return offers.send(self.link, command, [])

    def next(self, name: str, *, done: str = "", want: bool = True, again: bool = False) -> str:
        """The lease that a replica gets."""
        return self.commit(name, done, want=want, again=again)[1]

    def take(self, name: str) -> str:
        """Commits what a replica took last, and takes the next."""
        self._runs[name] = self.commit(name, self._runs.get(name, ""))[1]
        return self._runs[name]

    def commit(self, name: str, done: str, *, want: bool = True, again: bool = False) -> tuple[str, str]:
        """What became of the results of lease `done`, and the next lease. Without `done` it always asks again."""
        answer = self._next(name, LEASE if want else NOTHING, "1" if again or not done else "", done)
        return answer.committed.decode(), answer.lease.decode()

    def ask(self, name: str, done: str = "") -> tuple[str, bool]:
        """The lease that a replica gets, and whether there is enough to claim one ahead."""
        answer = self._next(name, LEASE, "" if done else "1", done)
        return answer.lease.decode(), bool(answer.plenty)

    def go_on(self, name: str, done: str, running: str, *, ahead: bool = True) -> str:
        """Commits lease `done`, if any, while `running` runs: the lease that was claimed behind that."""
        return self.claim(name, done, running, ahead=ahead)[0]

    def claim(self, name: str, done: str, running: str, *, ahead: bool = True) -> tuple[str, bool]:
        """The same, and whether there is enough to claim one more."""
        answer = self._next(name, GO_ON_AND_CLAIM if ahead else GO_ON, self.member(running), done)
        return answer.lease.decode(), bool(answer.plenty)

    def unclaim(self, name: str, running: str) -> int:
        """How many leases were given back that were claimed behind `running`."""
        return serving.unclaim(self.link, "e", name, self.member(running))

    def sync(self, running: str, end: int, *, must: bool = False) -> int:
        """A replica gives back the rest of what it runs."""
        member = self.member(running).encode()
        return serving.sync(self.link, "e", member, part=None, end=end, must=must, stores=[], within=5.0)

    def _next(self, name: str, want: bytes, holds: str, done: str) -> Answer:
        attempt = self.attempts.get(done, "1") if done else ""
        step = Step(want=want, holds=holds.encode(), lease=done.encode(), attempt=attempt.encode(), frame=b"frame")
        answer = Steps("e", name, 10).patiently(self.link, step, [])
        self.attempts[answer.lease.decode()] = answer.attempt.decode()
        return answer

    def lost(self, name: str, held: str = "") -> None:
        """The executor of a replica has died."""
        serving.lost(self.link, "e", name, "killed", member=held and self.member(held))

    def member(self, lease: str) -> str:
        """The attempt at a lease that runs now."""
        return f"{lease}:{self.attempts.get(lease, '1')}"

    def lapse(self, lease: str) -> None:
        """The lease is not renewed, and somebody notices."""
        self.client.zadd(keys.wip("e"), {self.member(lease): 1}, xx=True)
        self.renew()

    def check(
        self, *leases: str, of: str = "m", last: str = "0-0", served: float = 0.0, cost: float = 0.0, busy: float = 0.0
    ) -> tuple[int, list[str]]:
        """A heartbeat of a map: whether the server knows all that was read, and which of `leases` are gone."""
        share = (served, cost, busy)
        found = submitting.check(
            self.link, "e", of, "owner", last=last.encode(), leases=leases, share=share, progress={}
        )
        return int(found.known), [lease for lease in leases if lease in found.missing]

    def recall(self, *leases: str) -> list[str]:
        taken = submitting.recall(self.link, "e", leases)
        return [lease for lease in leases if lease in taken]

    def end(self, of: str, *leases: str) -> None:
        """A map ends while these are not finished."""
        submitting.close(self.link, "e", of, "owner", leases)

    def renew(self, *held: str) -> list[str]:
        """A supervisor renews the leases that run; those that are to stop."""
        members = [self.member(lease) for lease in held]
        return [member.rpartition(":")[0] for member in serving.renew(self.link, "e", 10, held=members, idle=())]

    def idle(self, name: str) -> bool:
        """Whether a lease may be handed to this replica."""
        return self.client.zscore(keys.idle("e"), name) is not None

    def book(self, name: str, held: str) -> None:
        shown = serving.Shown(name, bool(held), held and self.member(held), 7, 1, 2.5)
        serving.book(self.link, "e", 10, [shown])

    def reports(self, of: str = "m") -> list[tuple[str, str, str]]:
        """What the submitter has been told: lease, kind, value."""
        entries: Any = self.client.xrange(keys.out(of))
        told = []
        for _, fields in entries:
            (_, lease), (kind, value), *_ = fields.items()
            told.append((lease, kind, value))
        return told

    def queue(self) -> list[str]:
        waiting: Any = self.client.lrange(keys.queue("e"), 0, -1)
        return list(waiting)

    def mail(self, name: str) -> int:
        return int(self.client.llen(keys.mail(name)))

    def close(self) -> None:
        self.link.close()
        self.client.close()
        self.binary.close()
