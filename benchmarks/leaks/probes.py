"""The probes: each changes one piece of state in one input, and looks at it in the next.

Needs nothing but the standard library, so that any system can import it into its workers. What `observe` says before
`spoil` in the first input is compared with what it says in the second: the same is clean, anything else has leaked.
"""

from __future__ import annotations

import colorsys
import contextlib
import decimal
import fractions
import functools
import locale
import mmap
import operator
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

#: what becomes of a probe's state
CLEAN, LEAKS, REPORTED, KEPT, LOST = "clean", "leaks", "reported", "kept", "lost"

# -- the state of this module, which stands for a task's own code ------------------------------------------------------

counter = 0
items: list[int] = [1]
table: dict[str, int] = {"a": 1}
chosen: set[int] = {1}
nested: dict[str, list[dict[str, int]]] = {"a": [{"b": 1}]}


@dataclass
class Settings:
    level: int = 1
    tags: list[str] = field(default_factory=lambda: ["x"])


class Registry:
    total = 0
    members: list[int] = []  # noqa: RUF012 - the leak under test


settings = Settings()


def remembers(memory: list[int] = []) -> list[int]:  # noqa: B006 - the leak under test
    return memory


def _make_closure() -> tuple[Callable[[], None], Callable[[], int]]:
    total = 0

    def bump() -> None:
        nonlocal total
        total += 1

    return bump, lambda: total


_bump, _total = _make_closure()


@functools.lru_cache
def remembered(x: int) -> int:
    return x


# -- what is loaded once -----------------------------------------------------------------------------------------------


class Model:
    """Stands for one."""


#: of this process
_loads = 0


def load() -> Model:
    """Loads the model: what a system's cache should keep others from doing again."""
    global _loads
    _loads += 1
    return Model()


#: how this system keeps what was loaded. An adapter of a system that has its own means puts it here.
cached: Callable[[], Model] = functools.lru_cache(load)


def _loaded_again() -> bool:
    """Whether this input had to load it."""
    before = _loads
    cached()
    return _loads > before


# -- spoiling and observing --------------------------------------------------------------------------------------------

#: folder that stands for "elsewhere on the disk"; `act` sets it before every step
place = Path()
_THREAD = "left-by-probe"
_SEED = 7
#: seconds that what is left behind may live at most, and that its end is waited for
_LIFETIME, _PATIENCE = 120, 3
_GROWTH_BYTES = 64 << 20


def _rebind() -> None:
    global counter
    counter += 1


def _change_class() -> None:
    Registry.total += 1
    Registry.members.append(1)


def _change_instance() -> None:
    settings.level += 1
    settings.tags.append("y")


def _get_umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _limit_denominator(self: fractions.Fraction, _: int = 1) -> fractions.Fraction:
    return self


def _rgb_to_hsv(r: float, g: float, b: float) -> tuple[float, float, float]:
    return r, g, b


def _leave_process() -> None:
    process = subprocess.Popen(["sleep", str(_LIFETIME)])
    (place / "process").write_text(str(process.pid))
    process.returncode = 0  # nobody waits for it, and nobody should be warned of that


def _process_lives() -> bool:
    """Anywhere on the machine, not only below this process. What ends it may take a moment."""
    deadline = time.monotonic() + _PATIENCE
    while _is_running(place / "process"):
        if time.monotonic() > deadline:
            return True
        time.sleep(0.01)
    return False


def _is_running(file: Path) -> bool:
    if not file.exists():
        return False
    with contextlib.suppress(OSError):
        state = Path(f"/proc/{file.read_text()}/stat").read_text(encoding="ascii").rpartition(")")[2].split()[0]
        return state not in "ZX"
    return False


def _temporary() -> Path:
    return Path(tempfile.gettempdir(), f"left-by-{place.name}")


def _write_file() -> None:
    (place / "file").write_text("x")


def _file_exists() -> bool:
    return (place / "file").exists()


def _open_file() -> None:
    os.open(place / "open", os.O_CREAT | os.O_RDONLY)


def _is_open() -> bool:
    for descriptor in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):
            if descriptor.readlink() == place / "open":
                return True
    return False


