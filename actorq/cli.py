"""The command line: `actorq worker` serves an environment.

Exit codes: 0 done, 1 failed, 2 wrong usage, 3 the server cannot be used. Logs go to stderr.
"""

from __future__ import annotations

import importlib.metadata
import os
import sys
from pathlib import Path

import click

from actorq.errors import ActorqError, BrokerError
from actorq.settings import masked, settings


@click.group(context_settings={"help_option_names": ["-h", "--help"], "auto_envvar_prefix": "ACTORQ"})
@click.version_option(importlib.metadata.version("actorq"), prog_name="actorq")
def main() -> None:
    """Map functions over inputs on warm replicas, through Redis."""


@main.command(short_help="Serve an environment with warm replicas.")
@click.argument("target", metavar="MODULE[:ENVIRONMENT]")
@click.option(
    "-u",
    "--redis-url",
    envvar="ACTORQ_REDIS_URL",
    show_envvar=True,
    help="Server to serve, redis://, rediss:// or unix://. ACTORQ_REDIS_URL_FILE names a file that holds it.",
)
@click.option(
    "-n",
    "--replicas",
    envvar="ACTORQ_REPLICAS",
    show_envvar=True,
    type=click.IntRange(1, 10_000),
    default=1,
    show_default=True,
    help="Replicas on this machine; in a pod, leave it at 1.",
)
@click.option(
    "--log-format",
    envvar="ACTORQ_LOG_FORMAT",
    show_envvar=True,
    type=click.Choice(["auto", "console", "json"]),
    default="auto",
    show_default=True,
    help="auto is console on a terminal and json elsewhere.",
)
@click.option(
    "--log-level",
    envvar="ACTORQ_LOG_LEVEL",
    show_envvar=True,
    type=click.Choice(["debug", "info", "warning", "error"], case_sensitive=False),
    default="info",
    show_default=True,
    help="Least severe events to show.",
)
def worker(target: str, redis_url: str | None, replicas: int, log_format: str, log_level: str) -> None:
    """Serve the tasks of an environment until told to stop.

    MODULE is a module name or the path of a .py file; ENVIRONMENT is the variable that holds the ActorEnvironment, and
    can be left out where there is only one.

    SIGTERM or Ctrl-C drains: inputs that run finish, the rest is handed back. A second one does not wait.
    """
    from actorq.log import configure_later
    from actorq.replica.importing import parse_target
    from actorq.replica.spec import Served, SupervisorSpec, ZygoteSpec
    from actorq.replica.supervisor import Supervisor

    configure_later(log_format, log_level)
    redis_url = redis_url or settings().redis_url
    if redis_url is None:
        raise click.UsageError("No server: give --redis-url, or set ACTORQ_REDIS_URL.")
    url = redis_url
    sys.path.insert(0, str(Path.cwd()))
    os.environ["ACTORQ_REDIS_URL"] = redis_url  # for calls to other environments from within a task
    module, attribute = parse_target(target)
    if module.path is not None:
        sys.path.insert(0, str(Path(module.path).parent))  # as Python does for a script
    zygote = ZygoteSpec(targets=[module], attribute=attribute, path=sys.path, argv=[target])

    def ready(served: Served) -> None:
        from actorq.log import logger

        logger().info(
            "worker_started",
            environment=served.environment,
            replicas=replicas,
            tasks=served.tasks,
            server=masked(url),
        )

    def failed(text: str) -> None:
        click.echo(f"The tasks of {target} cannot be imported:\n\n{text}", err=True)

    _check(redis_url)
    spec = SupervisorSpec(url=redis_url, replicas=replicas, zygote=zygote)
    sys.exit(Supervisor(spec, on_ready=ready, on_failed=failed).run())


def _check(url: str) -> None:
    """Ends the program with a message when the server cannot be used.

    In a child: this process must stay light, since the zygote is forked from it.
    """
    pid = os.fork()
    if pid == 0:
        status = 0
        try:
            from actorq.broker.serverinfo import check_server
            from actorq.broker.wire import Link

            check_server(Link(url, patience=0.0))
        except BrokerError as error:
            click.echo(str(error), err=True)
            status = 3
        except ActorqError as error:
            click.echo(str(error), err=True)
            status = 2
        finally:
            os._exit(status)
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    if status:
        sys.exit(status)


if __name__ == "__main__":
    main()
