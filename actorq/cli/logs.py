"""`actorq logs`: what the inputs of a map, a run or a job have printed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

from actorq.cli.options import redis_url, say
from actorq.cli.runs import client_of
from actorq.errors import PoolError

if TYPE_CHECKING:
    from actorq.broker.client import Client
    from actorq.broker.link import Link
    from actorq.broker.output_records import Printed

#: one wait for more lines, seconds; then it is looked whether there will be any
_WAIT_SECONDS = 1.0


@click.command(short_help="What the inputs of a map, a run or a job have printed.")
@click.argument("name", metavar="MAP_OR_RUN_OR_JOB")
@redis_url
@click.option("--index", type=click.IntRange(min=0), help="Only what the input of this index has printed.")
@click.option("--follow", is_flag=True, help="Wait for more, until the work has ended.")
@click.option(
    "-o",
    "--output",
    type=click.Choice(["text", "json"]),
    default="text",
    show_default=True,
    help="Each line behind its replica and its index, or as an object of a line of JSON.",
)
def logs(name: str, redis_url: str | None, index: int | None, follow: bool, output: str) -> None:
    """Show what tasks have printed: the last 10,000 lines of NAME, kept for a day.

    Only workers that were started with --capture-output keep it. Of a library in C, and of programs that a task starts,
    nothing is seen.
    """
    shown = 0
    with client_of(redis_url, follows=follow) as client, client.lent() as link:
        for line in _lines(client, link, name, follow=follow):
            if index in (None, line.input):
                shown += 1
                say(_as_json(line) if output == "json" else _as_text(line, alone=index is not None))
        if not shown:
            of = f" by input {index}" if index is not None else ""
            raise PoolError(
                f"Nothing is kept that was printed{of} in {name!r}. Workers keep it when they are started with "
                "--capture-output, and for a day."
            )


def _lines(client: Client, link: Link, name: str, *, follow: bool) -> Iterator[Printed]:
    """What is there; with `follow` what comes, too."""
    from actorq.broker.output_records import output_of, wait_for_output
    from actorq.runs import named

    last, ended, over = b"0-0", False, not follow
    while True:
        while some := output_of(link, name, last):
            yield from some
            last = some[-1].id
        if over:
            return
        over, ended = (
            ended,
            named.has_ended(client, name),
        )  # once more when it has: a worker sends its lines a moment later
        wait_for_output(link, name, last, _WAIT_SECONDS)


def _as_text(line: Printed, *, alone: bool) -> str:
    if alone:
        return line.text
    return f"{line.replica}{'' if line.input is None else f'[{line.input}]'} | {line.text}"


def _as_json(line: Printed) -> str:
    told = {"at": round(line.at, 3), "replica": line.replica, "index": line.input, "text": line.text}
    return json.dumps(told, ensure_ascii=False)
