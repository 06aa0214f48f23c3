"""A number for an object, for as long as it lives: what an address is not, which the next object may get."""

from __future__ import annotations

import functools
import itertools
import threading
import weakref
from collections.abc import Callable
from typing import Any

_count = itertools.count(1)


class Numbers:
    """Numbers objects by identity and keeps none of them alive.

    Args:
        on_death: called with the number of an object that is gone. It may be called in any thread between two
            bytecodes, also while that thread is in here: it must take no lock that it would wait for.
    """

    def __init__(self, on_death: Callable[[int], None] | None = None) -> None:
        self._known: dict[int, tuple[weakref.ref[Any], int]] = {}
        self._on_death = on_death
        self._lock = threading.RLock()  # one object must not get two numbers; a death may come back in here

    def known(self, what: Any) -> int | None:
        """The number `what` was given, if it was."""
        known = self._known.get(id(what))
        return None if known is None or known[0]() is not what else known[1]

    def of(self, what: Any) -> int:
        """The number of `what`. Raises `TypeError` when it cannot be weakly referenced."""
        number = self.known(what)
        if number is None:
            with self._lock:
                number = self.known(what)
                if number is None:
                    number = next(_count)
                    dies = functools.partial(self._died, id(what), number)
                    self._known[id(what)] = (weakref.ref(what, dies), number)
        return number

    def _died(self, address: int, number: int, _: weakref.ref[Any]) -> None:
        known = self._known.get(address)
        if known is not None and known[1] == number:
            self._known.pop(address, None)
        if self._on_death is not None:
            self._on_death(number)


#: classes, and other objects of which only the identity counts
OBJECTS = Numbers()
