"""What an environment asks of its replicas when they start and when they end.

The one idea: *a hook belongs to the replica, not to an input*. It runs in the process that runs the tasks, before the
first input and after the last one, so what it opens, patches or loads is there for all of them.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, ParamSpec, TypeVar

from actorq.base.names import declares, execution
from actorq.errors import DeclarationError

P = ParamSpec("P")
H = TypeVar("H", bound=Callable[[], object])


@dataclass(frozen=True, kw_only=True)
class Hook:
    """A call that every replica makes, before it takes work or when it ends."""

    function: Callable[..., Any]
    args: tuple[Any, ...] = ()
    kwargs: dict[str, Any] = field(default_factory=dict)
    #: that declared it, which is not always where its function is defined
    module: str


class Hooked:
    """The part of an environment that declares hooks. Also what replicas read: all in the order of declaration."""

    def __init__(self) -> None:
        #: what to call when an executor starts: start hooks and prewarms
        self.at_start: list[Hook] = []
        #: what to call when it ends, the last one first
        self.at_exit: list[Hook] = []

    @property
    def hook_modules(self) -> set[str]:
        """Modules that declared any: a replica has to import them."""
        return {hook.module for hook in (*self.at_start, *self.at_exit)}

    def on_start(self, function: H, /) -> H:
        """Declares what every replica does before it takes work: a function, or a coroutine function, of no arguments.

        Several run in their order, with `prewarm` calls among them. One that raises keeps the replica from taking work:
        it is started again, later and later, and says why; a map on local replicas fails with it.
        """
        _check(function, "on_start")
        self.at_start.append(Hook(function=function, module=self._declaring_module()))
        return function

    def on_exit(self, function: H, /) -> H:
        """Declares what every replica that has started does when it drains, is recycled, or ends with its program.

        Several run in reverse order, as they undo what `on_start` did; one that raises is logged. They share
        `drain_seconds` with the last input. A process that is killed runs none.
        """
        _check(function, "on_exit")
        self.at_exit.append(Hook(function=function, module=self._declaring_module()))
        return function

    def prewarm(self, function: Callable[P, object], /, *args: P.args, **kwargs: P.kwargs) -> None:
        """Calls `function`, as a rule an `@actor_cache`, in every replica before it takes work: no input has to wait.

        Raises `DeclarationError` at once for arguments that the function does not take.
        """
        _check(function, "prewarm", *args, **kwargs)
        self.at_start.append(Hook(function=function, args=args, kwargs=kwargs, module=self._declaring_module()))

    def _declaring_module(self) -> str:
        namespace = sys._getframe(2).f_globals
        module = str(namespace.get("__name__", "__main__"))
        declares(namespace)
        self._declares(module, execution(namespace))
        return module

    def _declares(self, module: str, execution: object) -> None:
        """Something is declared by `module`, in one of its executions."""

    def _forget_hooks(self, module: str) -> None:
        """What `module` has declared is gone."""
        for hooks in (self.at_start, self.at_exit):
            hooks[:] = [hook for hook in hooks if hook.module != module]


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
