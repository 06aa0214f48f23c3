"""Lines that tasks print, on their way to whoever keeps them: `actorq worker --capture-output`.

The one idea: *a task is never held up for its log*. Each line is one small write to a named pipe, which is atomic and
does not wait: where nobody reads, or too much comes, lines are left out, and how many is told.

    a line of the pipe   ["replica", "map", index or null, "text"], as JSON
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

#: bytes of a write that a pipe takes as a whole (PIPE_BUF of Linux), and characters of a piece of a long line, which
#: take six bytes at most, where JSON escapes them
_ATOMIC, _PIECE = 4096, 600
#: what a pipe holds, where it may: what all replicas of a worker print in a tenth of a second
_PIPE_BYTES = 1 << 20
#: characters that are kept of what one input prints
INPUT_CHARACTERS = 64 * 1024


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
        self._counts: dict[tuple[str, str, int | None], int] = {}  # characters of each input of this lease
        self._last: tuple[str, str, int | None] = ("", "", None)  # whose the last line was
        self._open()

    def __call__(self, now: Mapping[str, Any], lines: Sequence[str]) -> None:
        if "map" not in now:  # nothing runs: it belongs to no input
            return
        of = self._last = (now["replica"], now["map"], now.get("index"))
        self._tell_lost()
        for line in lines:
            room = INPUT_CHARACTERS - self._counts.get(of, 0)
            if room < 0:
                return
            self._counts[of] = self._counts.get(of, 0) + len(line) + 1
            if len(line) < room:
                self._write_line(of, line)
            else:
                self._write_line(of, line[:room])
                self._write_line(of, f"(more than {INPUT_CHARACTERS:,} characters: the rest is not kept)")

    def end(self) -> None:
        """A lease has ended: its inputs may run again, and may print as much then."""
        self._counts.clear()
        self._tell_lost()

    def fileno(self) -> int:
        return self._fd

    def close(self) -> None:
        """Nothing more is written."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _tell_lost(self) -> None:
        if self._lost and self._write(*self._last, f"({self._lost:,} lines were left out: too many came at once)"):
            self._lost = 0

    def _write_line(self, of: tuple[str, str, int | None], line: str) -> None:
        pieces = [line[at : at + _PIECE] for at in range(0, max(len(line), 1), _PIECE)]
        if not all([self._write(*of, piece) for piece in pieces]):  # noqa: C419 - each of them is tried
            self._lost += 1

    def _write(self, replica: str, name: str, index: int | None, text: str) -> bool:
        """Whether it was written: not where the pipe is full, or nobody reads."""
        told = json.dumps([replica, name, index, text], ensure_ascii=False)
        data = told.encode(errors="backslashreplace") + b"\n"  # of half a character as JSON escapes it, too
        if len(data) > _ATOMIC:
            return False
        if not self._is_open():  # a task has closed it
            self._open()
        try:
            return os.write(self._fd, data) == len(data)
        except OSError:
            return False

    def _is_open(self) -> bool:
        try:
            return self._fd >= 0 and os.fstat(self._fd).st_ino == self._inode
        except OSError:
            return False

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
        with contextlib.suppress(OSError, AttributeError):  # more than a user may have; not Linux
            fcntl.fcntl(self._fd, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
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
