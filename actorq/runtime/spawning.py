"""`task.spawn_map`: a run begins, with a line about its upload."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

from actorq.broker.client import Client
from actorq.code.bundle import Courier
from actorq.declare.engine import RunOptions
from actorq.declare.environment import ActorEnvironment
from actorq.declare.map_options import MapOptions
from actorq.maps.progress import is_wanted
from actorq.runs.handle import Run
from actorq.runs.plan import Plan
from actorq.runs.start import start

#: seconds between two lines
_LINE_SECONDS = 0.2


def spawn(
    client: Client,
    environment: ActorEnvironment,
    iterables: tuple[Iterable[Any], ...],
    options: MapOptions,
    map_id: str,
    kept: RunOptions,
) -> Run[Any]:
    """Starts a run, or finds it there."""
    head = replace(options.head, keep=kept.expires + kept.result_ttl)
    plan = Plan(
        options=replace(options, head=head),
        lease_seconds=environment.lease_seconds,
        expires=kept.expires,
        result_ttl=kept.result_ttl,
    )
    with client.lent() as link:
        Courier(options.bundle).bring(link)
    wanted = is_wanted(kept.progress)
    start(client, map_id, iterables, plan, _line(map_id) if wanted else _nothing)
    if wanted:
        sys.stderr.write("\n")
    return Run(client, map_id)


def _nothing(count: int) -> None:
    pass


def _line(map_id: str) -> Callable[[int], None]:
    told_at = 0.0

    def tell(count: int) -> None:
        nonlocal told_at
        now = time.monotonic()
        if now - told_at >= _LINE_SECONDS:
            told_at = now
            sys.stderr.write(f"\r{map_id}: {count:,} inputs stored")
            sys.stderr.flush()

    return tell
