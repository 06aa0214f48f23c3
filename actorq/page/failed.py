"""Failures of a map, a run or an environment, read when somebody looks, and grouped by what they have in common.

The one idea: a thousand inputs fail for three reasons. What is the same is the exception and the last line of one's own
code, whatever the message says of the input.
"""

from __future__ import annotations

import re
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import blake2b

from actorq.base.amounts import counted
from actorq.base.masking import masked, printable
from actorq.broker.client import Client
from actorq.errors import ActorqError
from actorq.monitor.failures import FailureView, failure, failures, failures_of_run

#: failures that are read for a page, and shown of one group
_READ, SHOWN = 200, 10
#: what was read is shown for so long, seconds, and how much of it is kept
_KEPT_SECONDS, _KEPT = 5.0, 50
#: seconds to try a server that does not answer: a person waits
_PATIENCE = 2.0
#: folders and file of a path that are shown
_PATH_PARTS = 3
_FRAME = re.compile(r'^ *File "(?P<file>[^"]*)", line (?P<line>\d+), in (?P<name>.*)$', re.MULTILINE)
#: in the path of code that is nobody's own: installed packages, Python, and this one
_FOREIGN = re.compile(r"/(site|dist)-packages/|/lib/python3|^<frozen|/actorq/(replica|isolation|wire|cache|oneshot)/")


@dataclass(frozen=True)
class Group:
    """Failures for one reason."""

    #: the same for the same reason
    key: str
    type: str
    #: the last line of one's own code, "" where none is known
    where: str
    #: the text of that line
    code: str
    failures: Sequence[FailureView]

    @property
    def newest(self) -> FailureView:
        return self.failures[0]

    @property
    def shown(self) -> Sequence[FailureView]:
        return self.failures[:SHOWN]


@dataclass(frozen=True)
class Found:
    """What was read."""

    groups: Sequence[Group] = ()
    #: failures in them
    count: int = 0
    #: why they cannot be read, "" where they can
    error: str = ""

    @property
    def told(self) -> str:
        return counted(self.count, "failure") + (", the last ones" if self.count >= _READ else "")


def grouped(found: Sequence[FailureView]) -> list[Group]:
    """The largest group first, the newest failure of each first."""
    groups: dict[tuple[str, str], list[FailureView]] = {}
    lines: dict[tuple[str, str], str] = {}
    for each in found:
        where, code = last_own_line(each.traceback)
        reason = (each.type or each.cause, where)
        groups.setdefault(reason, []).append(each)
        lines[reason] = code
    ordered = sorted(groups.items(), key=lambda item: -len(item[1]))
    return [Group(_key(*reason), *reason, lines[reason], some) for reason, some in ordered]


def _key(*parts: str) -> str:
    return blake2b("\0".join(parts).encode(errors="replace"), digest_size=6).hexdigest()


def last_own_line(traceback: str) -> tuple[str, str]:
    """`file.py:12 in name` and the text of that line: of a traceback's last frame that is no package's."""
    frames = list(_FRAME.finditer(traceback))
    if not frames:
        return "", ""
    own = [frame for frame in frames if not _FOREIGN.search(frame["file"])]
    frame = (own or frames)[-1]
    code = traceback[frame.end() + 1 :].partition("\n")[0].strip()
    shown = "" if code.startswith("File ") or not traceback[frame.end() + 1 :].startswith("    ") else code
    return f"{_short(frame['file'])}:{frame['line']} in {frame['name']}", shown


def _short(path: str) -> str:
    """The end of a long path: the traceback has all of it."""
    parts = path.split("/")
    return path if len(parts) <= _PATH_PARTS + 1 else "/".join(("…", *parts[-_PATH_PARTS:]))


class Failed:
    """Reads them. Any thread may ask; they take turns, so that readers of the page are one reader to the server.

    Args:
        url: the server.
    """

    def __init__(self, url: str) -> None:
        self._client = Client(url, _PATIENCE)
        self._lock = threading.Lock()
        self._kept: OrderedDict[tuple[str, ...], tuple[float, Found]] = OrderedDict()

    def of_environment(self, environment: str) -> Found:
        """The last ones that the server keeps."""
        return self._read(("env", environment), lambda: self._registered(environment, None))

    def of_map(self, environment: str, map_id: str) -> Found:
        return self._read(("map", environment, map_id), lambda: self._registered(environment, map_id))

    def of_run(self, run_id: str) -> Found:
        return self._read(("run", run_id), lambda: failures_of_run(self._client, run_id, most=_READ))

    def one(self, environment: str, job_id: str) -> FailureView | None:
        """One that the server keeps, by the id of its job. Raises `ActorqError`."""
        with self._lock, self._client.lent() as link:
            return failure(link, environment, job_id)

    def one_of_run(self, run_id: str, index: int) -> FailureView | None:
        """One that a run keeps, of those that are read for its page."""
        of_run = (each for group in self.of_run(run_id).groups for each in group.failures)
        return next((each for each in of_run if each.index == index), None)

    def close(self) -> None:
        self._client.close()

    def _read(self, key: tuple[str, ...], read: Callable[[], Sequence[FailureView]]) -> Found:
        with self._lock:
            kept = self._kept.get(key)
            if kept is not None and time.monotonic() - kept[0] < _KEPT_SECONDS:
                return kept[1]
            try:
                some = read()
                found = Found(grouped(some), len(some))
            except (ActorqError, ValueError) as error:
                found = Found(error=printable(masked(str(error))))
            self._kept[key] = time.monotonic(), found
            self._kept.move_to_end(key)
            while len(self._kept) > _KEPT:
                self._kept.popitem(last=False)
            return found

    def _registered(self, environment: str, map_id: str | None) -> Sequence[FailureView]:
        with self._client.lent() as link:
            return failures(link, environment, most=_READ, map_id=map_id)
