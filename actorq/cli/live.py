"""`actorq watch`, the live view of a terminal, which needs an extra; and tables that are printed again and again."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

import click

from actorq.cli.options import redis_url, server_url
from actorq.errors import BrokerError, DeclarationError, PoolError

#: clears the screen, and puts the cursor to its beginning
_CLEAR = "\x1b[2J\x1b[H"


@click.command(short_help="A live view of environments, maps, replicas and failures.")
@click.argument("environment", required=False)
@redis_url
def watch(environment: str | None, redis_url: str | None) -> None:
    """Show what runs, live, on the whole terminal: ? tells the keys, q quits.

    Needs the extra `watch`. For a plain terminal there is `actorq status --watch`.
    """
    url = server_url(redis_url)
    try:
        from actorq.terminal.app import Watch
    except ModuleNotFoundError as error:
        if not (error.name or "").startswith(("textual", "rich")):
            raise
        raise DeclarationError("The live view needs textual: pip install 'actorq[watch]'") from error
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise click.UsageError("This is no terminal: `actorq status --watch` prints the tables again and again.")
    Watch(url, environment or "").run()


def again(show: Callable[[], None], seconds: float, tell: Callable[[str], None]) -> None:
    """Shows something every so many seconds, until Ctrl-C. A server that is away, and an environment that nobody has
    used yet, are told of and waited for.

    Args:
        show: prints it.
        seconds: the pause between two.
        tell: prints what went wrong.
    """
    terminal = sys.stdout.isatty()
    try:
        while True:
            if terminal:
                click.echo(_CLEAR, nl=False)
            try:
                show()
            except (BrokerError, PoolError) as error:
                tell(f"{time.strftime('%H:%M:%S')}  {error}")
            sys.stdout.flush()
            time.sleep(seconds)
            if not terminal:
                click.echo()
    except KeyboardInterrupt:
        return
