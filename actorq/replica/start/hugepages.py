"""Allocation in huge pages, for replicas that fork once per input.

A fork copies the page tables of all memory, 4 KiB a page: with 1.5 million cached objects that takes longer than all
the rest. In pages of 2 MiB there is 512 times less to copy. glibc (2.35 and later) allocates so when it is asked by its
environment at the start of the process, and Python uses glibc's allocator when it is asked as well; a loop that does
nothing but allocate runs some 6 % slower so.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping

_ASKED = {"GLIBC_TUNABLES": "glibc.malloc.hugetlb=1", "PYTHONMALLOC": "malloc"}
#: says that the two were set by us: tasks, and what they start, do not get them
_MARK = "ACTORQ_HUGE_PAGES"
_on = False


def asked_by(environment: Mapping[str, str]) -> dict[str, str]:
    """What to add to the environment of a new process; nothing where its user has settings of their own."""
    if sys.platform != "linux" or any(name in environment for name in _ASKED):
        return {}
    return {**_ASKED, _MARK: "1"}


def take_note() -> None:
    """Called when a process starts that may have been asked: removes the request from its environment."""
    global _on
    if os.environ.pop(_MARK, None):
        _on = True
        for name in _ASKED:
            os.environ.pop(name, None)


def missing() -> dict[str, str]:
    """What this process should be started again with; nothing when it has it, or cannot."""
    return {} if _on else asked_by(os.environ)
