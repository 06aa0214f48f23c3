"""`actorq worker --prefix` and `--capture-output`: every line that a task prints is told with what ran.

The one idea: *a line belongs to who began it*. Threads and coroutines write in turns, and `print` writes a line and its
end one after the other, so the parts of a line are kept together until it is whole. What is written past Python, by a
library in C or by another program, is not seen here and stays as it is.
"""

from __future__ import annotations

import io
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, TextIO

#: what ran: "replica", "map", "index", or some of them
Context = Mapping[str, Any]

#: a line that is longer than this is told in pieces, characters
_LONGEST = 65_536


class Keeper(Protocol):
    """Who is told of whole lines and of what ran."""

    def __call__(self, now: Context, lines: Sequence[str]) -> None: ...
    def end(self) -> None:
        """The inputs of a lease have ended."""


_keeper: Keeper | None = None


def install(context: Callable[[], Context], *, shown: bool = True) -> None:
    """For standard output and error of this process, and of what is forked from it.

    Args:
        context: tells what runs just now.
        shown: each line begins with it; else what is written stays as it is, and lines are for `keep_lines` alone.
    """
    sys.stdout, sys.stderr = (Prefixed(stream, context, shown=shown) for stream in (sys.stdout, sys.stderr))


def keep_lines(keeper: Keeper) -> None:
    """From now on `keeper` is told of whole lines, and of what ran."""
    global _keeper
    _keeper = keeper


def lease_ended() -> None:
    """The inputs that ran have ended."""
    if _keeper is not None:
        _keeper.end()


def prefix(now: Context) -> str:
    """What a line begins with; nothing where nobody is told."""
    if "replica" not in now:
        return ""
    place = f" {now['map']}" if "map" in now else ""
    index = f"[{now['index']}]" if "index" in now else ""
    return f"{now['replica']}{place}{index} | "


class _Begun:
    """A line that has no end yet: joined when it has one, as a dot may be written for each of a million items."""

    def __init__(self, now: Context) -> None:
        self.now = now
        self.parts: list[str] = []
        self.size = 0

    @property
    def text(self) -> str:
        return "".join(self.parts)


class Prefixed(io.TextIOBase):
    """Writes whole lines to `stream`, each behind its prefix, or all as it comes where that is not `shown`."""

    def __init__(self, stream: TextIO, context: Callable[[], Context], *, shown: bool = True) -> None:
        self.stream = stream
        self._context = context
        self._shown = shown
        self._begun: dict[tuple[int, str], _Begun] = {}

    def write(self, text: str) -> int:
        size = len(text)
        if not self._shown:
            self.stream.write(text)
        now = dict(self._context())
        key = (threading.get_ident(), prefix(now))
        begun = self._begun.pop(key, None) or _Begun(now)
        if "\n" in text or "\r" in text:
            *lines, rest = (begun.text + text).split("\n")
            if lines:
                self._told(now, lines)
            begun = _Begun(now)
            text = rest.rpartition("\r")[2] if len(rest) > 1 else rest  # as a terminal would show it
        if text:
            begun.parts.append(text)
            begun.size += len(text)
        if begun.size > _LONGEST:
            self._told(now, [begun.text])
        elif begun.size:
            self._begun[key] = begun
        return size

    def flush(self) -> None:
        """What was begun is a line, too: who flushes wants it to be seen, or ends."""
        while self._begun:
            begun = self._begun.pop(next(iter(self._begun)))  # in the order in which they were begun
            self._told(begun.now, [begun.text])
        self.stream.flush()

    def _told(self, now: Context, lines: Sequence[str]) -> None:
        if self._shown:
            begin = prefix(now)
            self.stream.write("".join([f"{begin}{line}\n" for line in lines]))
        if _keeper is not None:
            _keeper(now, lines)

    def close(self) -> None:
        """It is not the task's to close: others write here, too."""
        self.flush()

    def fileno(self) -> int:
        return self.stream.fileno()

    def isatty(self) -> bool:
        return self.stream.isatty()

    def writable(self) -> bool:
        return True

    @property
    def buffer(self) -> Any:
        return self.stream.buffer

    @property
    def encoding(self) -> str:  # type: ignore[override]  # of the stream's, as the other
        return self.stream.encoding

    @property
    def errors(self) -> str | None:  # type: ignore[override]
        return self.stream.errors

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)  # `reconfigure` and the like
