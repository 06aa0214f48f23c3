"""Whether this process can be forked once per input, and why not.

A fork copies one thread. What other threads held (a lock, a half-written buffer), what a GPU driver keeps for a process
and what an event loop registered with the kernel is broken in the child, mostly as a hang, and later. So it is refused
early, by the name of the cause.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterable
from pathlib import Path

#: what a descriptor of this kind says about the process that holds it
_HOLDERS = {
    "/dev/nvidia": "it holds CUDA",
    "/dev/kfd": "it holds ROCm",
    "anon_inode:[eventpoll]": "it holds an event loop",
}


def why_not_forkable() -> str | None:
    """Why children of this process would be broken; None when they would not."""
    others = [thread.name for thread in threading.enumerate() if thread is not threading.current_thread()]
    if others:
        return f"it runs threads ({', '.join(sorted(others)[:5])})"
    return held(_descriptors()) or _native_threads()


def held(descriptors: Iterable[str]) -> str | None:
    """What one of these open descriptors, as /proc names them, says against a fork."""
    for target in descriptors:
        for prefix, meaning in _HOLDERS.items():
            if target.startswith(prefix):
                return f"{meaning} ({target} is open)"
    return None


def _descriptors() -> list[str]:
    if sys.platform != "linux":
        return []
    targets = []
    for entry in os.scandir("/proc/self/fd"):
        try:
            targets.append(str(Path(entry.path).readlink()))
        except OSError:  # that of the listing itself
            continue
    return targets


def _native_threads() -> str | None:
    """Threads that Python does not know and that a fork does not end.

    Libraries that can be forked end their threads in a handler before each fork (OpenBLAS does, and starts them again
    when they are needed), so those that are left right after one belong to libraries that cannot.
    """
    if sys.platform != "linux" or _threads() == 1:
        return None
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)
    left = _threads() - 1
    if left <= 0:
        return None
    return f"it holds {left} native thread{'s' if left > 1 else ''} (of a library that cannot be forked)"


def _threads() -> int:
    for line in Path("/proc/self/status").read_text(encoding="ascii", errors="replace").splitlines():
        if line.startswith("Threads:"):
            return int(line.split()[1])
    return 1
