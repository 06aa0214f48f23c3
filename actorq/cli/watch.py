"""Commands that look: `status`, `queues`, `workers`, `ping`, and the exporter of the same numbers."""

from __future__ import annotations

import json
import signal
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, TypeVar

import click

from actorq.base.amounts import rate, size, whole_span
from actorq.base.settings import masked
from actorq.cli.live import again
from actorq.cli.options import monitor_address, output, redis_url, say, server_url
from actorq.cli.tables import print_table
from actorq.errors import BrokerError, PoolError

if TYPE_CHECKING:
    from actorq.broker.link import Link
    from actorq.monitor.model import EnvironmentView, MapView

T = TypeVar("T")

#: the exporter reads the server for a scrape, and gives it so long, seconds
_SCRAPE_SECONDS = 5.0
#: pause between two looks for a replica, seconds
_LOOK_SECONDS = 0.5
#: pause between two prints of the tables, where nobody says another, seconds
_AGAIN_SECONDS = 2.0


@click.command(short_help="Maps, queue and replicas of every environment.")
@click.argument("environment", required=False)
@redis_url
@output
@click.option(
    "--watch",
    "seconds",
    is_flag=False,
    flag_value=_AGAIN_SECONDS,
    type=click.FloatRange(min=0.1),
    metavar="[SECONDS]",
    help=f"Print it again after so many seconds, {_AGAIN_SECONDS:.0f} where none are given, until Ctrl-C.",
)
def status(environment: str | None, redis_url: str | None, output: str, seconds: float | None) -> None:
    """Show what runs: each environment with its live maps."""

    def show() -> None:
        views = _views(redis_url, environment)
        if output == "json":
            _print_json(views)
        else:
            _print_status(views)

    if seconds is None:
        show()
    else:
        again(show, seconds, say)


def _print_status(views: Sequence[EnvironmentView]) -> None:
    from actorq.monitor.metrics import REGISTERED_STATES

    if not views:
        say("No environment has been used here within a day, and no replica is there: actorq worker MODULE", err=True)
    for view in views:
        states = [replica.state for replica in view.replicas]
        told = ", ".join(f"{states.count(s)} {s}" for s in REGISTERED_STATES if s in states) or "none"
        nobody = ". NOBODY SERVES IT: start a worker, or correct the name" if view.unserved else ""
        say(f"{view.name}: replicas {told}; {view.queued_inputs} inputs queued; {view.failed_inputs} failed{nobody}")
        for word, text in (("cannot be read in full", view.problem), ("no pool", view.trouble)):
            if text:
                say(f"  {word}: {text}")
        for m in view.maps:
            if m.held:
                say(f"  {m.id} is held up: {m.held}")
        if view.maps:
            head = ("  MAP", "TASK", "DONE", "FAILED", "RATE", "LEFT", "RUNS")
            print_table(head, [_map_row(m) for m in view.maps], [m.problem for m in view.maps])


def _map_row(view: MapView) -> tuple[str | int, ...]:
    done = f"{view.done:,}/{'?' if view.total is None else f'{view.total:,}'}"
    runs = f"{view.running} {'pods' if view.pods else 'leases'}"
    return f"  {view.id}", view.task, done, view.failed, f"{rate(view.rate)}/s", whole_span(view.eta), runs


@click.command(short_help="Depth and age of every queue.")
@redis_url
@output
def queues(redis_url: str | None, output: str) -> None:
    """Show what waits: a lease is a run of inputs handed to one replica."""
    views = _views(redis_url, None)
    if output == "json":
        kept = (
            "name",
            "queued_leases",
            "queued_inputs",
            "oldest_seconds",
            "running_leases",
            "failed_inputs",
            "unserved",
            "problem",
        )
        say(json.dumps([{key: getattr(view, key) for key in kept} for view in views], indent=2))
        return
    print_table(
        ("ENVIRONMENT", "LEASES", "INPUTS", "OLDEST", "RUNNING", "FAILED", "REPLICAS"),
        [
            (
                v.name,
                v.queued_leases,
                v.queued_inputs,
                f"{v.oldest_seconds:.1f} s",
                v.running_leases,
                v.failed_inputs,
                "NOBODY SERVES IT" if v.unserved else f"{len(v.replicas)}",
            )
            for v in views
        ],
        [v.problem for v in views],
    )


@click.command(short_help="Every replica, and what it runs.")
@click.argument("environment", required=False)
@redis_url
@output
def workers(environment: str | None, redis_url: str | None, output: str) -> None:
    """Show the replicas: what they run, when they were last heard of, how often their executor was replaced."""
    views = _views(redis_url, environment)
    if output == "json":
        say(json.dumps([asdict(r) | {"environment": v.name} for v in views for r in v.replicas], indent=2))
        return
    print_table(
        ("REPLICA", "STATE", "MAP", "INDEX", "HEARTBEAT", "INPUTS", "RESTARTS", "CACHED", "BYTES"),
        [
            (
                r.name,
                r.state,
                r.map or "-",
                "-" if r.index is None else r.index,
                f"{whole_span(r.heartbeat_seconds)} ago",
                r.inputs,
                r.restarts,
                r.cached,
                size(r.cached_bytes),
            )
            for v in views
            for r in v.replicas
        ],
        [r.problem for v in views for r in v.replicas],
    )


