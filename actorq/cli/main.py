"""`actorq`: the group of commands, and what an error looks like."""

from __future__ import annotations

import sys

import click

from actorq import __version__
from actorq.base.streams import open_missing
from actorq.cli.cluster import keep, run_input, scale
from actorq.cli.doctor import doctor
from actorq.cli.live import watch
from actorq.cli.logs import logs
from actorq.cli.map import map_
from actorq.cli.monitor import monitor
from actorq.cli.options import say
from actorq.cli.plan import plan
from actorq.cli.runs import failures, jobs, results, runs
from actorq.cli.server import server
from actorq.cli.steer import cancel, delete, retry
from actorq.cli.watch import exporter, ping, queues, status, workers
from actorq.cli.worker import worker
from actorq.errors import ActorqError, BrokerError, DeclarationError

_EXIT_CODES = "Exit codes: 0 done, 1 failed, 2 wrong usage, 3 the server (or the cluster) cannot be used."


@click.group(
    context_settings={"help_option_names": ["-h", "--help"], "auto_envvar_prefix": "ACTORQ"}, epilog=_EXIT_CODES
)
@click.version_option(__version__, prog_name="actorq")
def main() -> None:
    """Map functions over inputs on warm replicas, through Redis."""


for command in (
    *(worker, status, watch, queues, workers, ping, scale, exporter, monitor, keep, run_input),
    *(server, doctor, map_, plan, runs, jobs, results, failures, logs, cancel, retry, delete),
):
    command.epilog = _EXIT_CODES
    main.add_command(command)


def run() -> None:
    """The entry point: every error of ours is one message and an exit code."""
    open_missing()
    try:
        main()
    except ActorqError as error:
        say(f"Error: {error}", err=True)
        sys.exit(3 if isinstance(error, BrokerError) else 2 if isinstance(error, DeclarationError) else 1)
