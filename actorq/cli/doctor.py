"""`actorq doctor`: is this server one to trust work to?"""

from __future__ import annotations

import json
import sys
from dataclasses import asdict

import click

from actorq.base.settings import masked
from actorq.cli.options import output, redis_url, say, server_url

#: seconds to try a server that cannot be reached
_PATIENCE = 5.0


@click.command(short_help="What this server does to work: persistence, memory, clock, workers.")
@redis_url
@output
def doctor(redis_url: str | None, output: str) -> None:
    """Look at the server, and say what it loses, what it refuses, and what to do. Exit code 1: something is bad."""
    from actorq.broker.link import Link
    from actorq.monitor.doctor import BAD, findings, look

    url = server_url(redis_url)
    link = Link(url, patience=_PATIENCE)
    try:
        found = findings(look(link))
    finally:
        link.close()
    if output == "json":
        say(json.dumps([asdict(each) for each in found], indent=2))
    else:
        say(masked(url))
        width = max(len(each.what) for each in found)
        for each in found:
            say(f"  {each.level:4}  {each.what:{width}}  {each.told}")
            if each.advice:
                say(f"  {'':4}  {'':{width}}  {each.advice}")
    sys.exit(1 if any(each.level == BAD for each in found) else 0)
