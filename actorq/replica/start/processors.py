"""How many threads the libraries of one replica start: its share of the processors, not all that the machine has.

Libraries count the cores of the node, also in a container that may use two of them, and know nothing of the other
replicas. What their user has set stays.
"""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

_OMP = "OMP_NUM_THREADS"
#: where these are not set, their libraries do as OMP_NUM_THREADS says
_LIKE_OMP = (
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "BLIS_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
)
_OTHERS = ("NUMBA_NUM_THREADS", "POLARS_MAX_THREADS", "RAYON_NUM_THREADS")
VARIABLES = frozenset({_OMP, *_LIKE_OMP, *_OTHERS})
#: threads of PyTorch, where they are ours to say
_of_torch: int | None = None


def share(replicas: int, root: Path = Path("/")) -> int:
    """Threads for each of so many replicas on this machine."""
    return max(1, int(available(root) / replicas))


def available(root: Path = Path("/")) -> float:
    """Processors that this process may use: by its affinity, and by the quota of its control groups.

    Args:
        root: where `proc` and `sys` are.
    """
    if hasattr(os, "sched_getaffinity"):
        return min(len(os.sched_getaffinity(0)), _quota(root))
    return os.cpu_count() or 1


def limit(threads: int) -> list[str]:
    """Sets what is not set in the environment of this process; returns the names of that."""
    global _of_torch
    _of_torch = None if _OMP in os.environ or "MKL_NUM_THREADS" in os.environ else threads
    variables = missing(threads, os.environ)
    os.environ.update(variables)
    return list(variables)


def missing(threads: int, environment: Mapping[str, str]) -> dict[str, str]:
    """The variables to add to `environment`."""
    names = _OTHERS if _OMP in environment else (_OMP, *_LIKE_OMP, *_OTHERS)
    return {name: str(threads) for name in names if name not in environment}


def limit_torch() -> None:
    """Tells PyTorch, if it is imported: it may have looked at the variables before they were set."""
    torch: Any = sys.modules.get("torch")
    if _of_torch is not None and torch is not None:
        torch.set_num_threads(_of_torch)


def _quota(root: Path) -> float:
    """Processors by the strictest of the control groups that this process is in; infinite where there is no quota."""
    try:
        lines = (root / "proc/self/cgroup").read_text(encoding="ascii").splitlines()
    except OSError:  # not Linux
        return math.inf
    least = math.inf
    for line in lines:
        number, controllers, path = line.split(":", 2)
        if "cpu" in controllers.split(","):
            least = min(least, _least(root / "sys/fs/cgroup/cpu", path, _of_version_1))
        elif number == "0":
            least = min(least, _least(root / "sys/fs/cgroup", path, _of_version_2))
    return least


def _least(mount: Path, path: str, of: Callable[[Path], float]) -> float:
    """Of a group and all above it. In a container its own is at the mount's top, and its path may be the host's."""
    group = Path(path.lstrip("/"))
    return min(of(mount / folder) for folder in (group, *group.parents))


def _of_version_2(group: Path) -> float:
    try:
        quota, period = (group / "cpu.max").read_text(encoding="ascii").split()
        return math.inf if quota == "max" else int(quota) / int(period)
    except (OSError, ValueError):
        return math.inf


def _of_version_1(group: Path) -> float:
    try:
        quota, period = (
            int((group / f"cpu.cfs_{name}_us").read_text(encoding="ascii")) for name in ("quota", "period")
        )
        return math.inf if quota <= 0 else quota / period
    except (OSError, ValueError):
        return math.inf
