"""One look at a server: all that the terminal view shows, read in a few round trips.

The one idea: failures are read again only where the registry that lists them has changed. They are large, and most
looks find none that is new.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from actorq.broker import keys
from actorq.broker.link import Link
from actorq.monitor.failures import FailureView, failures
from actorq.monitor.model import EnvironmentView
from actorq.monitor.records import Asking, Problems
from actorq.monitor.runs import RunView, runs
from actorq.monitor.server import ServerView, server_view
from actorq.monitor.view import environments

#: failures of each environment that are shown, and runs of each that have ended
_FAILURES, _ENDED_RUNS = 50, 20


class Scope(NamedTuple):
    """What a person wants to see."""

    #: "" for all
    environment: str = ""
    #: only failures of this map, "" for all
    map: str = ""


@dataclass(frozen=True, kw_only=True)
class Picture:
    """What one look has found."""

    #: monotonic seconds
    taken: float
    scope: Scope
    server: ServerView
    environments: Sequence[EnvironmentView]
    runs: Sequence[RunView] = ()
    #: newest first
    failures: Sequence[FailureView] = ()

    def chosen(self) -> list[EnvironmentView]:
        """The environments that are wanted."""
        return [view for view in self.environments if self.scope.environment in ("", view.name)]


@dataclass
class Looks:
    """The looks at one server, by one thread."""

    link: Link
    #: (environment, map) -> what the registry listed, and the failures
    _known: dict[tuple[str, str], tuple[object, list[FailureView]]] = field(default_factory=dict)

    def look(self, scope: Scope) -> Picture:
        """Raises `BrokerError`."""
        views = environments(self.link)
        server = server_view(self.link)
        wanted = [view.name for view in views if scope.environment in ("", view.name)]
        return Picture(
            taken=time.monotonic(),
            scope=scope,
            server=server,
            environments=views,
            runs=runs(self.link, scope.environment or None, ended=_ENDED_RUNS, sizes=False),
            failures=self._failures(wanted, scope.map),
        )

    def _failures(self, names: Sequence[str], map_id: str) -> list[FailureView]:
        listed = Asking(self.link, Problems()).ask_each(
            [["ZREVRANGE", keys.failed(name), "0", str(_FAILURES - 1), "WITHSCORES"] for name in names]
        )
        before, self._known = self._known, {}
        for name, now in zip(names, listed, strict=True):
            known = before.get((name, map_id))
            if known is None or known[0] != now:
                of_map = map_id or None
                known = (now, failures(self.link, name, most=_FAILURES, map_id=of_map) if now else [])
            self._known[name, map_id] = known
        found = [failure for _, some in self._known.values() for failure in some]
        return sorted(found, key=lambda failure: -(failure.at or 0.0))
