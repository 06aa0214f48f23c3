"""The checks of what users give as options: one for each kind of value, so that all options refuse alike.

A number is no bool, and finite; it may be one of numpy's. Each raises `DeclarationError`, which names the option,
shows what was given and says what may be.
"""

from __future__ import annotations

import numbers
import operator
from collections.abc import Callable, Mapping
from typing import Any

from actorq.errors import DeclarationError

#: seconds, as many as any option may have: thirty years
MOST_SECONDS = 1e9


def whole(name: str, value: Any, least: int, most: int | None = None, *, hint: str = "") -> int:
    """A whole number from `least` to `most`. `hint` is added to what may be given."""
    allowed = f"from {least} up" if most is None else f"from {least} to {most}"
    refusal = DeclarationError(f"{name}={value!r}: give a whole number {allowed}{hint}.")
    if isinstance(value, bool):
        raise refusal
    try:
        number = operator.index(value)
    except TypeError:
        raise refusal from None
    if number < least or (most is not None and number > most):
        raise refusal
    return number


def optional_whole(name: str, value: object, least: int, most: int | None = None) -> int | None:
    """The same, or None."""
    return None if value is None else whole(name, value, least, most, hint=", or None")


def number(name: str, value: Any, least: float, most: float, *, what: str = "a number", hint: str = "") -> float:
    """A finite number from `least` to `most`."""
    if _is_no_number(value) or not least <= value <= most:
        raise DeclarationError(f"{name}={value!r}: give {what} from {least:,g} to {most:,g}{hint}.")
    return float(value)


def seconds(name: str, value: Any, least: float, most: float = MOST_SECONDS) -> float:
    """Seconds from `least` to `most`."""
    return number(name, value, least, most, what="seconds")


def some_seconds(name: str, value: Any) -> float | None:
    """Seconds above 0, or None."""
    if value is None:
        return None
    if _is_no_number(value) or not 0 < value <= MOST_SECONDS:
        raise DeclarationError(f"{name}={value!r}: give seconds above 0, or None.")
    return float(value)


def one_of(name: str, value: object, choices: tuple[str, ...]) -> str:
    """One of a few words."""
    if value not in choices:
        raise DeclarationError(f"{name}={value!r}: choose one of {', '.join(map(repr, choices))}.")
    return str(value)


def function(name: str, value: object) -> Callable[..., Any] | None:
    """What can be called, or None."""
    if value is not None and not callable(value):
        raise DeclarationError(f"{name}={value!r}: give a function, or None.")
    return value


def texts(name: str, value: Mapping[str, str] | None) -> dict[str, str]:
    """Environment variables."""
    result = dict(value or {})
    for key, item in result.items():
        if not isinstance(key, str) or not isinstance(item, str):
            raise DeclarationError(f"{name}: {key!r}={item!r} is not text; environment variables are.")
    return result


def _is_no_number(value: object) -> bool:
    return isinstance(value, bool) or not isinstance(value, numbers.Real)