def _seeded() -> bool:
    """Whether the generator is where `random.seed(_SEED)` puts it, before or after the first numbers drawn."""
    fresh = random.Random(_SEED)
    states = [fresh.getstate()[1][:-1]]
    fresh.random()
    states.append(fresh.getstate()[1][:-1])
    return random.getstate()[1][:-1] in states


def _grow() -> None:
    """Memory that nothing in Python holds any more, as a library in C leaks it."""
    block = mmap.mmap(-1, _GROWTH_BYTES)
    for at in range(0, _GROWTH_BYTES, mmap.PAGESIZE):
        block[at] = 1
    _leaked(block)


def _leaked(block: mmap.mmap) -> None:
    import ctypes

    ctypes.pythonapi.Py_IncRef(ctypes.py_object(block))


def _resident() -> int:
    return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * mmap.PAGESIZE


def _grown(before: int, after: int) -> bool:
    return after - before > _GROWTH_BYTES // 2


@dataclass(frozen=True, kw_only=True)
class Probe:
    """One piece of state.

    Args:
        name: as reports call it.
        row: begin of the row of the table in docs/isolation.md that speaks of it.
        spoil: changes it.
        observe: says what it is.
        differs: whether what `observe` said first and then means that it leaked.
        cache: it is to be kept; `observe` says in the second input whether it was not.
    """

    name: str
    row: str
    spoil: Callable[[], object]
    observe: Callable[[], Any]
    differs: Callable[[Any, Any], bool] = operator.ne
    cache: bool = False

    def verdict(self, before: Any, after: Any) -> str:
        if self.cache:
            return LOST if after else KEPT
        return LEAKS if self.differs(before, after) else CLEAN


_GLOBALS, _FUNCTOOLS, _CACHE = "globals of the task's own code", "`functools` caches", "what `@actor_cache` loaded"
_PROCESS, _THIRD_PARTY = "`os.environ`", "functions and methods of third-party"
_LEFT, _TEMPORARIES, _FILES = "threads, child processes", "temporary files", "other files"
_CLASS, _RANDOM, _MEMORY = "class of a cached object", "the random generator", "memory that grew"

