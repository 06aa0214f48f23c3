"""`task.spawn_map` and `task.spawn`: work that outlives this program begins."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import replace
from typing import Any

from actorq.base import tracing
from actorq.base.amounts import counted
from actorq.base.warned import warn
from actorq.broker import records, run_records
from actorq.broker.client import Client
from actorq.broker.link import Link
from actorq.broker.scripts import jobs
from actorq.code.bundle import Courier
from actorq.code.fingerprint import FINGERPRINTS
from actorq.declare.engine import JobOptions, RunOptions
from actorq.declare.environment import ActorEnvironment, Environment
from actorq.declare.map_options import MapOptions
from actorq.declare.task import Task
from actorq.errors import BrokerError
from actorq.maps.progress import is_wanted
from actorq.runs import reader
from actorq.runs.handle import Run
from actorq.runs.job import Job, Spawner
from actorq.runs.plan import Plan
from actorq.runs.start import start
from actorq.runtime.places import Pools
from actorq.wire.lease import Bundle

#: how long a server that does not answer is asked at the end, seconds
_LAST_SECONDS = 1.0
#: seconds that code is kept beyond what it is needed for
_DAY_SECONDS = 86_400
#: seconds between two lines
_LINE_SECONDS = 0.2


def spawn(
    client: Client,
    environment: ActorEnvironment,
    iterables: tuple[Iterable[Any], ...],
    options: MapOptions,
    map_id: str,
    kept: RunOptions,
    retry: Callable[[Client, str], None],
) -> Run[Any]:
    """Starts a run, or finds it there."""
    head = replace(options.head, keep=kept.expires + kept.result_ttl, trace=tracing.context())
    plan = Plan(
        options=replace(options, head=head),
        lease_seconds=environment.lease_seconds,
        expires=kept.expires,
        result_ttl=kept.result_ttl,
    )
    with client.lent() as link:
        Courier(options.bundle).bring(link)
        if options.bundle is not None:  # perhaps nobody serves, or drives, it for days
            records.keep_code(link, options.bundle.code, kept.expires + _DAY_SECONDS)
    wanted = is_wanted(kept.progress)
    start(client, map_id, iterables, plan, _line(map_id) if wanted else _nothing)
    if wanted:
        sys.stderr.write("\n")
    return Run(client, map_id, retry)


def retry(pools: Pools, client: Client, map_id: str) -> str:
    """Opens a run that has ended once more, with its task as this program declares it, if it does.

    Returns the run's environment.
    """
    record = reader.record_of(client, map_id)
    plan = Plan.of(record.environment, map_id, record.plan)
    head = None
    for environment in Environment.of(record.environment):
        task = environment.tasks.get(plan.options.head.task)
        if task is not None and isinstance(environment, ActorEnvironment):
            client, _ = pools.connect(environment, 1)
            options = pools.with_code(environment, replace(plan.options, head=task.head(plan.options.head.mode, {})))
            with client.lent() as link:
                Courier(options.bundle).bring(link)
            head = replace(options.head, keep=plan.options.head.keep)
    reader.retry(client, map_id, head)
    return record.environment


class TaskSpawner:
    """Makes the jobs of one task, as it is now, on one server. Any thread may use it."""

    def __init__(
        self,
        client: Client,
        task: Task[Any, Any, Any],
        environment: ActorEnvironment,
        bundle: Bundle | None,
        generation: int,
    ) -> None:
        self._client = client
        self._task = task
        self._generation = generation
        self._code = FINGERPRINTS.of(task.function)
        self._courier = Courier(bundle)
        self._bundle = bundle
        self._code_until = 0.0  # Unix seconds
        self._spawner = Spawner(task, environment, bundle)

    def fits(self, task: Task[Any, Any, Any], generation: int) -> bool:
        """Whether it makes jobs of this task, on the server of this generation."""
        return self._task is task and self._generation == generation and self._code.is_current

    def make(self, args: tuple[Any, ...], kwargs: dict[str, Any], job_id: str, options: JobOptions) -> Job[Any]:
        """Makes the job, or finds it there."""
        with self._client.lent() as link:
            self._courier.bring(link)
            self._keep_code(link, options)
            self._spawner.make(link, args, kwargs, job_id, options)
        return Job(self._client, job_id)

    def _keep_code(self, link: Link, options: JobOptions) -> None:
        """The code that travels with a job stays as long as it may wait; looked at once a day."""
        until = (options.at or time.time()) + options.delay + options.expires
        if self._bundle is not None and until > self._code_until:
            self._code_until = until + _DAY_SECONDS
            records.keep_code(link, self._bundle.code, int(self._code_until - time.time()))


def tell_what_ends(client: Client, environments: Iterable[str]) -> None:
    """Warns of jobs and runs that have not ended, on a server that ends with this program and keeps nothing."""
    with suppress(BrokerError), client.lent() as link:
        link.hurry(_LAST_SECONDS)
        for name in environments:
            counts = (jobs.unfinished(link, name), "job"), (len(run_records.open_runs(link, name)), "run")
            told = [counted(count, what) for count, what in counts if count]
            if told:
                warn(
                    f"{' and '.join(told)} of {name!r} have not ended, and end with this program's own server. Wait "
                    "for them, set ACTORQ_STATE_DIR to a folder where the next program finds them, or ACTORQ_REDIS_URL "
                    "to a server that lives on."
                )


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
