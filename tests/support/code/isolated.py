"""Tasks that change the state of their process in every way the isolation tests look at."""

from __future__ import annotations

import colorsys  # noqa: F401 - a module that is not ours, to keep things in
import decimal
import functools
import json
import locale
import os
import signal
import sys
import tempfile
import time
import warnings
from collections import Counter, OrderedDict, deque
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from actorq import ActorEnvironment, actor_cache

reset = ActorEnvironment("isolated", replica_count=1, lease_seconds=2)
small = ActorEnvironment("small", replica_count=1, max_memory_per_child=256 << 20, lease_seconds=2)

counter = 0
items: list[int] = [1]
table: dict[str, Any] = {"a": [1, 2]}
chosen: set[int] = {1}
raw = bytearray(b"abc")
recent: deque[int] = deque([1], maxlen=5)
counts: Counter[str] = Counter(a=1)
ordered: OrderedDict[str, int] = OrderedDict(a=1)


@dataclass
class Settings:
    level: int = 1
    tags: list[str] = field(default_factory=lambda: ["x"])


class Registry:
    total = 0
    members: list[int] = []  # noqa: RUF012 - the leak under test

    def __init__(self) -> None:
        self.seen = 0


@dataclass(slots=True)
class Slotted:
    value: int = 1


settings = Settings()
slotted = Slotted()
registry = Registry()


def remembers(x: int, memory: list[int] = []) -> list[int]:  # noqa: B006 - the leak under test
    memory.append(x)
    return memory


def make_closure() -> Any:
    total = 0

    def bump() -> int:
        nonlocal total
        total += 1
        return total

    return bump


bump = make_closure()


@functools.lru_cache
def cached_once(x: int) -> float:
    return time.monotonic()


@actor_cache
def loaded() -> Settings:
    """An object of a class of this module, kept by the replica."""
    return Settings(level=42)


def _observe() -> dict[str, Any]:
    return {
        "counter": counter,
        "items": list(items),
        "table": json.loads(json.dumps(table)),
        "chosen": sorted(chosen),
        "raw": bytes(raw),
        "recent": list(recent),
        "counts": dict(counts),
        "ordered": list(ordered.items()),
        "slots": slotted.value,
        "settings": (settings.level, list(settings.tags)),
        "class": (Registry.total, list(Registry.members), registry.seen, hasattr(Registry, "extra")),
        "default": len(remembers(0)),
        "closure": bump(),
        "cached": cached_once.cache_info().currsize,
        "new_global": "brand_new" in globals(),
        "environ": os.environ.get("LEAK"),
        "cwd": str(Path.cwd()),
        "path": "/nowhere" in sys.path,
        "umask": _umask(),
        "signal": str(signal.getsignal(signal.SIGUSR1)),
        "locale": locale.setlocale(locale.LC_NUMERIC),
        "filters": len(warnings.filters),
        "decimal": decimal.getcontext().prec,
        "stdout": sys.stdout is sys.__stdout__,
        "recursion": sys.getrecursionlimit(),
        "tmp": sorted(path.name for path in Path(tempfile.gettempdir()).iterdir()),
        "TMPDIR": os.environ.get("TMPDIR") == tempfile.gettempdir(),
    }


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _spoil() -> None:
    global counter
    counter += 1
    items.append(2)
    table["a"].append(3)
    table["b"] = 1
    chosen.add(2)
    raw.extend(b"d")
    recent.append(2)
    counts["b"] += 1
    ordered["b"] = 2
    slotted.value += 1
    settings.level = 2
    settings.tags.append("y")
    Registry.total += 1
    Registry.members.append(1)
    Registry.extra = True  # type: ignore[attr-defined]  # the leak under test
    registry.seen += 1
    remembers(1)
    bump()
    cached_once(1)
    globals()["brand_new"] = 1
    os.environ["LEAK"] = "1"
    os.chdir("/")
    sys.path.append("/nowhere")
    os.umask(0o077)
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    locale.setlocale(locale.LC_NUMERIC, "C.UTF-8")
    warnings.simplefilter("ignore")
    decimal.getcontext().prec = 3
    sys.stdout = sys.stderr
    sys.setrecursionlimit(5000)
    Path(tempfile.gettempdir(), "left").write_text("x")
    Path(tempfile.mkdtemp(), "deep").write_text("x")


@reset.task
def observe(_: int) -> dict[str, Any]:
    return _observe()


@reset.task
def spoil(_: int) -> dict[str, Any]:
    before = _observe()
    _spoil()
    return before


@reset.task
def instance_of_cached(_: int) -> tuple[bool, int, int]:
    value = loaded()
    return isinstance(value, Settings), id(value), loaded.cache_info().misses


@reset.task
def leaves_files(_: int) -> int:
    for _i in range(10):
        os.open("/dev/null", os.O_RDONLY)
    return os.getpid()


@reset.task
def spoil_and_wait(_: int) -> None:
    _spoil()
    time.sleep(60)


@small.task
def grows(size: int) -> int:
    """Keeps that many bytes where nothing restores them, and says where it ran."""
    sys.modules["colorsys"].__dict__.setdefault("held", []).append(b"x" * size)
    return os.getpid()


@reset.task
def leaves_a_file(path: str) -> str:
    """Makes a temporary file, and runs until there is another."""
    with tempfile.NamedTemporaryFile(prefix="left", delete=False):
        while not Path(path).exists():
            time.sleep(0.01)
    return path
