"""What tasks have printed, as it lies on the server: the last lines of each map, run or job.

The one idea: as in `records.py`, plain commands. The stream of a map is bounded, and goes a day after its last line.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from actorq.broker import keys
from actorq.broker.commands import Argument
from actorq.broker.link import Link

#: lines of a map that are kept, or a few more, and for how long after the last one, seconds
MOST_LINES, _SECONDS = 10_000, 86_400
_BEGIN = b"0-0"


class Printed(NamedTuple):
    """One line."""

    #: where it lies
    id: bytes
    #: Unix seconds
    at: float
    replica: str
    #: index of the input; None where nobody knows
    input: int | None
    text: str


def keep_output(link: Link, lines: Iterable[tuple[str, str, int | None, str]]) -> None:
    """Keeps lines: replica, name, index and text of each."""
    commands: list[tuple[Argument, ...]] = []
    names: dict[str, None] = {}
    for replica, name, index, text in lines:
        told = ("r", replica, "i", "" if index is None else index, "t", text.encode(errors="backslashreplace"))
        commands.append(("XADD", keys.output(name), "MAXLEN", "~", MOST_LINES, "*", *told))
        names[name] = None
    commands += [("EXPIRE", keys.output(name), _SECONDS) for name in names]
    if commands:
        link.pipeline(commands)


def output_of(link: Link, name: str, last: bytes = _BEGIN, count: int = 1000) -> list[Printed]:
    """The next lines behind the id `last`."""
    found = link.command("XRANGE", keys.output(name), b"(" + last if last != _BEGIN else "-", "+", "COUNT", count)
    return [_printed(*entry) for entry in found]


def wait_for_output(link: Link, name: str, last: bytes, seconds: float) -> None:
    """Until there is more, or for so long."""
    block = max(1, int(seconds * 1000))
    link.command("XREAD", "COUNT", 1, "BLOCK", block, "STREAMS", keys.output(name), last)


def _printed(entry: bytes, fields: list[bytes]) -> Printed:
    told = dict(zip(fields[::2], fields[1::2], strict=False))
    index = told.get(b"i", b"")
    return Printed(
        id=entry,
        at=int(entry.partition(b"-")[0]) / 1000,
        replica=told.get(b"r", b"").decode(errors="replace"),
        input=int(index) if index.isdigit() else None,
        text=told.get(b"t", b"").decode(errors="replace"),
    )
