"""Records of the server, read so that nothing in one of them keeps the others from being shown.

Whoever writes to Redis may have written anything: a key of another type, a number that is none, bytes that are no text.
What cannot be read is shown as nothing, and the record says what is wrong with it.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from actorq.base.masking import masked, printable
from actorq.broker import keys
from actorq.broker.commands import Argument
from actorq.broker.link import Link
from actorq.broker.refusals import WrongTypeError

#: characters of a value that are shown, and things wrong with one record that are told
_SHOWN, _TOLD = 200, 5
#: a whole number of ours; the largest are nanoseconds and bytes
_WHOLE = re.compile(r"\d{1,18}", re.ASCII)


def raw(data: bytes) -> str:
    """A part of a key, to make other keys of."""
    return data.decode(errors="surrogateescape")


def text(data: bytes) -> str:
    """To be shown: of bounded length, and nothing in it that a terminal obeys."""
    shown = printable(masked(data.decode(errors="backslashreplace")))
    return shown if len(shown) <= _SHOWN else f"{shown[: _SHOWN - 1]}…"


def shown_name(name: str) -> str:
    """A name of the server's, as `raw` made it, to be shown."""
    return text(name.encode(errors="surrogateescape"))


class Problems:
    """What is wrong with one record."""

    def __init__(self) -> None:
        self._found: dict[str, None] = {}  # an ordered set

    def add(self, problem: str) -> None:
        self._found[problem] = None

    def __str__(self) -> str:
        told = list(self._found)
        more = [f"and {len(told) - _TOLD} more"] if len(told) > _TOLD else []
        return "; ".join(told[:_TOLD] + more)


class Asking:
    """Questions to the server. A key of another type is a problem of the record that asks.

    Args:
        link: a connection.
        problems: of the record.
    """

    def __init__(self, link: Link, problems: Problems) -> None:
        self._link = link
        self.problems = problems

    def ask(self, default: Any, command: str, key: str, *args: Argument) -> Any:
        """What the server says, or `default`."""
        try:
            return self._link.command(command, key.encode(errors="surrogateescape"), *args)
        except WrongTypeError:
            self._odd(key)
            return default

    def ask_each(self, commands: Sequence[Sequence[str]], of: Sequence[Asking] = ()) -> list[Any]:
        """The same for many commands in one go; None for each that has no answer.

        Args:
            commands: each a name, a key and arguments.
            of: whose record each asks for; none are this one's.
        """
        packed = [[part.encode(errors="surrogateescape") for part in command] for command in commands]
        try:
            return self._link.pipeline(packed) if packed else []
        except WrongTypeError:
            askings = of or [self] * len(commands)
            return [
                asking.ask(None, command, key, *args)
                for asking, (command, key, *args) in zip(askings, commands, strict=True)
            ]

    def _odd(self, key: str) -> None:
        self.problems.add(f"{text(key.encode(errors='surrogateescape'))} holds another kind of value")


def queues_of(asking: Asking) -> list[str]:
    """The names of those of which the server knows a queue."""
    return sorted(raw(key).removeprefix(keys.queue("")) for key in asking.ask([], "SMEMBERS", keys.QUEUES))


def fields_of(link: Link, names: Sequence[str], wanted: Sequence[str]) -> list[Fields]:
    """Some fields of hashes, each with problems of its own; none where a key is no hash."""
    askings = [Asking(link, Problems()) for _ in names]
    answers = Asking(link, Problems()).ask_each([["HMGET", key, *wanted] for key in names], of=askings)
    return [
        Fields(
            {name: data for name, data in zip(wanted, answer or (), strict=False) if data is not None}, each.problems
        )
        for answer, each in zip(answers, askings, strict=True)
    ]


class Fields:
    """One hash."""

    def __init__(self, fields: dict[str, bytes], problems: Problems) -> None:
        self._fields = fields
        self.problems = problems

    def __contains__(self, name: str) -> bool:
        return name in self._fields

    def data(self, name: str) -> bytes:
        return self._fields.get(name, b"")

    def text(self, name: str) -> str:
        return text(self.data(name))

    def whole(self, name: str) -> int | None:
        """A number from 0 up; None where there is none."""
        data = self.data(name)
        if not data:
            return None
        if _WHOLE.fullmatch(found := data.decode(errors="replace")):
            return int(found)
        self.odd(name, "no whole number")
        return None

    def seconds(self, name: str) -> float | None:
        """Unix seconds; None where there are none."""
        if name not in self:
            return None
        try:
            value = float(self.data(name)[:40])
        except ValueError:
            value = math.nan
        if math.isfinite(value):
            return value
        self.odd(name, "no time")
        return None

    def moment(self, name: str) -> float | None:
        """The same, of an ISO stamp as RQ writes them."""
        data = self.data(name)
        if not data:
            return None
        try:
            return datetime.fromisoformat(data.decode()).timestamp()
        except (ValueError, OverflowError, OSError):
            self.odd(name, "no time")
            return None

    def odd(self, name: str, what: str) -> None:
        """Notes that a field is not what it should be."""
        self.problems.add(f"{name} is '{self.text(name)}', {what}")
