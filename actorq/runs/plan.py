"""What a run is to do: everything that a driver, which has not the user's code, must know of it."""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass, replace
from typing import Any

import msgpack

from actorq.broker.link import Link
from actorq.broker.scripts import running
from actorq.declare.map_options import MapOptions
from actorq.declare.retry import Backoff, Rules
from actorq.errors import CodecError
from actorq.wire.messages import Head, parse_head
from actorq.wire.seal import seal_part, unseal_part

#: options of a map that a run keeps as they are
_KEPT = (
    *("ordered", "return_exceptions", "min_success_ratio", "min_successes", "max_failures", "concurrency"),
    *("timeout", "priority"),
)


#: a driver keeps its lead every second
_LEAST_LEAD_SECONDS = 2


def driver_name(pid: int) -> str:
    """What a process of this host is called as a driver."""
    return f"{socket.gethostname()}:{pid}"


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Of one run."""

    options: MapOptions
    lease_seconds: float
    #: seconds after which a run that has not ended is dropped
    expires: int
    #: seconds that results are kept after its end
    result_ttl: int

    def with_head(self, head: Head | None) -> Plan:
        """The same for the task as it is now; None: for any code, unless the task is strict about it."""
        mine = self.options.head
        if head is None:
            head = mine if mine.strict or mine.code else replace(mine, fingerprint="")
        return replace(self, options=replace(self.options, head=replace(head, mode=mine.mode, kwargs=mine.kwargs)))

    def packed(self, run_id: str) -> bytes:
        """As it lies on the server."""
        options, rules = self.options, self.options.rules
        delay = rules.retry_delay
        fields = {
            "head": options.head.packed(),
            "retries": rules.retries,
            "delay": [delay.base, delay.factor, delay.cap, delay.jitter],
            "max_crashes": rules.max_crashes,
            "shared": rules.shared,
            "options": {name: getattr(options, name) for name in _KEPT},
            "lease_seconds": self.lease_seconds,
            "expires": self.expires,
            "result_ttl": self.result_ttl,
        }
        return seal_part(options.environment, run_id, "plan", bytes(msgpack.packb(fields)))

    @classmethod
    def of(cls, environment: str, run_id: str, data: bytes) -> Plan:
        """The inverse. Raises `CodecError`, or `PoolError` where the plan is not signed as it must be."""
        plain = unseal_part(environment, run_id, "plan", data)
        try:
            fields: dict[str, Any] = msgpack.unpackb(plain)
            head = parse_head(fields["head"])
            base, factor, cap, jitter = fields["delay"]
            rules = Rules(
                retries=int(fields["retries"]),
                retry_delay=Backoff(base=base, factor=factor, cap=cap, jitter=bool(jitter)),
                max_crashes=int(fields["max_crashes"]),
                shared=bool(fields["shared"]),
                timeout=head.timeout,
            )
            kept = {name: fields["options"][name] for name in _KEPT}
            options = MapOptions(environment=environment, head=head, rules=rules, **kept)
            return cls(
                options=options,
                lease_seconds=float(fields["lease_seconds"]),
                expires=int(fields["expires"]),
                result_ttl=int(fields["result_ttl"]),
            )
        except (ValueError, KeyError, TypeError) as error:
            raise CodecError(f"The plan of run {run_id!r} cannot be read: {error}") from error

    def lead(self, link: Link, run_id: str, owner: str, *, take: bool) -> int:
        """Takes, or keeps, the lead of the run for the length of a lease, 2 s at least; see `running.lead`."""
        seconds, who = max(_LEAST_LEAD_SECONDS, round(self.lease_seconds)), driver_name(os.getpid())
        return running.lead(link, self.options.environment, run_id, owner, seconds, who, take=take)

    def is_like(self, other: Plan) -> bool:
        """Whether the other one runs the same task with the same constants: the limits may be others."""
        mine, its = self.options.head, other.options.head
        return (mine.task, mine.mode, mine.kwargs) == (its.task, its.mode, its.kwargs)
