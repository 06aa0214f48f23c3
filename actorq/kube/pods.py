"""What a pod of ours looks like: restricted, without an API token, and as the user's pod template says.

`pod_template` is a piece of a PodTemplateSpec, in the words of the Kubernetes documentation. It is laid over ours: maps
are merged, lists of named things (containers, volumes, env) are merged by name, everything else replaces.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from copy import deepcopy
from typing import Any

from actorq.broker import keys
from actorq.declare.environment import Environment
from actorq.errors import DeclarationError
from actorq.kube.address import PodSecrets, SecretFile
from actorq.kube.api import Manifest

#: name of our container; a pod template changes it under this name
CONTAINER = "actorq"
#: port of probes and metrics
HTTP_PORT = 9090
#: user and group of the pods; the image's own
_USER = 10001
#: where a pod finds its secret files
_SECRETS, _SECRETS_VOLUME = "/etc/actorq/secrets", "actorq-secrets"

NAME_LABEL, COMPONENT_LABEL = "app.kubernetes.io/name", "app.kubernetes.io/component"
MANAGED_BY_LABEL = "app.kubernetes.io/managed-by"
#: a chart's network policy lets such pods reach its Redis
_CLIENT_LABEL = "actorq.dev/redis-client"
ENVIRONMENT_LABEL, MAP_LABEL = "actorq.dev/environment", "actorq.dev/map"
GENERATION = "actorq.dev/generation"
#: annotation of pods: changes when what is in their Secret does
READS = "actorq.dev/reads"
#: annotation: the map as its user named it, which is no label's value
MAP_ID = "actorq.dev/map-id"


def labels_of(environment: str, component: str) -> dict[str, str]:
    return {
        NAME_LABEL: "actorq",
        COMPONENT_LABEL: component,
        MANAGED_BY_LABEL: "actorq",
        ENVIRONMENT_LABEL: environment,
        _CLIENT_LABEL: "true",
    }


def object_name(*parts: str) -> str:
    """A name that Kubernetes takes: at most 52 characters, so that what it adds for pods fits, and unique."""
    name = "-".join(["actorq", *parts]).lower()
    if len(name) <= 52:
        return name
    return f"{name[:43].rstrip('-')}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"


def image_of(environment: Environment) -> str:
    """Raises `DeclarationError` when the environment names no image."""
    if environment.container_image is None:
        raise DeclarationError(
            f"{environment!r} runs in pods and names no image: give container_image=, an image that has actorq and "
            "the code of its tasks."
        )
    return environment.container_image


def pod_template(
    environment: Environment,
    *,
    labels: Mapping[str, str],
    command: Sequence[str],
    env: Sequence[Manifest],
    secrets: PodSecrets,
    grace_seconds: int,
    probes: bool = False,
    small: bool = False,
) -> Manifest:
    """A PodTemplateSpec for `environment` that runs `command`. `small`: without the environment's resources and
    template, for a pod that only looks at the server.
    """
    container: Manifest = {
        "name": CONTAINER,
        "image": image_of(environment),
        "command": list(command),
        "env": [
            *({"name": name, "value": value} for name, value in environment.environment.items()),
            {"name": "ACTORQ_LOG_FORMAT", "value": "json"},
            *([{"name": "RQ_KEY_PREFIX", "value": keys.RQ}] if keys.RQ != "rq" else []),
            {"name": "HOME", "value": "/tmp"},  # noqa: S108 - the only place a read-only root leaves to write
            {"name": "ACTORQ_POD_NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
            *({"name": f"{each.variable}_FILE", "value": f"{_SECRETS}/{each.file}"} for each in secrets),
            *env,
        ],
        # a pod is gone when one looks: the end of its log is what its status tells
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "volumeMounts": [
            {"name": "tmp", "mountPath": "/tmp"},  # noqa: S108 - see above
            {"name": _SECRETS_VOLUME, "mountPath": _SECRETS, "readOnly": True},
        ],
    }
    if small:
        container["resources"] = {"requests": {"cpu": "10m", "memory": "48Mi"}, "limits": {"memory": "128Mi"}}
    elif environment.requests or environment.limits:
        container["resources"] = {"requests": environment.requests, "limits": environment.limits}
    if probes:
        container["ports"] = [{"name": "http", "containerPort": HTTP_PORT}]
        container["startupProbe"] = _probe("/readyz", every=1, failures=300)
        container["readinessProbe"] = _probe("/readyz", every=5, failures=2)
        container["livenessProbe"] = _probe("/livez", every=10, failures=3)
    template: Manifest = {
        "metadata": {"labels": dict(labels)},
        "spec": {
            "automountServiceAccountToken": False,
            "enableServiceLinks": False,
            "terminationGracePeriodSeconds": grace_seconds,
            "securityContext": {
                "runAsNonRoot": True,
                "runAsUser": _USER,
                "runAsGroup": _USER,
                "fsGroup": _USER,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "containers": [container],
            "volumes": [
                {"name": "tmp", "emptyDir": {}},
                {"name": _SECRETS_VOLUME, "projected": {"sources": [_source(each) for each in secrets]}},
            ],
        },
    }
    if not small:
        template = merged(template, environment.pod_template)
        template["metadata"]["labels"].update(labels)  # selectors depend on them
    return template


def fingerprint(template: Manifest) -> str:
    """Changes when the pods would."""
    return hashlib.sha256(json.dumps(template, sort_keys=True).encode()).hexdigest()[:16]


def merged(base: Any, over: Any) -> Any:
    """`over` laid over `base`, as the head of this module says."""
    if isinstance(base, dict) and isinstance(over, Mapping):
        result = dict(base)
        for key, value in over.items():
            result[key] = merged(result[key], value) if key in result else deepcopy(value)
        return result
    if isinstance(base, list) and isinstance(over, list) and _named(base) and _named(over):
        result_list = list(base)
        places = {_key(item): place for place, item in enumerate(base)}
        for item in over:
            if (place := places.get(_key(item))) is not None:
                result_list[place] = merged(result_list[place], item)
            else:
                result_list.append(deepcopy(item))
        return result_list
    return deepcopy(over)


def _key(item: Manifest) -> str:
    return str(item.get("mountPath") or item["name"])  # one volume may be mounted twice


def _named(items: list[Any]) -> bool:
    return all(isinstance(item, dict) and "name" in item for item in items)


def _source(each: SecretFile) -> Manifest:
    return {"secret": {"name": each.secret, "items": [{"key": each.key, "path": each.file}]}}


def _probe(path: str, *, every: int, failures: int) -> Manifest:
    return {
        "httpGet": {"path": path, "port": "http"},
        "periodSeconds": every,
        "failureThreshold": failures,
        "timeoutSeconds": 3,
    }
