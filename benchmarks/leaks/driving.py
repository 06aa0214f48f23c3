"""Sends every probe through one system, and prints what was seen as JSON. Runs where the system is installed.

python -m benchmarks.leaks.peers celery_prefork      in the peer's own environment
python -m benchmarks.leaks.actors reset              in ours
"""

from __future__ import annotations

import importlib
import json
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from importlib import metadata
from typing import Any, TypedDict

from benchmarks.leaks import probes

#: action, name of a probe, folder -> process, what was observed
Act = Callable[[str, str, str], tuple[int, Any]]
Step = tuple[str, str, str]
_NAMES = [probe.name for probe in probes.PROBES]


class Seen(TypedDict):
    """What one probe saw: in which processes, before and after; or the error that kept it from being run."""

    pids: list[int]
    before: Any
    after: Any
    error: str


def drive(act: Act, at_once: int = 1) -> dict[str, Seen]:
    """What each probe saw, by name: two calls a probe."""
    with ThreadPoolExecutor(at_once) as threads:
        return dict(zip(_NAMES, threads.map(lambda name: _run(act, name), _NAMES), strict=True))


def drive_at_once(run: Callable[[list[Step]], Iterable[tuple[int, Any]]]) -> dict[str, Seen]:
    """The same for a system that takes all inputs together, and runs them one after the other."""
    with ExitStack() as stack:
        folders = [stack.enter_context(_place()) for _ in _NAMES]
        pairs = zip(_NAMES, folders, strict=True)
        steps: list[Step] = [(action, *pair) for pair in pairs for action in ("spoil", "observe")]
        results = list(run(steps))
        seen = [_seen(*both) for both in zip(results[::2], results[1::2], strict=True)]
    return dict(zip(_NAMES, seen, strict=True))


def _run(act: Act, name: str) -> Seen:
    with _place() as folder:
        try:
            return _seen(act("spoil", name, folder), act("observe", name, folder))
        except Exception as error:  # the probe cannot be run there: its row says why
            said = f"{type(error).__name__}: {error}".splitlines()[0][:200]
            return Seen(pids=[], before=None, after=None, error=said)


def _seen(first: tuple[int, Any], second: tuple[int, Any]) -> Seen:
    return Seen(pids=[first[0], second[0]], before=first[1], after=second[1], error="")


@contextmanager
def _place() -> Iterator[str]:
    folder = tempfile.mkdtemp(prefix="place-")
    try:
        yield folder
    finally:
        probes.tidy(folder)
        shutil.rmtree(folder, ignore_errors=True)


def say(seen: dict[str, Seen], *packages: str) -> None:
    """Prints the one line that the parent reads."""
    versions = {package: metadata.version(package) for package in packages}
    print(json.dumps({"seen": seen, "versions": versions, "python": sys.version.split()[0]}), file=sys.__stdout__)


if __name__ == "__main__":
    # by its name, by which workers import what they are sent
    importlib.import_module(f"benchmarks.leaks.{sys.argv[1]}").main(sys.argv[2])
