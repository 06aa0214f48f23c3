"""Commands that steer work from outside: `cancel`, `retry` and `delete`."""

from __future__ import annotations

import click

from actorq.cli.options import redis_url, say
from actorq.cli.runs import client_of


@click.command(short_help="End a run, a job or a live map.")
@click.argument("name")
@redis_url
def cancel(name: str, redis_url: str | None) -> None:
    """End NAME: what has not begun never runs, and what runs is stopped. Outputs of a run so far stay readable.

    A live map ends with an error in the program that runs it.
    """
    from actorq.runs import named

    with client_of(redis_url) as client:
        say(named.cancel(client, name))


@click.command(short_help="Run again what has failed.")
@click.argument("name")
@redis_url
def retry(name: str, redis_url: str | None) -> None:
    """Run the inputs of the run NAME that have failed once more, or the job of that name, with the replicas' code."""
    from actorq.runs import named

    with client_of(redis_url) as client:
        say(named.retry(client, name))


@click.command(short_help="End a run or a job, and remove what is kept of it.")
@click.argument("name")
@redis_url
def delete(name: str, redis_url: str | None) -> None:
    """End the run or the job NAME, and remove all that the server keeps of it."""
    from actorq.runs import named

    with client_of(redis_url) as client:
        say(named.delete(client, name))
