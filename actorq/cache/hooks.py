"""The loads of this process: how many there were, and who takes part in them.

The one idea: `reset` and `fork` tell the cache what they need of every load, so nothing is assigned into the cache, and
the cache knows neither of them.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from actorq.cache.cached import ActorCached

#: called with the function and its arguments
AfterLoad = Callable[["ActorCached[Any, Any]", tuple[Any, ...], dict[str, Any]], None]


class Loads:
    """See `LOADS`."""

    def __init__(self) -> None:
        #: since the process started
        self.count = 0
        self._within: Callable[[], contextlib.AbstractContextManager[Any]] = contextlib.nullcontext
        self._listeners: tuple[AfterLoad, ...] = ()

    def keep_within(self, context: Callable[[], contextlib.AbstractContextManager[Any]]) -> None:
        """Enters `context()` around every load from now on, in place of what was entered before."""
        self._within = context

    def listen(self, after: AfterLoad, *, alone: bool = False) -> None:
        """Calls `after` after every load of a value that was kept; `alone`: and none of those that listened before."""
        self._listeners = (after,) if alone else (*self._listeners, after)

    @contextlib.contextmanager
    def counted(self) -> Iterator[None]:
        """Around every load."""
        with self._within():
            yield
        self.count += 1

    def tell(self, cached: ActorCached[Any, Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """A value was loaded and is kept."""
        for after in self._listeners:
            after(cached, args, kwargs)


#: those of this process
LOADS = Loads()