PROBES = (
    Probe(name="global bound anew", row=_GLOBALS, spoil=_rebind, observe=lambda: counter),
    Probe(name="new global", row=_GLOBALS, spoil=lambda: globals().update(new=1), observe=lambda: "new" in globals()),
    Probe(name="list", row=_GLOBALS, spoil=lambda: items.append(2), observe=lambda: list(items)),
    Probe(name="dict", row=_GLOBALS, spoil=lambda: table.update(b=2), observe=lambda: dict(table)),
    Probe(name="set", row=_GLOBALS, spoil=lambda: chosen.add(2), observe=lambda: sorted(chosen)),
    Probe(
        name="nested container",
        row=_GLOBALS,
        spoil=lambda: nested["a"][0].update(b=2),
        observe=lambda: nested["a"][0]["b"],
    ),
    Probe(
        name="class attribute",
        row=_GLOBALS,
        spoil=_change_class,
        observe=lambda: [Registry.total, len(Registry.members)],
    ),
    Probe(
        name="attribute of an instance",
        row=_GLOBALS,
        spoil=_change_instance,
        observe=lambda: [settings.level, len(settings.tags)],
    ),
    Probe(
        name="default argument",
        row=_GLOBALS,
        spoil=lambda: remembers().append(1),
        observe=lambda: len(remembers()),
    ),
    Probe(name="closure", row=_GLOBALS, spoil=_bump, observe=_total),
    Probe(
        name="functools.lru_cache",
        row=_FUNCTOOLS,
        spoil=lambda: remembered(1),
        observe=lambda: remembered.cache_info().currsize,
    ),
    Probe(name="value that was loaded once", row=_CACHE, spoil=_loaded_again, observe=_loaded_again, cache=True),
    Probe(
        name="class of a cached object",
        row=_CLASS,
        spoil=_loaded_again,
        observe=lambda: isinstance(cached(), Model),
    ),
    Probe(
        name="os.environ",
        row=_PROCESS,
        spoil=lambda: os.environ.update(LEFT_BY_PROBE="1"),
        observe=lambda: os.environ.get("LEFT_BY_PROBE"),
    ),
    Probe(name="working directory", row=_PROCESS, spoil=lambda: os.chdir("/"), observe=os.getcwd),
    Probe(
        name="sys.path",
        row=_PROCESS,
        spoil=lambda: sys.path.append("/left-by-probe"),
        observe=lambda: "/left-by-probe" in sys.path,
    ),
    Probe(name="umask", row=_PROCESS, spoil=lambda: os.umask(0o027), observe=_get_umask),
    Probe(
        name="signal handler",
        row=_PROCESS,
        spoil=lambda: signal.signal(signal.SIGURG, signal.SIG_IGN),
        observe=lambda: str(signal.getsignal(signal.SIGURG)),
    ),
    Probe(
        name="locale",
        row=_PROCESS,
        spoil=lambda: locale.setlocale(locale.LC_TIME, "C.UTF-8"),
        observe=lambda: locale.setlocale(locale.LC_TIME),
    ),
    Probe(
        name="warnings filter",
        row=_PROCESS,
        spoil=lambda: warnings.filterwarnings("ignore", "left-by-probe"),
        observe=lambda: any("left-by-probe" in str(entry[1]) for entry in warnings.filters),
    ),
    Probe(
        name="decimal context",
        row=_PROCESS,
        spoil=lambda: setattr(decimal.getcontext(), "prec", 3),
        observe=lambda: decimal.getcontext().prec,
    ),
    Probe(
        name="sys.stdout replaced",
        row=_PROCESS,
        spoil=lambda: setattr(sys, "stdout", sys.stderr),
        observe=lambda: sys.stdout is sys.stderr,
    ),
    Probe(
        name="recursion limit",
        row=_PROCESS,
        spoil=lambda: sys.setrecursionlimit(sys.getrecursionlimit() + 1000),
        observe=sys.getrecursionlimit,
    ),
    Probe(
        name="third-party function patched",
        row=_THIRD_PARTY,
        spoil=lambda: setattr(colorsys, "rgb_to_hsv", _rgb_to_hsv),
        observe=lambda: colorsys.rgb_to_hsv.__name__,
    ),
    Probe(
        name="third-party method patched",
        row=_THIRD_PARTY,
        spoil=lambda: setattr(fractions.Fraction, "limit_denominator", _limit_denominator),
        observe=lambda: fractions.Fraction.limit_denominator.__name__,
    ),
    Probe(
        name="thread left",
        row=_LEFT,
        spoil=lambda: threading.Thread(target=time.sleep, args=(_LIFETIME,), name=_THREAD, daemon=True).start(),
        observe=lambda: any(thread.name == _THREAD for thread in threading.enumerate()),
    ),
    Probe(name="child process left", row=_LEFT, spoil=_leave_process, observe=_process_lives),
    Probe(name="open file left", row=_LEFT, spoil=_open_file, observe=_is_open),
    Probe(
        name="file in the temporary folder",
        row=_TEMPORARIES,
        spoil=lambda: _temporary().write_text("x"),
        observe=lambda: _temporary().exists(),
    ),
    Probe(
        name="file elsewhere",
        row=_FILES,
        spoil=_write_file,
        observe=_file_exists,
    ),
    Probe(name="random.seed", row=_RANDOM, spoil=lambda: random.seed(_SEED), observe=_seeded),
    Probe(name="memory growth", row=_MEMORY, spoil=_grow, observe=_resident, differs=_grown),
)

_BY_NAME = {probe.name: probe for probe in PROBES}


def act(action: str, name: str, folder: str) -> tuple[int, Any]:
    """One input: "spoil" or "observe". Says which process it was and what was observed, before it was spoilt."""
    global place
    place = Path(folder)
    probe = _BY_NAME[name]
    seen = None if probe.cache and action == "spoil" else probe.observe()
    if action == "spoil":
        probe.spoil()
    return os.getpid(), seen


def tidy(folder: str) -> None:
    """Ends and removes what probes leave on the machine itself. For whoever runs them."""
    global place
    place = Path(folder)
    _temporary().unlink(missing_ok=True)
    file = place / "process"
    if _is_running(file):
        os.kill(int(file.read_text()), signal.SIGKILL)
    file.unlink(missing_ok=True)
