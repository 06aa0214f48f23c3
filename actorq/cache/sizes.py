"""How many bytes a value takes, estimated in bounded time: what Python and array libraries say of themselves.

Memory that a C extension owns and does not report (most models on a GPU) is not seen: `size=` is for that.
"""

from __future__ import annotations

import sys
from itertools import islice
from typing import Any

#: objects looked at for one value: some ten milliseconds. The rest of it is taken to be like what was seen.
_MOST_OBJECTS = 10_000
#: elements of one container looked at; the rest are taken to be like them
_MOST_ELEMENTS = 1_000


def estimate(value: Any) -> int:
    """The bytes of `value` and of what only it seems to hold; never raises."""
    return round(_Estimate().of(value))


class _Estimate:
    def __init__(self) -> None:
        self._seen: set[int] = set()
        self._left = _MOST_OBJECTS

    def of(self, value: Any, depth: int = 0) -> float:
        if id(value) in self._seen or self._left <= 0 or isinstance(value, _SHARED):
            return 0
        self._seen.add(id(value))
        self._left -= 1
        try:
            own: float = sys.getsizeof(value)
            if hasattr(type(value), "nbytes") and isinstance(value.nbytes, int):  # asked of the type: no __getattr__
                return max(own, value.nbytes)
            if depth < 50:  # far from the recursion limit of whoever calls
                own += self._inside(value, depth + 1)
        except Exception:  # a property or __sizeof__ of the user's object may raise anything
            return 0
        return own

    def _inside(self, value: Any, depth: int) -> float:
        if isinstance(value, dict):
            return self._elements(value.keys(), depth) + self._elements(value.values(), depth)
        if isinstance(value, (list, tuple, set, frozenset)):
            return self._elements(value, depth)
        inside = 0.0
        if isinstance(attributes := getattr(value, "__dict__", None), dict):
            inside += self.of(attributes, depth)
        for kind in type(value).__mro__:
            names = vars(kind).get("__slots__", ())
            for name in [names] if isinstance(names, str) else names:
                if name not in ("__dict__", "__weakref__") and hasattr(value, name):
                    inside += self.of(getattr(value, name), depth)
        return inside

    def _elements(self, values: Any, depth: int) -> float:
        count = len(values)
        step = max(1, count // _MOST_ELEMENTS)
        total, looked = 0.0, 0
        for part in islice(values, 0, None, step):
            if self._left <= 0:
                break
            total += self.of(part, depth)
            looked += 1
        return total * count / looked if looked else 0.0


#: code is there with or without the value
_SHARED = (type, type(sys), type(estimate), type(len))
