"""The folder of a worker's temporary files, also those of its tasks: gone when the worker is, however it ends.

A supervisor that is killed cannot remove its folder, so the next worker or pool on the machine does. The one idea: *a
folder is in use as long as somebody holds its lock*. The kernel lets go of a lock with the process that held it,
whatever other process has its number by then, also where containers share the file system.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import tempfile
from pathlib import Path

_PREFIX = "actorq-pool-"
_LOCK = ".lock"


class Scratch:
    """A folder of this process. `path` is where."""

    def __init__(self) -> None:
        remove_abandoned()
        self.path = tempfile.mkdtemp(prefix=_PREFIX)
        made = Path(self.path, f"{_LOCK}.new")
        self._lock = os.open(made, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        with contextlib.suppress(OSError):  # a file system without locks: the folder stays
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            made.rename(Path(self.path, _LOCK))  # nobody has seen it without its lock held

    def remove(self) -> None:
        """Removes it with all that is in it."""
        shutil.rmtree(self.path, ignore_errors=True)
        os.close(self._lock)


def remove_abandoned() -> None:
    """Removes what workers of this user have left that do not live any more."""
    with contextlib.suppress(OSError), os.scandir(tempfile.gettempdir()) as entries:
        for entry in entries:
            if entry.name.startswith(_PREFIX) and _is_abandoned(Path(entry.path)):
                shutil.rmtree(entry.path, ignore_errors=True)


def _is_abandoned(folder: Path) -> bool:
    """Whether nobody holds its lock. One without a lock is being made, or not ours."""
    try:
        if folder.lstat().st_uid != os.getuid():
            return False
        lock = os.open(folder / _LOCK, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:
        return False
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    finally:
        os.close(lock)
    return True
