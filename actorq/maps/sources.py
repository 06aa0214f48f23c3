"""Where a map's inputs come from: drawn only as far as leases need them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sized
from itertools import islice
from typing import Any, Protocol

from actorq.errors import DeclarationError


class Source(Protocol):
    """A supply of inputs. Used by one thread."""

    #: no input will come any more
    exhausted: bool
    #: length, if known from the start
    total: int | None
    #: what the user's iterator raised, after the inputs before it
    error: Exception | None

    def draw(self, count: int) -> list[Any]:
        """At most `count` inputs; fewer, or none, when that is all there is now."""


class IterableSource:
    """Inputs from iterables that advance together. Unequal lengths are an error, at once where lengths are known."""

    def __init__(self, iterables: tuple[Iterable[Any], ...]) -> None:
        if not iterables:
            raise DeclarationError("map() needs at least one iterable of inputs.")
        for position, iterable in enumerate(iterables):
            if not isinstance(iterable, Iterable):
                raise DeclarationError(
                    f"map() argument {position + 1} is a {type(iterable).__name__}, not an iterable: "
                    "constant arguments go into kwargs= or functools.partial."
                )
        lengths = {len(it) for it in iterables if isinstance(it, Sized)}
        if len(lengths) > 1:
            raise DeclarationError(f"map() got iterables of unequal lengths {sorted(lengths)}: make them equal.")
        self.total = lengths.pop() if len(lengths) == 1 else None
        self.exhausted = self.total == 0
        self.error: Exception | None = None
        self._iterator: Iterator[Any]
        if len(iterables) == 1:
            self._iterator = iter(iterables[0])
        else:
            self._iterator = map(list, zip(*iterables, strict=True))

    def draw(self, count: int) -> list[Any]:
        items: list[Any] = []
        try:
            items.extend(islice(self._iterator, count))  # keeps what came before an exception
        except Exception as error:
            self.exhausted = True
            self.error = error
            if isinstance(error, ValueError) and str(error).startswith("zip() argument"):
                self.error = DeclarationError(f"map() got iterables of unequal lengths: {error}.")
            return items
        if len(items) < count:
            self.exhausted = True
        return items
