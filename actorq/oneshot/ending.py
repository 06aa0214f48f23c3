"""How a process of a regular task ended: what it wrote last, and whether the kernel took it for its memory.

A pod, and its log with it, is gone when somebody looks. So the process beside the task listens to its stderr, passes it
on, and keeps the end of it for the error.
"""

from __future__ import annotations

import json
import os
import select
from pathlib import Path

from actorq.base.masking import masked, printable
from actorq.wire import failure

#: of what a process wrote last, so many lines and characters are told; of a log Kubernetes keeps 80 and 2,048
_LAST_LINES, _LAST_CHARACTERS = 20, 2000
#: bytes that are kept for that, and read at once
_KEPT_BYTES, _READ_BYTES = 16_384, 65_536
#: where the kernel counts what it has killed in this control group: version 2, and version 1
_COUNTS = ("memory.events", "memory/memory.oom_control")


class Stderr:
    """The stderr of a child: read here, shown on ours.

    The child's end is `write`: put it in place of its stderr, and `close_write` here.
    """

    def __init__(self) -> None:
        self._read, self.write = os.pipe()
        os.set_blocking(self._read, False)
        self._open = True
        self._kept = bytearray()

    def fileno(self) -> int:
        return self._read

    @property
    def ended(self) -> bool:
        """Whether nobody will write any more."""
        return not self._open

    def close_write(self) -> None:
        os.close(self.write)

    def pass_on(self) -> None:
        """Shows what there is, without waiting for more."""
        while self._open:
            try:
                data = os.read(self._read, _READ_BYTES)
            except BlockingIOError:
                return
            if not data:
                self._open = False
                return
            self._kept = (self._kept + data)[-_KEPT_BYTES:]
            while data:
                data = data[os.write(2, data) :]

    def wait(self, child: int) -> int:
        """The wait status of `child`, whose stderr is passed on meanwhile: a pipe that is full would hold it up."""
        pause = 0.0
        while True:
            self.pass_on()
            pid, status = os.waitpid(child, os.WNOHANG)
            if pid:
                self.pass_on()
                return status
            select.select([self._read] if self._open else [], [], [], pause)
            pause = min(pause + 0.005, 0.1)

    def close(self) -> None:
        os.close(self._read)

    @property
    def last(self) -> str:
        """What was written last."""
        return self._kept.decode(errors="replace")


def with_last_lines(how: str, said: str) -> str:
    """`how` a process ended, and the last lines of what it said."""
    lines = [line for line in said.rstrip().splitlines() if not _is_event(line)][-_LAST_LINES:]
    text = printable(masked("\n".join(lines)), lines=True)[-_LAST_CHARACTERS:].strip()
    if "\n" in text:
        return f"{how}. It wrote last:\n{text}"
    return f"{how}: {text}" if text else how


def _is_event(line: str) -> bool:
    """Whether a line is our own news, which says nothing of an end."""
    try:
        found = json.loads(line)
    except ValueError:
        return False
    return isinstance(found, dict) and "event" in found and found.get("level") in ("debug", "info")


def oom_kills(root: Path = Path("/sys/fs/cgroup")) -> int | None:
    """How many processes of this container the kernel has killed for its memory; None where it does not say."""
    for name in _COUNTS:
        try:
            words = (root / name).read_text(encoding="ascii").split()
        except OSError:
            continue
        if "oom_kill" in words:
            return int(words[words.index("oom_kill") + 1])
    return None


def reason(status: int, kills_before: int | None, root: Path = Path("/sys/fs/cgroup")) -> str:
    """How a child ended, by its wait status and by what the kernel counts: known, not guessed.

    Args:
        status: of `os.waitpid`.
        kills_before: `oom_kills` when it was started.
        root: see there.
    """
    kills = oom_kills(root)
    if not (os.WIFSIGNALED(status) and kills is not None and kills_before is not None):
        return failure.exit_reason(status)
    if kills > kills_before:
        return f"{OUT_OF_MEMORY} ({failure.exit_reason(status, guess=False)})"
    return failure.exit_reason(status, guess=False)


#: what to do about it
OUT_OF_MEMORY = "needed more memory than its limit (OOMKilled): raise limits={'memory': ...}"
