"""The output of `actorq map`, which is its own checkpoint.

The one idea: *what is written is done*. Beside the output lies a file with a checksum of every row and of the line that
was made of it. Its entry is written first, so each whole line has one: started again, the command verifies what is
there, cuts a line that was not finished, and goes on behind it.

    out.jsonl.actorq    a line of JSON: what made it;  then for each line: crc32 of the row, crc32 of the line
"""

from __future__ import annotations

import fcntl
import io
import json
import struct
import threading
import zlib
from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol

from actorq.cli.rows import Row
from actorq.errors import ActorqError

#: of a row, and of its line
_ENTRY = struct.Struct(">II")
#: lines are in the file after so long, seconds, or when there are so many bytes of them
_FLUSH_SECONDS, _FLUSH_BYTES = 0.2, 1 << 18
_VERSION = 1


class CheckpointError(ActorqError):
    """The output that is there is not one to go on with."""


class Output(Protocol):
    """Where lines go."""

    #: lines that are there
    done: int

    def skip(self, rows: Iterator[Row]) -> Iterator[Row]: ...
    def write(self, line: bytes) -> None: ...
    def close(self) -> None: ...


class Checkpoint:
    """An output file that is gone on with.

    Args:
        path: of the output.
        made_by: what makes it: another task, or other options, do not go on with it.
        batch: rows that are done together, or not at all.

    Raises `CheckpointError` for a file that was made by something else, or was changed.
    """

    def __init__(self, path: Path, made_by: dict[str, Any], batch: int) -> None:
        self._path = path
        self._side_path = path.with_name(path.name + ".actorq")
        self._head = json.dumps({"version": _VERSION, **made_by}, sort_keys=True).encode() + b"\n"
        self._rows: deque[int] = deque()  # checksums of rows whose lines are to come
        self._lock = threading.Lock()
        self._entries, self._lines = bytearray(), bytearray()  # not in the files yet
        #: lines that are there
        self.done = 0
        try:
            known = self._known()
            size = self._verified(known, batch)
            self._file, self._side = self._opened()
        except OSError as error:
            raise CheckpointError(f"{path} cannot be written: {error.strerror or error}.") from None
        self._before = (known or b"")[: _ENTRY.size * self.done]  # entries of rows that are compared when they come
        self._refused: OSError | None = None
        try:
            fcntl.flock(self._side, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            self._file.close()
            self._side.close()
            raise CheckpointError(f"Another program writes {path}: wait for its end.") from None
        self._file.truncate(size)
        if known is None:
            self._side.write(self._head)
        self._side.truncate(len(self._head) + _ENTRY.size * self.done)
        self._over = threading.Event()
        self._flusher = threading.Thread(target=self._flush_now_and_then, name="actorq-output", daemon=True)
        self._flusher.start()

    def skip(self, rows: Iterator[Row]) -> Iterator[Row]:
        """The rows behind those that are done. Raises `CheckpointError` where one of these was another one."""
        entries, self._before = self._before, b""
        for number in range(self.done):
            row = next(rows, None)
            if row is None:
                raise CheckpointError(f"The input has {number:,} rows, and {self._path} has {self.done:,} lines of it.")
            if row.checksum != _ENTRY.unpack_from(entries, _ENTRY.size * number)[0]:
                raise CheckpointError(
                    f"Row {number + 1} of the input is another one than line {number + 1} of {self._path} was made of: "
                    f"the input has changed. Give it another output, or delete this one and {self._side_path}."
                )
        for row in rows:
            self._rows.append(row.checksum)
            yield row

    def write(self, line: bytes) -> None:
        """The line of the next row. Raises `CheckpointError` where the files cannot be written."""
        with self._lock:
            if self._refused is not None:
                raise self._unwritable(self._refused)
            self._entries += _ENTRY.pack(self._rows.popleft(), zlib.crc32(line))
            self._lines += line
            self.done += 1
            if len(self._lines) > _FLUSH_BYTES:
                self._flush()

    def close(self) -> None:
        self._over.set()
        self._flusher.join()
        try:
            with self._lock:
                self._flush()
        finally:
            self._file.close()
            self._side.close()

    # -- parts ---------------------------------------------------------------------------------------------------------

    def _flush(self) -> None:
        """Raises `CheckpointError`. What a file took a part of goes on behind that part."""
        try:
            for file, data in ((self._side, self._entries), (self._file, self._lines)):
                while data:
                    del data[: file.write(data) or 0]
        except OSError as error:
            self._refused = error
            raise self._unwritable(error) from error
        self._refused = None

    def _unwritable(self, error: OSError) -> CheckpointError:
        return CheckpointError(
            f"{self._path} cannot be written: {error}. Make room, and run the command again: it goes on where it was."
        )

    def _flush_now_and_then(self) -> None:
        while not self._over.wait(_FLUSH_SECONDS):
            with self._lock, suppress(CheckpointError):  # who writes the next line is told
                self._flush()

    def _opened(self) -> tuple[io.FileIO, io.FileIO]:
        """Without buffers of their own, which would write once more what a full disk took a part of."""
        return io.FileIO(self._path, "ab"), io.FileIO(self._side_path, "ab")

    def _known(self) -> bytes | None:
        """The entries that are there; None where there is no such file."""
        if not self._side_path.exists():
            if self._path.exists() and self._path.stat().st_size:
                raise CheckpointError(
                    f"{self._path} is there, without the {self._side_path.name} that would tell what made it: give "
                    "another output, or delete this one."
                )
            return None
        head, _, entries = self._side_path.read_bytes().partition(b"\n")
        if head + b"\n" != self._head:
            raise CheckpointError(
                f"{self._path} was made by {head.decode(errors='replace')}, and this would be "
                f"{self._head.decode().strip()}: give another output, or delete this one and {self._side_path}."
            )
        return entries

    def _verified(self, known: bytes | None, batch: int) -> int:
        """Counts the lines that are done; returns where they end."""
        if known is None or not self._path.exists():
            return 0
        ends = [0]
        with self._path.open("rb") as file:
            for line in file:
                number = len(ends)
                if not line.endswith(b"\n"):
                    break
                at = _ENTRY.size * (number - 1)
                if len(known) < at + _ENTRY.size or _ENTRY.unpack_from(known, at)[1] != zlib.crc32(line):
                    raise CheckpointError(
                        f"Line {number} of {self._path} is not what was written there: give another output, or delete "
                        f"this one and {self._side_path}."
                    )
                ends.append(ends[-1] + len(line))
        self.done = (len(ends) - 1) // batch * batch
        return ends[self.done]


class Stream:
    """An output that cannot be gone on with: stdout."""

    def __init__(self, file: Any) -> None:
        self._file = file
        self.done = 0

    def skip(self, rows: Iterator[Row]) -> Iterator[Row]:
        return rows

    def write(self, line: bytes) -> None:
        self._file.write(line)
        self._file.flush()
        self.done += 1

    def close(self) -> None:
        self._file.flush()
