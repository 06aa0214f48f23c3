"""The standard streams: the objects in `sys`, and the descriptors 0, 1 and 2 under them.

An object that was closed cannot be opened again, so another one of its kind takes its place, also where `logging` has
it. A descriptor that now leads elsewhere is put back from a duplicate.
"""

from __future__ import annotations

import contextlib
import io
import logging
import os
import sys
from typing import Any

_NAMES = ("stdin", "stdout", "stderr")


class _Open:
    closed = False


_OPEN: Any = _Open()


class Streams:
    """As they are when this is made."""

    def __init__(self) -> None:
        self.objects = (sys.stdin, sys.stdout, sys.stderr)
        self._watch()
        self._saved = [saved for fd in range(len(_NAMES)) if (saved := _Descriptor(fd)).identity is not None]

    def restore(self) -> None:
        """Puts back the objects, those that were closed by others."""
        sys.stdin, sys.stdout, sys.stderr = self.objects
        opened = tuple(map(_opened, _NAMES, self.objects))
        if opened != self.objects:
            self.objects = opened
            self._watch()

    def closed(self) -> bool:
        """Whether one of those that are written was closed; 0.1 us."""
        return bool(self._out.closed or self._err.closed)

    def _watch(self) -> None:
        """Asks the files under the objects, which is quicker. What has none is looked at in `restore` only."""
        self._out, self._err = map(_file_of, self.objects[1:])

    def restore_descriptors(self) -> None:
        """Leads the descriptors where they led. Three system calls."""
        changed = [saved for saved in self._saved if saved.identity != _identity(saved.number)]
        if changed:
            for stream in self.objects[1:]:  # what was written belongs where it was sent
                with contextlib.suppress(Exception):
                    stream.flush()
        for saved in changed:
            os.dup2(saved.duplicate, saved.number)


def _file_of(stream: Any) -> Any:
    """The file under a stream. Under one that is not buffered (PYTHONUNBUFFERED) it lies at once."""
    buffer = getattr(stream, "buffer", None)
    return getattr(buffer, "raw", buffer if hasattr(buffer, "closed") else _OPEN)


class _Descriptor:
    """One of the three, and a duplicate of it."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.identity = _identity(number)
        self.duplicate = -1 if self.identity is None else os.dup(number)


def _identity(number: int) -> tuple[int, int] | None:
    try:
        status = os.fstat(number)
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _opened(name: str, stream: Any) -> Any:
    """`stream`, or, where it is closed, another one on its descriptor."""
    try:
        if stream is None or not stream.closed:
            return stream
    except AttributeError:
        return stream
    except ValueError:  # detached from its buffer
        pass
    if not isinstance(stream, io.TextIOWrapper):
        return stream
    again = open(  # noqa: SIM115 - it is not to be closed
        _NAMES.index(name),
        "r" if name == "stdin" else "w",
        encoding=stream.encoding,
        errors=stream.errors,
        closefd=False,
    )
    if name != "stdin":
        again.reconfigure(line_buffering=stream.line_buffering, write_through=stream.write_through)
    for place in (name, f"__{name}__"):
        if getattr(sys, place) is stream:
            setattr(sys, place, again)
    for reference in list(logging._handlerList):  # type: ignore[attr-defined]  # typeshed leaves it out
        handler: Any = reference()
        if getattr(handler, "stream", None) is stream:
            handler.stream = again
    return again
