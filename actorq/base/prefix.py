"""`actorq worker --prefix`: every line that a task prints begins with the replica, the map and the index of the input.

The one idea: *a line belongs to who began it*. Threads and coroutines write in turns, and `print` writes a line and its
end one after the other, so the parts of a line are kept together until it is whole. What is written past Python, by a
library in C or by another program, is not seen here and stays as it is.
"""

from __future__ import annotations

import io
import sys
import threading
from collections.abc import Callable, Mapping
from typing import Any, TextIO


def install(context: Callable[[], Mapping[str, Any]]) -> None:
    """For standard output and error of this process, and of what is forked from it.

    Args:
        context: tells what runs just now: "replica", "map", "index", or some of them.
    """
    sys.stdout, sys.stderr = Prefixed(sys.stdout, context), Prefixed(sys.stderr, context)


def prefix(now: Mapping[str, Any]) -> str:
    """What a line begins with; nothing where nobody is told."""
    if "replica" not in now:
        return ""
    place = f" {now['map']}" if "map" in now else ""
    index = f"[{now['index']}]" if "index" in now else ""
    return f"{now['replica']}{place}{index} | "


class Prefixed(io.TextIOBase):
    """Writes whole lines to `stream`, each behind its prefix."""

    def __init__(self, stream: TextIO, context: Callable[[], Mapping[str, Any]]) -> None:
        self.stream = stream
        self._context = context
        self._begun: dict[tuple[int, str], str] = {}

    def write(self, text: str) -> int:
        begin = prefix(self._context())
        key = (threading.get_ident(), begin)
        *lines, rest = (self._begun.pop(key, "") + text).split("\n")
        if rest:
            self._begun[key] = rest.rpartition("\r")[2] if len(rest) > 1 else rest  # as a terminal would show it
        if lines:
            self.stream.write("".join([f"{begin}{line}\n" for line in lines]))
        return len(text)

    def flush(self) -> None:
        """What was begun is a line, too: who flushes wants it to be seen, or ends."""
        while self._begun:
            key = next(iter(self._begun))  # in the order in which they were begun
            self.stream.write(f"{key[1]}{self._begun.pop(key)}\n")
        self.stream.flush()

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
