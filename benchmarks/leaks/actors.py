"""The probes as inputs of actorq, at each level of isolation. One replica each.

python -m benchmarks.leaks.driving actors none|reset|fork|regular
"""

from __future__ import annotations

import tempfile
from typing import Any

from actorq import ActorEnvironment, TaskEnvironment, actor_cache
from actorq.runtime.program import shutdown
from benchmarks.leaks import driving, probes

#: single calls after which every other module has been compared once, with room to spare
_LEASES_OF_A_ROUND = 600

_none = ActorEnvironment("leaks-none", replica_count=1, isolation="none", lease_seconds=60)
_reset = ActorEnvironment("leaks-reset", replica_count=1, isolation="reset", lease_seconds=60)
_fork = ActorEnvironment("leaks-fork", replica_count=1, isolation="fork", lease_seconds=60)
_regular = TaskEnvironment("leaks-regular")


@actor_cache
def model() -> probes.Model:
    return probes.load()


probes.cached = model


@_none.task
def act_none(action: str, name: str, folder: str) -> tuple[int, Any]:
    return probes.act(action, name, folder)


@_reset.task
def act_reset(action: str, name: str, folder: str) -> tuple[int, Any]:
    return probes.act(action, name, folder)


@_fork.task
def act_fork(action: str, name: str, folder: str) -> tuple[int, Any]:
    return probes.act(action, name, folder)


@_regular.task
def act_regular(action: str, name: str, folder: str) -> tuple[int, Any]:
    return probes.act(action, name, folder)


def _let_reports_come() -> None:
    """A file or two are not yet a leak, and other modules are compared a few a lease."""
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(3):
            act_reset.remote("spoil", "open file left", folder)
        for _ in range(_LEASES_OF_A_ROUND):
            act_reset.remote("observe", "list", folder)


def main(level: str) -> None:
    actors = {"none": act_none, "reset": act_reset, "fork": act_fork}
    if level == "regular":
        seen = driving.drive(act_regular.remote, at_once=2)
    else:
        seen = driving.drive_at_once(actors[level].starmap)
    if level == "reset":
        _let_reports_come()
    shutdown()
    driving.say(seen, "actorq")
