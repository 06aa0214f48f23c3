"""What a submitter and replicas ask of the server, step by step, without being processes."""

from __future__ import annotations

from typing import Any

import redis

from actorq.broker import keys, scripts
from actorq.broker.commands import Argument, iso_now
from actorq.broker.link import Link
from actorq.broker.stream import call_keys, next_keys, submit_keys
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
        args: list[Argument] = [*keys.prefix("e"), "", 10, STAMP, "", "1" if only_idle else "", of, "owner", served]
        for where in places:
            self.serial += 1
            leases.append(f"{of}-{self.serial}{tag(where) if len(where) > 1 else ''}")
            args += (self.serial, leases[-1], "d", where, b"payload")
        self.link.call(scripts.SUBMIT, submit_keys(of, "e"), args)
        return leases

    def call(self, serial: int, *, new: bool = True, only_idle: bool = False, cost: float = 0.0) -> bool:
        """Offers call number `serial` of a lane, lease "lane-<serial>"; whether it was taken."""
        args: list[Argument] = [*keys.prefix("e"), "", 10, STAMP, "", "1" if only_idle else "", "1" if new else ""]
        args += ("lane", serial, f"lane-{serial}", "d", cost, b"payload")
        return bool(self.link.call(scripts.CALL, call_keys("lane", "e"), args))

    def next(self, name: str, *, done: str = "", want: bool = True, again: bool = False) -> str:
        """The lease that a replica gets."""
        return self.commit(name, done, want=want, again=again)[1]

    def take(self, name: str) -> str:
        """Commits what a replica took last, and takes the next."""
        self._runs[name] = self.commit(name, self._runs.get(name, ""))[1]
        return self._runs[name]

    def commit(self, name: str, done: str, *, want: bool = True, again: bool = False) -> tuple[str, str]:
        """What became of the results of lease `done`, and the next lease. Without `done` it always asks again."""
        reply = self._next(name, "1" if want else "", "1" if again or not done else "", done)
        return str(reply[0].decode()), str(reply[1].decode())

    def ask(self, name: str, done: str = "") -> tuple[str, bool]:
        """The lease that a replica gets, and whether there is enough to claim one ahead."""
        reply = self._next(name, "1", "" if done else "1", done)
        return reply[1].decode(), bool(reply[4])

    def go_on(self, name: str, done: str, running: str, *, ahead: bool = True) -> str:
        """Commits lease `done`, if any, while `running` runs: the lease that was claimed behind that."""
        return self.claim(name, done, running, ahead=ahead)[0]

    def claim(self, name: str, done: str, running: str, *, ahead: bool = True) -> tuple[str, bool]:
        """The same, and whether there is enough to claim one more."""
        reply = self._next(name, "a" if ahead else "-", self.member(running), done)
        return reply[1].decode(), bool(reply[4])

    def unclaim(self, name: str, running: str) -> int:
        """How many leases were given back that were claimed behind `running`."""
        return int(self.link.call(scripts.UNCLAIM, [], [*keys.prefix("e"), name, self.member(running)]))

    def sync(self, running: str, end: int, *, must: bool = False) -> int:
        """A replica gives back the rest of what it runs."""
        args = [*keys.prefix("e"), self.member(running), 0, 0, b"", end, "1" if must else ""]
        return int(self.link.call(scripts.SYNC, [], args))

    def _next(self, name: str, want: str, again: str, done: str) -> list[bytes]:
        attempt = self.attempts.get(done, "1") if done else ""
        args: list[Argument] = [*keys.prefix("e"), name, 10, STAMP, want, again, done, attempt, b"frame", 0]
        reply: list[bytes] = self.link.call(scripts.NEXT, next_keys("e", name), args)
        self.attempts[reply[1].decode()] = reply[2].decode()
        return reply

    def lost(self, name: str, held: str = "") -> None:
        """The executor of a replica has died."""
        self.link.call(scripts.LOST, [], [*keys.prefix("e"), name, "killed", held and self.member(held), ""])

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
        args: list[Argument] = [*keys.prefix("e"), keys.MAP_TTL_SECONDS, "owner", of, last, served, cost, busy, 0]
        reply = self.link.call(scripts.CHECK, [keys.map_(of), keys.out(of)], [*args, *leases])
        return int(reply[1]), [each.decode() for each in reply[2:]]

    def recall(self, *leases: str) -> list[str]:
        return [each.decode() for each in self.link.call(scripts.RECALL, [], [*keys.prefix("e"), *leases])]

    def end(self, of: str, *leases: str) -> None:
        """A map ends while these are not finished."""
        self.link.call(scripts.CLOSE, [keys.map_(of), keys.out(of)], [*keys.prefix("e"), "owner", of, *leases])

    def renew(self, *held: str) -> list[str]:
        """A supervisor renews the leases that run; those that are to stop."""
        members = [self.member(lease) for lease in held]
        reply = self.link.call(scripts.RENEW, [], [*keys.prefix("e"), 10, len(members), *members])
        return [each.decode().rpartition(":")[0] for each in reply]

    def idle(self, name: str) -> bool:
        """Whether a lease may be handed to this replica."""
        return self.client.zscore(keys.idle("e"), name) is not None

    def book(self, name: str, held: str) -> None:
        state = "busy" if held else "idle"
        shown = held and self.member(held)
        self.link.call(scripts.BOOK, [], [*keys.prefix("e"), 10, STAMP, name, state, shown, 7, 1, 2.5])

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
