"""Standard input, output and error, where this process was started without one: `2>&-`, some init scripts.

The next file that is opened gets the free number, so what anybody writes to "standard error" goes into a connection or
a pipe of ours. The one idea: *a process of ours fills the numbers 0 to 2 before it opens anything*, and the user's own
program, whose streams are not ours to open, keeps what it hands to such a process above them.
"""

from __future__ import annotations

import fcntl
import os
import sys

_STREAMS = (("stdin", os.O_RDONLY), ("stdout", os.O_WRONLY), ("stderr", os.O_WRONLY))


def open_missing() -> None:
    """Opens on /dev/null what is closed of the three. To be called first in a process of ours."""
    for number, (name, flags) in enumerate(_STREAMS):
        try:
            os.fstat(number)
            continue
        except OSError:
            given = os.open(os.devnull, flags)  # takes the least free number, which is this one
        os.set_inheritable(given, True)  # as a standard stream is: for what this process starts
        if getattr(sys, name) is None:
            mode = "r" if flags == os.O_RDONLY else "w"
            stream = open(number, mode, encoding="utf-8", closefd=False)  # noqa: SIM115 - lives as long as the process
            setattr(sys, name, stream)
            setattr(sys, f"__{name}__", stream)


def pipe() -> tuple[int, int]:
    """`os.pipe()` whose ends are not taken for standard streams by a process that inherits one."""
    ends = os.pipe()
    kept = [fcntl.fcntl(end, fcntl.F_DUPFD_CLOEXEC, len(_STREAMS)) for end in ends]
    for end in ends:
        os.close(end)
    return kept[0], kept[1]
