"""Commands for a cluster: `scale`, and the two that its pods run."""

from __future__ import annotations

import logging
import sys

import click

from actorq.base.log import configure_later
from actorq.base.settings import settings
from actorq.cli.options import redis_url, server_url


@click.command(short_help="Change the number of replicas of an environment on a cluster.")
@click.argument("environment")
@click.argument("replicas", type=click.IntRange(0, 10_000))
@click.option(
    "--namespace", envvar="ACTORQ_KUBERNETES_NAMESPACE", show_envvar=True, help="Namespace of its Deployment."
)
def scale(environment: str, replicas: int, namespace: str | None) -> None:
    """Scale the replicas of an environment that were made on demand. Running maps follow.

    For those of a chart release it says the `helm upgrade` that does it.
    """
    namespace = namespace or settings().kubernetes_namespace
    if namespace is None:
        raise click.UsageError("No namespace: give --namespace, or set ACTORQ_KUBERNETES_NAMESPACE.")
    from actorq.kube.api import KubeApi
    from actorq.kube.scaling import scale as scale_pool

    name = scale_pool(KubeApi(namespace), environment, replicas)
    click.echo(f"deployment {name} in {namespace}: {replicas} replicas")


@click.command(hidden=True)
@click.argument("environment")
@click.option("--ttl", type=click.FloatRange(min=1), required=True, help="Seconds without use after which it ends.")
@click.option("--away", type=click.FloatRange(min=1), help="Seconds after which a server is gone.")
@redis_url
def keep(environment: str, ttl: float, away: float | None, redis_url: str | None) -> None:
    """Wait until nobody has used an environment for a while. The keeper of a pool made on demand."""
    from actorq.kube.keeper import AWAY_SECONDS
    from actorq.kube.keeper import keep as keep_pool

    def address() -> str:
        settings.cache_clear()  # the file of the Secret may hold another one by now
        return server_url(redis_url)

    configure_later("auto", "info")
    keep_pool(address, environment, ttl, away or AWAY_SECONDS)


@click.command(name="run-input", hidden=True)
def run_input() -> None:
    """Run the one input of this pod. The process of a regular task's pod."""
    from actorq.oneshot.pod import main

    configure_later("auto", "info", logging.INFO)
    sys.exit(main())
