"""What `@actor_cache(...)` was given, checked when the function is declared."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any

from actorq.base import checks
from actorq.errors import DeclarationError


@dataclass(frozen=True, kw_only=True)
class Options:
    """The bounds of one function's values, and the callables of its user."""

    maxsize: int | None = None
    ttl: float | None = None
    max_bytes: int | None = None
    size: Callable[[Any], int] | None = None
    key: Callable[..., Any] | None = None
    on_evict: Callable[[Any], object] | None = None

    @classmethod
    def checked(cls, given: Mapping[str, Any]) -> Options:
        """Raises `DeclarationError` for an option there is not."""
        known = [field.name for field in fields(cls)]
        if unknown := [name for name in given if name not in known]:
            raise DeclarationError(f"@actor_cache has no option {unknown[0]!r} (it has: {', '.join(known)}).")
        return cls(**given)

    def __post_init__(self) -> None:
        for name in ("maxsize", "max_bytes"):
            value = checks.optional_whole(f"@actor_cache {name}", getattr(self, name), 1)
            object.__setattr__(self, name, value)  # frozen: a number of numpy's becomes Python's
        object.__setattr__(self, "ttl", checks.some_seconds("@actor_cache ttl", self.ttl))
        for name in ("size", "key", "on_evict"):
            function = checks.function(f"@actor_cache {name}", getattr(self, name))
            if inspect.iscoroutinefunction(function):
                raise DeclarationError(f"@actor_cache {name}= is called and not awaited: give a plain function.")

    @property
    def bounded(self) -> bool:
        """Whether values leave by themselves."""
        return self.ordered or self.ttl is not None

    @property
    def ordered(self) -> bool:
        """Whether the value that was used longest ago leaves first."""
        return self.maxsize is not None or self.max_bytes is not None