@click.command(short_help="A small real map through the replicas of an environment.")
@click.argument("environments", nargs=-1, required=True, metavar="ENVIRONMENT...")
@redis_url
@click.option("--inputs", type=click.IntRange(1, 1_000_000), default=3, show_default=True, help="Inputs to map.")
@click.option("--timeout", type=click.FloatRange(min=0.1), default=30.0, show_default=True, help="Seconds for each.")
def ping(environments: tuple[str, ...], redis_url: str | None, inputs: int, timeout: float) -> None:
    """Map a few numbers over the replicas and check that they come back. Needs none of their code."""
    import os

    os.environ["ACTORQ_REDIS_URL"] = server_url(redis_url)
    from actorq.declare.ping import ping as ping_one

    failed = False
    for name in environments:
        try:
            until = time.monotonic() + timeout
            _refuse_suspended(name, redis_url)
            _wait_for_replica(name, redis_url, until)
            ping_one(name, inputs, max(until - time.monotonic(), 0.1))
            say(f"{name}: {inputs} of {inputs} inputs came back")
        except PoolError as error:
            failed = True
            say(str(error), err=True)
    sys.exit(1 if failed else 0)


def _refuse_suspended(environment: str, url: str | None) -> None:
    """Raises `PoolError` where no replica takes anything, since somebody has said so."""
    from actorq.broker.records import suspended_for

    link = _link(server_url(url))
    try:
        left = suspended_for(link)
    finally:
        link.close()
    if left is not None:
        until = f"for {left} s more, or until" if left >= 0 else "until"
        raise PoolError(f"{environment}: all queues of this server are suspended, {until} `rq resume`.")


def _wait_for_replica(environment: str, url: str | None, until: float) -> None:
    """Raises `PoolError` when there is none by then. Only reads: a misspelt name must not become a queue."""
    link = _link(server_url(url))
    try:
        if _served(link, environment):
            return
        others = ", ".join(view.name for view in _views(url, None) if view.replicas) or "none"
        say(f"{environment}: no replica serves it yet; environments with replicas: {others}", err=True)
        while not _served(link, environment):
            if time.monotonic() >= until:
                raise PoolError(f"{environment}: no replica serves it.")
            time.sleep(_LOOK_SECONDS)
    finally:
        link.close()


def _served(link: Link, environment: str) -> bool:
    from actorq.broker.scripts.submitting import known_replicas

    return bool(known_replicas(link, environment))


@click.command(short_help="Metrics of the queues, for Prometheus.")
@redis_url
@monitor_address
def exporter(redis_url: str | None, http_port: int | None, http_host: str) -> None:
    """Serve the depths of all queues as metrics. One exporter is enough; replicas serve their own counters."""
    from actorq.monitor.http import MonitorServer
    from actorq.monitor.metrics import queue_families
    from actorq.monitor.view import environments

    url = server_url(redis_url)

    def asked(question: Callable[[Link], T]) -> T | None:
        link = _link(url)
        try:
            return question(link)
        except BrokerError as error:
            say(str(error), err=True)
            return None
        finally:
            link.close()

    told: set[str] = set()

    def views() -> list[EnvironmentView] | None:
        found = asked(environments)
        problems = {problem for view in found or () for problem in view.problems}
        for problem in sorted(problems - told):  # once, and again when it comes back
            say(problem, err=True)
        told.clear()
        told.update(problems)
        return found

    server = MonitorServer(
        (http_host, 9090 if http_port is None else http_port),
        live=lambda: True,
        ready=lambda: asked(lambda link: link.command("PING")) is not None,
        collect=lambda: queue_families(views()),
    )
    say(f"Metrics of {masked(url)} on port {server.port}", err=True)
    ended = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ended.set())
    ended.wait()
    server.close()


def _link(url: str) -> Link:
    from actorq.broker.link import Link

    return Link(url, patience=0.0, reply_timeout=_SCRAPE_SECONDS)


def _views(url: str | None, only: str | None) -> list[EnvironmentView]:
    from actorq.monitor.view import environments

    link = _link(server_url(url))
    try:
        views = environments(link, only)
    finally:
        link.close()
    if only is not None and not views:
        raise PoolError(f"Nothing is known of an environment {only!r} on {masked(link.url)}: no replica serves it.")
    return views


def _print_json(views: Sequence[EnvironmentView]) -> None:
    say(json.dumps([asdict(view) for view in views], indent=2))
