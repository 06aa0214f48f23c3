"""What a map was asked to do, checked before the first input is drawn."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from actorq.base import checks
from actorq.declare.retry import Rules
from actorq.wire.messages import Head

if TYPE_CHECKING:
    from actorq.wire.lease import Bundle

#: priorities go so far up and down: a map has ten times the time of one that is one lower, as long as both want it
MOST_PRIORITY = 9
#: default bound of finished outputs that wait for the consumer, bytes as packed
MAX_BUFFERED_BYTES = 32 * 1024 * 1024
#: finished leases that may wait behind a slow head of line, in windows: 96 leases for each replica. 24 leases are the
#: least that does not starve replicas on a heavy-tailed load, 192 were no better
BUFFERED_WINDOWS = 24


@dataclass(frozen=True, kw_only=True)
class MapOptions:
    """Validated options of one map; see `Task.map` for their meaning."""

    environment: str
    head: Head
    #: what becomes of inputs that fail
    rules: Rules = field(default_factory=Rules)
    ordered: bool = True
    return_exceptions: bool = False
    min_success_ratio: float = 1.0
    min_successes: int | None = None
    max_failures: int | None = None
    #: every input is a lease of its own, whatever it takes
    single: bool = False
    #: replicas to use at most
    concurrency: int | None = None
    #: leases in flight, whatever the replicas; None: a few for each
    window: int | None = None
    #: new inputs are leased only when none is outstanding
    in_batches: bool = False
    #: the code that travels with the map, as the server keeps it
    bundle: Bundle | None = None
    #: the key of an input as it is drawn; inputs of one key prefer the replica that ran one before
    affinity: Callable[[Any], Any] | None = None
    max_outstanding: int | None = None
    timeout: float | None = None
    #: those of higher priority go first
    priority: int = 0

    def __post_init__(self) -> None:
        checked = {
            "min_success_ratio": checks.number("min_success_ratio", self.min_success_ratio, 0, 1),
            "min_successes": checks.optional_whole("min_successes", self.min_successes, 0),
            "max_failures": checks.optional_whole("max_failures", self.max_failures, 0),
            "concurrency": checks.optional_whole("concurrency", self.concurrency, 1),
            "max_outstanding": checks.optional_whole("max_outstanding", self.max_outstanding, 1),
            "priority": checks.whole("priority", self.priority, -MOST_PRIORITY, MOST_PRIORITY),
            "timeout": checks.some_seconds("timeout", self.timeout),
        }
        for name, value in checked.items():
            object.__setattr__(self, name, value)  # frozen: a number of numpy's becomes Python's

    @property
    def tolerant(self) -> bool:
        """Whether a failed input leaves the map running."""
        return (
            self.return_exceptions
            or self.min_success_ratio < 1
            or self.min_successes is not None
            or self.max_failures is not None
        )
