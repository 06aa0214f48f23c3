"""Options that there are not: an error that names the one that was meant.

Python's own message for a keyword that a function does not take ends where help should begin.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")


def unknown_option(of: str, name: str, known: Iterable[str]) -> str:
    """What is wrong with an option of `of` that there is not, and what to do."""
    import difflib  # seldom needed, and 2 ms

    close = difflib.get_close_matches(name, known := list(known), n=1)
    meant = f" Did you mean {close[0]!r}?" if close else f" It has: {', '.join(known)}."
    return f"{of}() has no option {name!r}.{meant}"


def suggests(of: str) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Decorates what is called `of`: a keyword that it does not take is a `TypeError` with the one that was meant."""

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        code = function.__code__
        count = code.co_argcount + code.co_kwonlyargcount
        names = code.co_varnames[code.co_posonlyargcount : count]
        known = [name for name in names if name != "self"]

        @functools.wraps(function)
        def checked(*args: P.args, **kwargs: P.kwargs) -> R:
            for name in kwargs:
                if name not in known:
                    raise TypeError(unknown_option(of, name, known))
            return function(*args, **kwargs)

        return checked

    return decorate
