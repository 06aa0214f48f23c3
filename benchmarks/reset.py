"""What `isolation="reset"` adds to an input that changes nothing, by how much there is to restore.

Both levels run the same no-op on one warm replica each, in turns. The modules are written for it, see `reset_code`.
"""

from __future__ import annotations

import importlib
import statistics
import sys
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

from actorq.runtime.program import shutdown
from benchmarks import reset_code
from benchmarks.rows import Row, one_look, timed

#: row, modules of ordinary code beside the task's own, entries of one large dict, most that it may add, looks
_CASES = (
    ("one small module", 0, 0, 8.0),
    ("10 modules", 10, 0, 25.0),
    ("50 modules", 50, 0, 60.0),
    ("a dict of 10,000 numbers", 0, 10_000, 12.0),
    ("a dict of 100,000 numbers", 0, 100_000, 12.0),
)
_COUNT, _ROUNDS = 20_000, 9


def reset_by_size() -> list[Row]:
    """One row a case, each with modules and replicas of its own."""
    with tempfile.TemporaryDirectory() as folder:
        sys.path.insert(0, folder)
        try:
            return [_case(Path(folder), f"bench{at}", *case) for at, case in enumerate(_CASES)]
        finally:
            sys.path.remove(folder)
            shutdown()


def _case(root: Path, name: str, title: str, modules: int, entries: int, floor: float) -> Row:
    folder = root / name  # what lies beside the task is its own code: each case alone in its folder
    folder.mkdir()
    reset_code.write(folder, name, modules, entries)
    sys.path.insert(0, str(folder))
    tasks: Any = importlib.import_module(name)
    sides = (tasks.noop, tasks.noop_reset)
    for task in sides:
        _run(task)
    added = []
    for _ in range(_ROUNDS):
        none, reset = (timed(partial(_run, task)) for task in sides)
        added.append((reset - none) / _COUNT)
    shutdown()
    sys.path.remove(str(folder))
    detail = f"{min(added) * 1e6:.1f} - {max(added) * 1e6:.1f} us an input, {_ROUNDS} rounds"
    looks = statistics.median(added) / one_look()
    return Row(name=f"reset: {title}", measured=looks, floor=floor, at_least=False, unit="looks", detail=detail)


def _run(task: Any) -> None:
    assert len(list(task.map(range(_COUNT)))) == _COUNT
