"""`actorq worker` serves an environment: the entry of a replica's pod, and of workers started by hand."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import click

from actorq.base.settings import masked
from actorq.cli.options import monitor_address, redis_url, say, server_url
from actorq.errors import ActorqError, BrokerError, DeclarationError

#: how long a server may take to be ready, seconds. A pod may start before it does, and a crash and a back-off would
#: take longer than to wait
_START_PATIENCE = 60.0


@click.command(short_help="Serve an environment with warm replicas.")
@click.argument("targets", metavar="MODULE[:VARIABLE]...", nargs=-1)
@click.option(
    "-e",
    "--environment",
    envvar="ACTORQ_ENVIRONMENT",
    show_envvar=True,
    help="Name of the environment, where the modules declare several, or to make sure they declare this one.",
)
@click.option(
    "--bundles/--no-bundles",
    envvar="ACTORQ_BUNDLES",
    show_envvar=True,
    help="Also run code that comes with the maps, checked by hash, and by signature where ACTORQ_SIGNING_KEY is set. "
    "Then MODULE may be left out: -e names the environment, and ACTORQ_DECLARED its fields, as JSON.",
)
@redis_url
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
@click.option(
    "--prefix/--no-prefix",
    envvar="ACTORQ_PREFIX",
    show_envvar=True,
    help="Begin each line that a task prints with the replica, the map and the index of the input.",
)
@click.option(
    "--capture-output/--no-capture-output",
    envvar="ACTORQ_CAPTURE_OUTPUT",
    show_envvar=True,
    help="Keep what tasks print on the server, for `actorq logs`: 64 KiB an input, 10,000 lines a map, for a day.",
)
@monitor_address
def worker(
    targets: tuple[str, ...],
    environment: str | None,
    bundles: bool,
    redis_url: str | None,
    replicas: int,
    log_format: str,
    log_level: str,
    prefix: bool,
    capture_output: bool,
    http_port: int | None,
    http_host: str,
) -> None:
    """Serve the tasks of an environment until told to stop.

    MODULE is a module name or the path of a .py file; VARIABLE is the variable that holds the ActorEnvironment, and
    can be left out where there is only one. Further modules are imported too: those that declare more of its tasks.

    SIGTERM or Ctrl-C drains: inputs that run finish, the rest is handed back. A second one does not wait.
    """
    from actorq.base.log import configure_later
    from actorq.base.names import archive_of
    from actorq.broker.connect import needs_redis_py
    from actorq.code.importing import parse_target
    from actorq.replica.spec import Served, SupervisorSpec, ZygoteSpec
    from actorq.replica.start.zygote import start_zygote

    log = (log_format, log_level, {"warning": 30, "error": 40}.get(log_level.lower(), 20))  # of debug, only our own
    configure_later(*log)
    if not targets and not (bundles and environment):
        raise click.UsageError("Name the MODULE to serve, or give --bundles and --environment.")
    url = server_url(redis_url)
    sys.path.insert(0, str(Path.cwd()))
    os.environ["ACTORQ_REDIS_URL"] = url  # for calls to other environments from within a task
    parsed = [parse_target(target) for target in targets]
    for module, _ in parsed:
        if module.path is not None:
            if not Path(module.path).exists() and archive_of(module.path) is None:
                raise DeclarationError(f"There is no file {module.path}.")
            sys.path.insert(0, str(Path(module.path).parent))  # as Python does for a script
    zygote = ZygoteSpec(
        targets=[module for module, _ in parsed],
        attribute=parsed[-1][1] if parsed else None,
        name=environment,
        bundles=bundles,
        declared=None if targets else json.loads(os.environ.get("ACTORQ_DECLARED", "{}")),
        path=sys.path,
        argv=[*targets[:1]],
        replicas=replicas,
        log=log,
        prefix=prefix,
        capture=capture_output,
        redis_py=needs_redis_py(url),
    )

    def ready(served: Served) -> None:
        from actorq.base.log import logger

        logger().info(
            "worker_started",
            environment=served.environment,
            replicas=replicas,
            tasks=served.tasks,
            server=masked(url),
        )

    def failed(text: str) -> None:
        gap = "\n\n" if "\n" in text.rstrip() else " "
        say(f"The tasks of {' '.join(targets)} cannot be imported:{gap}{text}", err=True)

    _check(url, at_once=http_port is None)
    spec = SupervisorSpec(url=url, replicas=replicas, zygote=zygote)
    started = start_zygote(spec)  # so what follows may start threads
    from actorq.replica.supervisor.supervisor import Supervisor

    supervisor = Supervisor(spec, started, on_ready=ready, on_failed=failed)
    if http_port is not None:
        from actorq.monitor.http import MonitorServer
        from actorq.monitor.metrics import replica_families

        def families() -> Iterable[Any]:
            name = supervisor.environment
            return [] if name is None else replica_families(name, supervisor.states(), *supervisor.renewals)

        MonitorServer((http_host, http_port), live=supervisor.live, ready=supervisor.ready, collect=families)
    sys.exit(supervisor.run())


def _check(url: str, *, at_once: bool) -> None:
    """Ends the program with a message when the server cannot be used, or is not ready for a minute.

    In a child: this process must stay light, since the zygote is forked from it.

    Args:
        url: the server.
        at_once: one that cannot be reached at all is an error at once.
    """
    pid = os.fork()
    if pid == 0:
        status = 0
        try:
            from actorq.broker.link import Link
            from actorq.broker.serverinfo import check_server

            check_server(Link(url, patience=_START_PATIENCE, at_once=at_once))
        except BrokerError as error:
            say(str(error), err=True)
            status = 3
        except ActorqError as error:
            say(str(error), err=True)
            status = 2
        finally:
            os._exit(status)
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    if status:
        sys.exit(status)
