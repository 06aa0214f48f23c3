"""What becomes of an input that failed: it runs again, alone if need be, or has failed for good.

The one idea: *one policy for maps and for calls*. What raised has its retries; what ended its process is charged with
the death of it, and has failed when it was charged more often than the environment allows. An input that shared its
process may be innocent: it runs again in a process of its own, and only what ends that one is judged. So does one that
was cancelled by what ran beside it.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from actorq.declare.retry import Rules
from actorq.wire import failure
from actorq.wire.lease import LAPSED


@dataclass(frozen=True, kw_only=True)
class Again:
    """The input runs once more."""

    #: seconds from now
    delay: float = 0.0
    #: in a process to itself
    alone: bool = False
    #: it raised, and has used up a retry
    retried: bool = False


@dataclass(frozen=True, kw_only=True)
class Final:
    """The input has failed; `data` is what `failure.rebuild` takes."""

    data: dict[str, Any]
    attempt: int


Verdict = Again | Final


class Verdicts:
    """What is noted of inputs that failed, and have no result yet."""

    def __init__(self, rules: Rules) -> None:
        self._rules = rules
        self._attempts: dict[int, int] = {}  # index -> tries that raised
        self._charges: dict[int, set[str]] = {}  # index -> leases whose replicas died while it ran there
        self._lapsed: dict[str, int] = {}  # lease that was not renewed -> the input that was charged for it

    def __contains__(self, index: object) -> bool:
        return index in self._attempts or index in self._charges

    def is_last_try(self, index: int) -> bool:
        """Whether the input has failed for good if it raises now."""
        return self._attempts.get(index, 0) >= self._rules.retries

    def raised(self, index: int, data: dict[str, Any], *, alone: bool = False) -> Verdict:
        """The input raised, or timed out, or was disturbed by one that ran beside it.

        Args:
            alone: whether it had the process to itself, by its lease.
        """
        if data.get("kind") == failure.FORGONE:
            return Again()
        if data.get("kind") == failure.DISTURBED and self._rules.shared and not alone:
            return Again(alone=True)
        tries = self._attempts[index] = self._attempts.get(index, 0) + 1
        if tries <= self._rules.retries and not data.get("final"):
            return Again(delay=self._rules.retry_delay.delay(tries), retried=True)
        return Final(data=data, attempt=tries)

    def ended(self, index: int, lease: str, reason: str, *, alone: bool, damaged: bool = False) -> Verdict:
        """The process that ran the input died, or was ended for it; `damaged`: it sent what is no result.

        Args:
            alone: whether the input had the process to itself, by its lease.
        """
        if (data := failure.overdue(reason, self._rules.timeout)) is not None:
            return self.raised(index, data)
        charges = self._charges.setdefault(index, set())
        charges.add(lease)
        if reason == LAPSED:
            self._lapsed[lease] = index
        if (self._rules.shared and not alone and not damaged) or len(charges) <= self._rules.max_crashes:
            return Again(alone=self._rules.shared)
        many, several = f"{len(charges)} replicas", len(charges) > 1
        if damaged:
            kind = failure.DAMAGED
            message = f"{many if several else 'its replica'} sent what is no result of it: {reason}"
        else:
            kind = failure.LOST
            died = f"{many} died while they ran it; the last one" if several else "its replica died while it ran:"
            message = f"{died} {reason}"
        return Final(data=failure.described(kind, message), attempt=max(self._attempts.get(index, 0), 1))

    def lives(self, lease: str) -> None:
        """The replica of a lapsed lease lives: the input that was charged with its death is not to blame."""
        index = self._lapsed.pop(lease, None)
        if index is not None:
            self._charges.get(index, set()).discard(lease)

    def close(self, indexes: Collection[int]) -> None:
        """Forgets inputs that have their result."""
        for notes in (self._attempts, self._charges):
            if notes:
                few = indexes if len(indexes) <= len(notes) else [index for index in notes if index in indexes]
                for index in few:
                    notes.pop(index, None)
        if self._lapsed:
            self._lapsed = {lease: index for lease, index in self._lapsed.items() if index in self._charges}
