"""Files by which one executor tells the supervisor, or its successor, something when it ends.

They lie beside its scratch folder, which each executor makes anew. Light to import: the supervisor does.
"""

from __future__ import annotations

import contextlib
import traceback
from pathlib import Path

#: characters of a traceback that are kept: it goes through a pipe of 64 KiB, which nobody may be reading yet
_MOST_TEXT = 20_000


def caches(scratch: str) -> Path:
    """What `@actor_cache` held when the executor was recycled."""
    return Path(f"{scratch}.caches")


def forget_caches(scratch: str) -> None:
    """An executor has crashed, perhaps by what it was told to load: the next one starts cold."""
    with contextlib.suppress(OSError):
        caches(scratch).unlink(missing_ok=True)


def leave_failure(scratch: str, error: BaseException) -> None:
    """Leaves to the supervisor why the executor could not start."""
    from actorq.wire import failure

    try:
        _failure(scratch).write_text(failure.describe(error)["traceback"][-_MOST_TEXT:], encoding="utf-8")
    except OSError:
        traceback.print_exception(error)


def take_failure(scratch: str) -> str | None:
    """Why an executor could not start, if it has left word."""
    try:
        text = _failure(scratch).read_text(encoding="utf-8")
        _failure(scratch).unlink()
    except OSError:
        return None
    return text


def _failure(scratch: str) -> Path:
    return Path(f"{scratch}.failure")
