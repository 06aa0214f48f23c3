"""The commands about runs: maps that outlive the script that started them."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

from actorq.cli.options import output, redis_url, say, server_url

if TYPE_CHECKING:
    from actorq.broker.client import Client

#: seconds to try a server that cannot be reached
_PATIENCE = 5.0


@contextmanager
def _client(url: str | None) -> Iterator[Client]:
    from actorq.broker.client import Client

    client = Client(server_url(url), _PATIENCE)
    try:
        yield client
    finally:
        client.close()


@click.command(short_help="Runs of every environment that have not ended.")
@click.argument("environment", required=False)
@redis_url
@output
def runs(environment: str | None, redis_url: str | None, output: str) -> None:
    """Show the runs that have not ended: maps that were started with `spawn_map`."""
    from actorq.broker import records

    with _client(redis_url) as client, client.lent() as link:
        names = [environment] if environment else records.environments(link)
        found = [(name, run_id) for name in names for run_id in records.open_runs(link, name)]
        rows = []
        for name, run_id in found:
            record, progress = records.run_record(link, run_id), records.run_progress(link, run_id)
            if record is not None:
                total = record.total if record.total is not None else f"{record.stored}+"
                rows.append({"run": run_id, "environment": name, "state": record.state, "total": total, **progress})
    if output == "json":
        say(json.dumps(rows, indent=2))
        return
    for row in rows:
        say(f"{row['run']}  {row['environment']}  {row['state']}  {row['done']}/{row['total']}  {row['failed']} failed")


@click.command(short_help="The outputs of a run, as lines of JSON.")
@click.argument("run")
@redis_url
@click.option("--start", default=0, show_default=True, help="Index of the first output.")
def results(run: str, redis_url: str | None, start: int) -> None:
    """Write the outputs of RUN in the order of its inputs, one line of JSON each. Waits for those that are to come."""
    from actorq.runs.reader import Reader

    with _client(redis_url) as client:
        for value in Reader(client, run, ordered=True, start=start).outputs():
            sys.stdout.write(json.dumps(value, default=str) + "\n")
        sys.stdout.flush()


@click.command(short_help="End a run.")
@click.argument("run")
@redis_url
def cancel(run: str, redis_url: str | None) -> None:
    """End RUN: what has not begun never runs, and what runs is stopped. Its outputs so far stay readable."""
    from actorq.runs import reader

    _end(run, redis_url, reader.cancel)


@click.command(short_help="End a run and remove what is kept of it.")
@click.argument("run")
@redis_url
def delete(run: str, redis_url: str | None) -> None:
    """End RUN, and remove all that the server keeps of it."""
    from actorq.runs import reader

    _end(run, redis_url, reader.delete)


def _end(run: str, url: str | None, how: Callable[[Any, str], None]) -> None:
    with _client(url) as client:
        how(client, run)
