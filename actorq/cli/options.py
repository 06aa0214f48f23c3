"""Options that several commands share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

from actorq.base.masking import printable
from actorq.base.settings import settings

F = TypeVar("F", bound=Callable[..., Any])

redis_url = click.option(
    "-u",
    "--redis-url",
    envvar="ACTORQ_REDIS_URL",
    show_envvar=True,
    help="The server, redis://, rediss:// or unix://. ACTORQ_REDIS_URL_FILE names a file that holds it.",
)

output = click.option(
    "-o",
    "--output",
    type=click.Choice(["table", "json"]),
    default="table",
    show_default=True,
    help="For people, or for programs.",
)


def monitor_address(function: F) -> F:
    """`--http-port` and `--http-host`."""
    port = click.option(
        "--http-port",
        envvar="ACTORQ_HTTP_PORT",
        show_envvar=True,
        type=click.IntRange(0, 65535),
        help="Serve /livez, /readyz and /metrics on this port; 0 takes a free one.  [default: none]",
    )
    host = click.option(
        "--http-host",
        envvar="ACTORQ_HTTP_HOST",
        show_envvar=True,
        default="0.0.0.0",  # noqa: S104 - in a pod the kubelet asks from outside; nobody listens without a port
        show_default=True,
        help="Address to serve them on.",
    )
    return port(host(function))


def say(text: str, *, err: bool = False) -> None:
    """Prints text that may come from the server: nothing in it moves the cursor, or changes what is on the screen."""
    click.echo(printable(text, lines=True), err=err)


def server_url(given: str | None) -> str:
    """The server to use. Raises `UsageError` when nothing names one."""
    found = settings()  # also where the address is given: a setting that cannot be used is refused before anything runs
    url = given or found.redis_url
    if url is None:
        raise click.UsageError("No server: give --redis-url, or set ACTORQ_REDIS_URL.")
    return url
