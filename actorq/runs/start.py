"""A run begins: the server is told what it is to do, and given its inputs."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from actorq.broker import run_records
from actorq.broker.client import Client
from actorq.broker.scripts import running
from actorq.declare.map_options import MapOptions
from actorq.errors import MapConflictError, PoolError
from actorq.maps.sources import source_for
from actorq.runs.inputs import Upload
from actorq.runs.plan import Plan


def start(
    client: Client, run_id: str, iterables: tuple[Iterable[Any], ...], plan: Plan, progress: Callable[[int], None]
) -> None:
    """Tells the server of a run and stores its inputs, or finds both there.

    Args:
        client: lends the connection.
        run_id: its name.
        iterables: the inputs, which advance together.
        plan: what it is to do.
        progress: told how many inputs are stored.

    Raises `MapConflictError` where a run of this name does something else.
    """
    options: MapOptions = plan.options
    environment, task = options.environment, options.head.task
    source = source_for(options.head.mode, iterables, lambda: None)
    try:
        with client.lent() as link:
            found = running.create(link, environment, run_id, plan.packed(run_id), plan.expires)
            if found.state == "cancelled":
                raise PoolError(
                    f"Run {run_id!r} was cancelled, and its inputs are gone: delete it, or choose another map_id."
                )
            if found.state == "running":
                run_records.wake_drivers(link, environment)
            if not found.is_new and not Plan.of(environment, run_id, found.plan).is_like(plan):
                raise MapConflictError(
                    f"map_id {run_id!r}: the run that is there has another task, or other constants. Choose another "
                    "map_id, or delete that run."
                )
            upload = Upload(
                link,
                environment,
                run_id,
                task=task,
                stored=found.stored,
                total=found.total,
                expires=plan.expires,
            )
            upload.all_of(source, progress)
    finally:
        source.close()
