"""The memory watchdog: stops one input before the kernel stops the whole pod, and says so.

The kernel's killer ends a process without a word, in a pod often all of them, and their caches with them. So the
supervisor looks at what is used and, shortly before the limit, stops the input whose executor holds most: an exception
first, SIGKILL if that does not help.

What makes it cheap: a figure that is never too low costs microseconds, and the exact one is read only when that one
gives reason to. The further from the limit, the longer until the next look.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from actorq.isolation.orphans import children

#: an input is stopped when less than this part of the limit is left…
_RESERVE_PART = 0.05
#: …or, of a large limit, less than this, bytes. What is needed is what a task takes from one look to its end, and that
#: does not grow with the limit: fresh pages come at 1 to 2.5 GB/s a thread, so 256 MiB last for the 0.1 to 0.25 s that
#: a look, a signal and an exception take. 64 MiB would be gone between two looks.
_RESERVE_MOST = 256 * 1024 * 1024
#: seconds between two looks: where it is close, and where it is far
_LOOK_LEAST, _LOOK_MOST = 0.05, 1.0
#: bytes a second that are not outrun: as many threads as take memory at the same time, and some
_FASTEST = 4 * 1024**3
#: exact looks may take this part of the time: of processes that share pages they take 0.7 ms each. Between two, what
#: the first one found to be less than the quick figure is taken off that
_EXACT_PART = 0.01
#: how long an input that was asked to stop may take, and then its memory to be given back, before another is asked
_RELEASE_SECONDS = 0.5
#: v1 says so where there is no limit
_NO_LIMIT = 1 << 60


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """An executor that runs an input."""

    index: int
    pid: int


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """The input of this executor is to be stopped."""

    victim: Candidate
    used: int
    limit: int


class Meter(Protocol):
    """Tells how much memory is used, bytes."""

    limit: int

    def at_most(self, pids: Sequence[int]) -> int:
        """Not less than what is used; quick."""
        ...

    def exactly(self, pids: Sequence[int]) -> int:
        """What is used."""
        ...


class Watchdog:
    """Looks after the memory of one supervisor's executors.

    Args:
        meter: measures.
        alone: what is used is used by them. Otherwise an input is stopped only when its like hold most of it: a local
            pool shares its container with the program, and stopping the one does not help the other.
    """

    def __init__(self, meter: Meter, *, alone: bool) -> None:
        self.limit = meter.limit
        self._meter = meter
        self._alone = alone
        self._threshold = meter.limit - min(int(_RESERVE_PART * meter.limit), _RESERVE_MOST)
        self._next_look = 0.0
        self._discount, self._discount_until = 0, 0.0

    def due(self, now: float) -> bool:
        return now >= self._next_look

    def critical(self, pids: Sequence[int]) -> bool:
        """Whether half of the reserve is gone as well: there is no time to wait for an input that was asked to stop."""
        line = (self._threshold + self.limit) // 2
        return self._meter.at_most(pids) > line and self._meter.exactly(pids) > line

    def look(self, now: float, running: Sequence[Candidate], pids: Sequence[int]) -> Verdict | None:
        """What to stop now, if anything.

        Args:
            running: executors that run an input.
            pids: all executors.
        """
        used = self._meter.at_most(pids)
        if used > self._threshold:
            used = self._corrected(now, used, pids)
        pause = max(_LOOK_LEAST, (self._threshold - used) / _FASTEST)
        self._next_look = now + min(pause, _LOOK_MOST)
        if used <= self._threshold or not running:
            return None
        held = {executor.pid: tree_bytes(executor.pid, _exact) for executor in running}
        if not self._alone and 2 * sum(held.values()) < used:
            return None
        self._next_look = now + _RELEASE_SECONDS
        victim = max(running, key=lambda executor: held[executor.pid])
        return Verdict(victim=victim, used=used, limit=self.limit)

    def _corrected(self, now: float, used: int, pids: Sequence[int]) -> int:
        """What is used, where the quick figure says `used`."""
        if now < self._discount_until and used - self._discount <= self._threshold:
            return used - self._discount
        begun = time.perf_counter()
        exact = self._meter.exactly(pids)
        took = time.perf_counter() - begun
        self._discount, self._discount_until = used - exact, now + took / _EXACT_PART
        return exact


class Cgroup:
    """The control group of a container: what the kernel's killer looks at.

    Args:
        limit: bytes.
        usage: file with the bytes in use.
        stat: file that says how many of them the kernel would drop first: pages of files that nobody uses now.
    """

    def __init__(self, limit: int, usage: Path, stat: Path) -> None:
        self.limit = limit
        self._usage = os.open(usage, os.O_RDONLY)
        self._stat = stat

    def at_most(self, pids: Sequence[int]) -> int:
        return int(os.pread(self._usage, 64, 0))

    def exactly(self, pids: Sequence[int]) -> int:
        inactive = 0
        for line in self._stat.read_text(encoding="ascii").splitlines():
            name, _, value = line.partition(" ")
            if name in ("inactive_file", "total_inactive_file"):
                inactive = int(value)
        return self.at_most(pids) - inactive


class Processes:
    """The executors and their children, against a limit that was set by hand."""

    def __init__(self, limit: int) -> None:
        self.limit = limit

    def at_most(self, pids: Sequence[int]) -> int:
        return sum(tree_bytes(pid, _resident) for pid in pids)

    def exactly(self, pids: Sequence[int]) -> int:
        return sum(tree_bytes(pid, _exact) for pid in pids)


def meter_of(set_limit: int | None, root: Path = Path("/")) -> Meter | None:
    """What measures the memory of this process's children; None where there is no limit.

    Args:
        set_limit: in place of the control group's.
        root: where `proc` and `sys` are.
    """
    if set_limit is not None:
        return Processes(set_limit)
    try:
        lines = (root / "proc/self/cgroup").read_text(encoding="ascii").splitlines()
    except OSError:  # not Linux
        return None
    for line in lines:
        number, controllers, path = line.split(":", 2)
        if "memory" in controllers.split(","):
            files = ("memory.limit_in_bytes", "memory.usage_in_bytes", "memory.stat")
            return _cgroup(root / "sys/fs/cgroup/memory", path, files)
        if number == "0" and len(lines) == 1:
            return _cgroup(root / "sys/fs/cgroup", path, ("memory.max", "memory.current", "memory.stat"))
    return None


def tree_bytes(pid: int, of_one: Callable[[int], int]) -> int:
    """Memory of a process and its descendants."""
    return of_one(pid) + sum(tree_bytes(child, of_one) for child in children(pid))


def _cgroup(mount: Path, path: str, files: tuple[str, str, str]) -> Cgroup | None:
    """A container sees its own group at the mount's top, and may be told its path on the host."""
    for folder in (mount / path.lstrip("/"), mount):
        limit, usage, stat = (folder / name for name in files)
        try:
            text = limit.read_text(encoding="ascii").strip()
            if text != "max" and int(text) < _NO_LIMIT:
                return Cgroup(int(text), usage, stat)
            return None
        except OSError:
            continue
    return None


def _resident(pid: int) -> int:
    fields = _read(f"/proc/{pid}/statm").split()
    return int(fields[1]) * _PAGE if fields else 0


def _exact(pid: int) -> int:
    """Pages that several processes share are counted in parts: forked executors share most of what is imported."""
    for line in _read(f"/proc/{pid}/smaps_rollup").splitlines():
        if line.startswith(b"Pss:"):
            return int(line.split()[1]) * 1024
    return _resident(pid)


def _read(path: str) -> bytes:
    """A short file of the kernel's; empty when its process has ended. A third of the time of `Path.read_bytes`."""
    try:
        file = os.open(path, os.O_RDONLY)
    except OSError:
        return b""
    try:
        return os.read(file, 65536)
    except OSError:
        return b""
    finally:
        os.close(file)


_PAGE = os.sysconf("SC_PAGE_SIZE")
