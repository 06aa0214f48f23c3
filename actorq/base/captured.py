"""Lines that tasks print, on their way to whoever keeps them: `actorq worker --capture-output`.

The one idea: *a task is never held up for its log*. Each line is one small write to a named pipe, which is atomic and
does not wait: where nobody reads, or too much comes, lines are left out, and how many is told.

    a line of the pipe   ["replica", "map", index or null, "text"], as JSON
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

#: bytes of a write that a pipe takes as a whole (PIPE_BUF of Linux), and characters of a piece of a long line: escaped
#: as JSON one may take six bytes
_ATOMIC, _PIECE = 4096, 600
#: characters that are kept of what one input prints
INPUT_CHARACTERS = 64 * 1024
#: inputs whose characters are counted at the same time
_COUNTED = 64


def pipe_in(folder: str | Path) -> Path:
    """The path of the pipe in a worker's folder."""
    return Path(folder, "output")


class Line(NamedTuple):
    """One line, or a piece of a long one."""

    replica: str
    #: of a map, a run or a job
    name: str
    #: its index; None where nobody knows
    input: int | None
    text: str


class LineWriter:
    """Writes what the inputs of this process print, and of those that are forked from it.

    Args:
        path: the pipe.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._fd = -1
        self._inode = 0
        self._lost = 0
        self._counts: dict[tuple[str, int | None], int] = {}
        self._open()

    def __call__(self, now: Mapping[str, Any], lines: Sequence[str]) -> None:
        if "map" not in now:  # nothing runs: it belongs to no input
            return
        told = (now["replica"], now["map"], now.get("index"))
        for line in lines:
            left = self._room((told[1], told[2]), len(line) + 1)
            if left < 0:
                return
            if left == 0:
                self._write(*told, f"(more than {INPUT_CHARACTERS:,} characters: the rest is not kept)")
                return
            for at in range(0, max(len(line), 1), _PIECE):
                self._write(*told, line[at : at + _PIECE])

    def fileno(self) -> int:
        return self._fd

    def close(self) -> None:
        """Nothing more is written."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _room(self, of: tuple[str, int | None], size: int) -> int:
        """What is left for an input after `size` more characters: 0 as soon as there is nothing, then -1."""
        had = self._counts.pop(of, 0)
        self._counts[of] = had + size  # at the end: those that were heard of last stay
        while len(self._counts) > _COUNTED:
            del self._counts[next(iter(self._counts))]
        return -1 if had > INPUT_CHARACTERS else max(INPUT_CHARACTERS - had - size, 0)

    def _write(self, replica: str, name: str, index: int | None, text: str) -> None:
        if self._lost:
            lost, self._lost = self._lost, 0
            self._write(replica, name, index, f"({lost:,} lines were left out: too many came at once)")
        data = json.dumps([replica, name, index, text]).encode() + b"\n"
        try:
            if self._fd < 0 or os.fstat(self._fd).st_ino != self._inode:  # a task has closed it
                self._open()
            if len(data) <= _ATOMIC:
                os.write(self._fd, data)
        except OSError:  # full, or nobody reads
            self._lost += 1

    def _open(self) -> None:
        try:
            self._fd = os.open(self._path, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
            self._inode = os.fstat(self._fd).st_ino
        except OSError:
            self._fd = -1


class LineReader:
    """The other end.

    Args:
        path: where the pipe is made.
    """

    def __init__(self, path: Path) -> None:
        os.mkfifo(path, 0o600)
        self._path = path
        self._fd = os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)  # both ends: it never ends
        self._rest = b""

    def fileno(self) -> int:
        return self._fd

    def read(self) -> list[Line]:
        """What is there. What is no line of ours is passed over."""
        try:
            data = os.read(self._fd, 1 << 18)
        except BlockingIOError:
            return []
        *lines, self._rest = (self._rest + data).split(b"\n")
        return [line for each in lines if (line := _parsed(each)) is not None]

    def close(self) -> None:
        os.close(self._fd)
        self._path.unlink(missing_ok=True)


def _parsed(data: bytes) -> Line | None:
    try:
        replica, name, index, text = json.loads(data)
    except (ValueError, TypeError):
        return None
    words = all(isinstance(each, str) for each in (replica, name, text))
    return Line(replica, name, index, text) if words and (index is None or type(index) is int) else None
