"""Replicas that somebody else has started, or will: a map waits for them, and says so."""

from __future__ import annotations

import os
import shlex
from pathlib import Path

from actorq.base.names import MAIN, main_module, module_named
from actorq.base.settings import masked, settings
from actorq.base.warned import warn
from actorq.declare.environment import Environment

#: seconds without a replica after which a map says so
_LONELY_SECONDS = 10


class Lonely:
    """Warns once, where somebody has waited a while and no replica serves an environment. Told once a second.

    Args:
        environment: its name.
        url: the server.
        waits: who waits, as "the map waits".
    """

    def __init__(self, environment: str, url: str, waits: str) -> None:
        self._environment = environment
        self._url = url
        self._waits = waits
        self._seconds = 0

    def check(self, live: int) -> None:
        """So many replicas serve it."""
        self._seconds = 0 if live > 0 else self._seconds + 1
        if self._seconds == _LONELY_SECONDS:
            warn(
                f"No replica serves environment {self._environment!r} on {masked(self._url)}: {self._waits}. "
                f"Start one with: actorq worker {_to_serve(self._environment)}. If a chart release is to serve it, "
                f"look why it does not: kubectl get pods -l actorq.dev/environment={self._environment}"
            )


class RemotePool:
    """Replicas that somebody else has started, or will."""

    replicas = 1

    def __init__(self, environment: str, url: str) -> None:
        self._environment = environment
        self._lonely = Lonely(environment, url, "the map waits")

    @property
    def is_own(self) -> bool:
        return settings().replica_of == self._environment

    def check(self, live: int) -> None:
        """Warns once when a map has waited a while and no replica serves its environment."""
        self._lonely.check(live)


def _to_serve(environment: str) -> str:
    """What `actorq worker` is to be given: the script or module that declares the environment, and its variable."""
    for declared in Environment.of(environment):
        for module in sorted(declared.modules):
            for variable, value in list(vars(module_named(module)).items() if module_named(module) else ()):
                if value is declared:
                    name, path = main_module() if module in MAIN else (module, None)
                    near = path is not None and Path(path).is_relative_to(Path.cwd())
                    shown = os.path.relpath(path) if path is not None and near else path or name
                    return shlex.quote(f"{shown}:{variable}")
    return "MODULE:VARIABLE"
