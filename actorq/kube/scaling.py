"""Which Deployment serves an environment, and how many replicas a person wants of it."""

from __future__ import annotations

from actorq.errors import PoolError
from actorq.kube.api import KubeApi, Manifest
from actorq.kube.pods import COMPONENT_LABEL, ENVIRONMENT_LABEL, MANAGED_BY_LABEL

#: set on a Deployment that a person has scaled: a map does not scale it up again
SCALED_BY_HAND = "actorq.dev/scaled"
#: label of every replica, and of what makes them
REPLICAS = {COMPONENT_LABEL: "replica"}


def deployment_of(api: KubeApi, environment: str) -> Manifest | None:
    """The Deployment that serves an environment: of a chart release, or one of ours."""
    found = api.list("deployments", labels={ENVIRONMENT_LABEL: environment, **REPLICAS})
    return found[0] if found else None


def scale(api: KubeApi, environment: str, replicas: int) -> str:
    """Scales the Deployment of an environment and returns its name.

    Raises `PoolError` when there is none, and for one of a chart release: Helm 4 applies what it owns, and refuses the
    next upgrade when somebody else has changed it.
    """
    deployment = deployment_of(api, environment)
    if deployment is None:
        raise PoolError(
            f"No Deployment serves environment {environment!r} in namespace {api.namespace!r}: "
            "run a map, or install the chart."
        )
    name = str(deployment["metadata"]["name"])
    if deployment["metadata"]["labels"].get(MANAGED_BY_LABEL) != "actorq":
        how = how_to_scale(api.namespace, environment, deployment, replicas)
        raise PoolError(
            f"Environment {environment!r} belongs to a chart release, which would take the change back. {how}"
        )
    hand = {"annotations": {SCALED_BY_HAND: str(replicas)}}
    api.patch("deployments", name, {"spec": {"replicas": replicas}, "metadata": hand})
    return name


def how_to_scale(namespace: str, environment: str, deployment: Manifest, replicas: int) -> str:
    """What a person does to have `replicas` of a Deployment."""
    labels = deployment["metadata"]["labels"]
    if labels.get(MANAGED_BY_LABEL) == "actorq":
        return f"Scale it: actorq scale {environment} {replicas}"
    release = labels.get("app.kubernetes.io/instance", "RELEASE")
    return (
        f"Scale it there: helm -n {namespace} upgrade {release} CHART --reset-then-reuse-values "
        f"--set environments.{environment}.replicas={replicas}"
    )
