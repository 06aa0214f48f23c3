"""Large messages between processes of one host, in its memory: they do not pass through the server.

A server takes a value in and gives it out again: five copies, two of them by the one thread that serves everybody. The
one idea: *who shares the server's socket shares its host*. Beside the socket of a server that a program has started for
itself lies a link to a folder in memory, in which a message is a file, and the scripts are given its name.

    i-<lease>                        a lease's payload: removed by the replica that has run it, or with the map
    o-<lease>:<attempt>-<number>     a frame of its results: removed by the submitter that reads it
    f-<number>                       a file that is not needed any more, to be written again
    w-<number>                       one that is being written

Most of the time of a write is that of getting new memory from the kernel, so a few files are written again. A message
begins with a random word, which is in the reference, too, and is looked at after it was read: who was held up, and
reads what has been written over, finds that it is gone. What is left by who was killed goes when it is two minutes
old, or with the server. Where there is not enough room, a message goes through the server.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import stat
import tempfile
import time
from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import count
from pathlib import Path

from actorq.wire.messages import Parts

#: from this size on it is quicker than the server, bytes: there and back 152 us beside 174; of 1 MiB, 289 beside 411
LEAST_BYTES = 256 * 1024
#: seconds after which results that nobody has read are garbage
_STALE_SECONDS = 120.0
#: part of the memory's file system that stays free
_FREE = 0.5
#: the link beside a socket, and where folders are made
LINK, _MEMORY = "memory", Path("/dev/shm")  # noqa: S108 - a folder of one user's own is made in it
#: files that are written again, and the largest of them, bytes
_FREE_FILES, _LARGEST_FREE = 8, 16 << 20
#: bytes of the word that a message begins with
_WORD = 8
_NAME = re.compile(r"[A-Za-z0-9_.:-]{1,250}", re.ASCII)
#: pieces that one call of the system writes; Linux takes 1,024
_MOST_PIECES = 512

_numbers = count()


def next_number() -> str:
    """Another one each time, in whichever process."""
    return f"{os.getpid()}-{next(_numbers)}"


def make(beside: Path) -> Path | None:
    """Makes the folder for who uses the server whose socket lies in `beside`; None where there is no such memory."""
    if not (_MEMORY.is_dir() and os.access(_MEMORY, os.W_OK)):
        return None
    with contextlib.suppress(OSError):
        folder = Path(tempfile.mkdtemp(prefix="actorq-", dir=_MEMORY))  # nobody else may look into it
        (beside / LINK).symlink_to(folder)
        return folder
    return None


@lru_cache(maxsize=64)
def of(url: str) -> Nearby | None:
    """The folder of a server; None where it has none, or is not on this host."""
    if not url.startswith("unix://"):
        return None
    link = Path(url.removeprefix("unix://").partition("?")[0]).parent / LINK
    try:
        found = link.stat()
    except OSError:
        return None
    private = stat.S_ISDIR(found.st_mode) and not found.st_mode & 0o077 and found.st_uid == os.getuid()
    return Nearby(link.resolve()) if private else None


class Nearby:
    """One folder. Any thread may use it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def put(self, name: str, parts: Parts) -> str | None:
        """Writes a message, unless it is there: the same lease may be sent twice. The word it begins with; None where
        there is no room, and it must go another way.
        """
        if (there := self._word_of(name)) is not None:
            return there
        size, written = _WORD + sum(map(len, parts)), self._folder / f"w-{next_number()}"
        word = os.urandom(_WORD)
        try:
            room = os.statvfs(self._folder)
            if room.f_bavail * room.f_frsize - size < _FREE * room.f_blocks * room.f_frsize:
                return None
            self._take(written)
            file = os.open(written, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                _write(file, (word, *parts))
                os.ftruncate(file, size)
            finally:
                os.close(file)
            written.rename(self._folder / name)
        except OSError:
            written.unlink(missing_ok=True)
            return None
        return word.hex()

    def get(self, name: str, word: str, most: int, *, keep: bool) -> bytes | None:
        """The message; None where it is gone. Raises `ValueError` for one of more than `most` bytes, or no name."""
        if not _NAME.fullmatch(name):
            raise ValueError("It is no name of a message.")
        try:
            file = os.open(self._folder / name, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        except OSError:
            return None
        try:
            size = os.fstat(file).st_size - _WORD
            if size > most:
                raise ValueError(f"It has {size:,} bytes; there may be {most:,}.")
            data = _read(file, size)
            whole = len(data) == size and os.pread(file, _WORD, 0).hex() == word
        finally:
            os.close(file)
        if whole and not keep:
            self.forget(name)
        return data if whole else None

    def _word_of(self, name: str) -> str | None:
        with contextlib.suppress(OSError), (self._folder / name).open("rb", buffering=0) as file:
            return file.read(_WORD).hex()
        return None

    def _take(self, path: Path) -> None:
        """Has a file that is to be written again at `path`, if there is one."""
        for number in range(_FREE_FILES):
            with contextlib.suppress(OSError):  # nobody else can have it now
                (self._folder / f"f-{number}").rename(path)
                return

    def forget(self, *names: str) -> None:
        """These are not needed any more, and nobody reads them."""
        for name in names:
            with contextlib.suppress(OSError):
                path = self._folder / name
                if path.stat().st_size <= _LARGEST_FREE:
                    self._give(path)
                path.unlink()

    def _give(self, path: Path) -> None:
        """Lets a file be written again, if there are not enough of these."""
        for number in range(_FREE_FILES):
            with contextlib.suppress(FileExistsError):
                (self._folder / f"f-{number}").hardlink_to(path)
                return

    def sweep(self, prefix: str) -> None:
        """Removes what is left of leases whose names begin so, what nobody has read, and files to be written again."""
        stale = time.time() - _STALE_SECONDS
        for entry in self._entries():
            with contextlib.suppress(OSError):
                old = entry.name.startswith(("o-", "w-")) and entry.stat().st_mtime < stale
                if old or entry.name.startswith((f"i-{prefix}", f"o-{prefix}", "f-")):
                    Path(entry.path).unlink()

    def _entries(self) -> Iterator[os.DirEntry[str]]:
        with contextlib.suppress(OSError), os.scandir(self._folder) as entries:
            yield from entries


def payload_name(lease: str) -> str:
    """Of a lease's payload."""
    return f"i-{lease}"


def results_name(member: str) -> str:
    """Of a frame of results of `<lease>:<attempt>`: another one each time."""
    return f"o-{member}-{next_number()}"


def _read(file: int, size: int) -> bytes:
    """The message behind the word, as bytes: a bytearray is filled with zeros first (8 MB: 1.8 ms, not 0.9)."""
    data = os.pread(file, max(size, 0), _WORD)
    while len(data) < size and (more := os.pread(file, size - len(data), _WORD + len(data))):
        data += more  # one call reads 2 GiB at most
    return data


def _write(file: int, parts: Sequence[bytes | bytearray | memoryview]) -> None:
    left = [memoryview(part).cast("B") for part in parts if len(part)]
    while left:
        written = os.writev(file, left[:_MOST_PIECES])
        if not written:
            raise OSError(errno.ENOSPC, "nothing was written")
        while left and written >= len(left[0]):
            written -= len(left.pop(0))
        if written:
            left[0] = left[0][written:]
