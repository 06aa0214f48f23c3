"""Child processes: which there are, and whose they become when a task has left them."""

from __future__ import annotations

import ctypes
import os
import sys
from pathlib import Path

_PR_SET_CHILD_SUBREAPER = 36


def adopt_orphans() -> None:
    """What descendants of this process leave behind becomes its child. Linux only; elsewhere it ends with its group."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1)


def children(pid: int | None = None) -> set[int]:
    """Child processes of the main thread of `pid`, or of this process; zombies included."""
    pid = os.getpid() if pid is None else pid
    try:
        return set(map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split()))
    except OSError:  # not Linux, or it has ended
        return set()
