"""What an environment asks of its replicas when they start and when they end.

The one idea: *a hook belongs to the replica, not to an input*. It runs in the process that runs the tasks, before the
first input and after the last one, so what it opens, patches or loads is there for all of them.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ParamSpec, TypeVar

from actorq.errors import DeclarationError

P = ParamSpec("P")
H = TypeVar("H", bound=Callable[[], object])


@dataclass(frozen=True, kw_only=True)
class Prewarm:
    """A call that every replica makes before it takes work."""

    function: Callable[..., Any]
    args: tuple[Any, ...]
    kwargs: dict[str, Any]


class Hooked:
    """The part of an environment that declares hooks. Also what replicas read: all in the order of declaration."""

    def __init__(self) -> None:
        #: what to call when an executor starts: start hooks and prewarms
        self.at_start: list[Prewarm] = []
        #: what to call when it ends, the last one first
        self.at_exit: list[Callable[[], object]] = []
        #: modules that declared any: a replica has to import them
        self.hook_modules: set[str] = set()

    def on_start(self, function: H, /) -> H:
        """Declares what every replica does before it takes work: a function, or a coroutine function, of no arguments.

        Several run in their order, with `prewarm` calls among them. One that raises keeps the replica from taking work:
        it is started again, later and later, and says why; a map on local replicas fails with it.
        """
        _check(function, "on_start")
        self.hook_modules.add(_declaring_module())
        self.at_start.append(Prewarm(function=function, args=(), kwargs={}))
        return function

    def on_exit(self, function: H, /) -> H:
        """Declares what every replica that has started does when it drains, is recycled, or ends with its program.

        Several run in reverse order, as they undo what `on_start` did; one that raises is logged. They share
        `drain_seconds` with the last input. A process that is killed runs none.
        """
        _check(function, "on_exit")
        self.hook_modules.add(_declaring_module())
        self.at_exit.append(function)
        return function

    def prewarm(self, function: Callable[P, object], /, *args: P.args, **kwargs: P.kwargs) -> None:
        """Calls `function`, as a rule an `@actor_cache`, in every replica before it takes work: no input has to wait.

        Raises `DeclarationError` at once for arguments that the function does not take.
        """
        _check(function, "prewarm", *args, **kwargs)
        self.hook_modules.add(_declaring_module())
        self.at_start.append(Prewarm(function=function, args=args, kwargs=kwargs))


def _check(function: Callable[..., object], what: str, *args: Any, **kwargs: Any) -> None:
    """Raises `DeclarationError` for what cannot be called so."""
    if not callable(function):
        raise DeclarationError(f"{what} needs a function, not a {type(function).__name__}.")
    name = getattr(function, "__qualname__", repr(function))
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        raise DeclarationError(f"{what}: {name!r} is a generator, which does nothing when it is called.")
    try:
        signature = inspect.signature(function)
    except ValueError:  # of a built-in that does not tell
        return
    try:
        signature.bind(*args, **kwargs)
    except TypeError as error:
        advice = "" if what == "prewarm" else "; a hook is called without arguments"
        raise DeclarationError(f"{what}: {name}{signature} cannot be called so: {error}{advice}.") from None


def _declaring_module() -> str:
    """Where the hook is declared, which is not always where its function is defined."""
    return str(sys._getframe(2).f_globals.get("__name__", "__main__"))
