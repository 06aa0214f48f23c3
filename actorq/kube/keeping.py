"""The Job that a pool belongs to: how long the pool lives, and who decides it.

    decides                          needs                      ends the pool
    the keeper, the Job's pod        its image, for a moment    `ttl_seconds` after the last use, as Redis knows it, or
                                                                when Redis has been away for long
    the Job's deadline               nothing of ours            `_STARTING_SECONDS` after the last program that used it,
                                                                `_KEPT_SECONDS` if the keeper was seen to run
    the program that made the pool   itself, alive              when its replicas cannot start

So the programs that use a pool put its deadline off, and the keeper only shortens it (`deadline.py` says why a
deadline, and what else was weighed). A keeper that runs is worth a long deadline: its word is good, and the pool may be
used for hours by who cannot put anything off, as tasks in other replicas, which have no token. Where it does not run,
its image is missing or there is no room for it, and the pool lives for little longer than somebody is there to use it.
"""

from __future__ import annotations

from collections.abc import Sequence

from actorq.declare.environment import ActorEnvironment
from actorq.kube.address import PodAddress
from actorq.kube.api import KubeApi, Manifest
from actorq.kube.deadline import put_off
from actorq.kube.jobs import ending
from actorq.kube.keeper import AWAY_SECONDS
from actorq.kube.pods import labels_of, object_name, pod_template

#: what a pool lives beside its TTL, seconds: where its keeper does not run, as the largest images take ten minutes to
#: pull and their models as long to load…
_STARTING_SECONDS = 1800.0
#: …and where it does
_KEPT_SECONDS = 86_400.0
#: the pool's own end, as its keeper's pod may be asked for
_GRACE_SECONDS = 5


def keeper_name(environment: ActorEnvironment) -> str:
    return object_name(environment.name, "keeper")


def keeper_job(environment: ActorEnvironment, ttl: float, address: PodAddress, secret: str) -> Manifest:
    """The Job to make. `secret`: the name of the pool's Secret."""
    labels = labels_of(environment.name, "keeper")
    template = pod_template(
        environment,
        labels=labels,
        command=["actorq", "keep", environment.name, "--ttl", str(ttl), "--away", str(AWAY_SECONDS)],
        env=[],
        secrets=address.secrets(secret, signing=False),
        grace_seconds=_GRACE_SECONDS,
        small=True,
    )
    template["spec"]["restartPolicy"] = "OnFailure"
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": keeper_name(environment), "labels": labels},
        "spec": {
            "ttlSecondsAfterFinished": 0,
            "activeDeadlineSeconds": int(ttl + _STARTING_SECONDS),
            "backoffLimit": 1000,
            "template": template,
        },
    }


def prolong(api: KubeApi, keeper: Manifest, ttl: float | None) -> None:
    """The pool is in use, and wanted for `ttl` seconds after that; None for ever."""
    runs = bool((keeper.get("status") or {}).get("ready"))
    put_off(api, keeper, None if ttl is None else ttl + (_KEPT_SECONDS if runs else _STARTING_SECONDS))


def keepers(found: Manifest) -> set[str]:
    """The keepers that an object goes with."""
    references = found["metadata"].get("ownerReferences") or []
    return {str(each["uid"]) for each in references if each.get("kind") == "Job"}


def stays(found: Manifest, owners: Sequence[Manifest]) -> bool:
    """Whether an object will be there for as long as `owners` are: it has not ended, and has no keeper that has."""
    ends = found["metadata"].get("deletionTimestamp") or ending(found) is not None
    return not ends and keepers(found) <= {str(owner["uid"]) for owner in owners}
