"""What a batch of inputs is on the cluster: an Indexed Job, a pod an index, and a Secret that goes with it.

The Job is made first and suspended, then the Secret with the Job as its one owner, then the Job is let go. So no pod
waits for a Secret, and whatever ends the Job (its submitter, its TTL, a person) takes the login along.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from actorq.kube.api import KubeApi, Manifest
from actorq.replica.spec import MAP_GONE

#: a finished Job whose submitter is gone stays so long, seconds
_TTL = 60
#: why a Job has ended whose pods found their map gone, in Kubernetes's words
STOPPED = "PodFailurePolicy"


def indexed_job(name: str, metadata: Manifest, template: Manifest, *, completions: int, parallelism: int) -> Manifest:
    """A suspended Job that tries each index once; a pod that the cluster takes away is replaced and costs nothing."""
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {**metadata, "name": name},
        "spec": {
            "suspend": True,
            "completions": completions,
            "parallelism": parallelism,
            "completionMode": "Indexed",
            "backoffLimitPerIndex": 0,
            "ttlSecondsAfterFinished": _TTL,
            "podReplacementPolicy": "Failed",
            "podFailurePolicy": {
                "rules": [
                    {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]},
                    {"action": "FailJob", "onExitCodes": {"operator": "In", "values": [MAP_GONE]}},
                ]
            },
            "template": template,
        },
    }


def start(api: KubeApi, job: Manifest, secret: Manifest) -> None:
    """Makes both and lets the pods start. Raises `KubernetesError`; then some of it may be there."""
    made = api.create("jobs", job)
    secret["metadata"]["ownerReferences"] = [owner_reference(made)]
    api.create("secrets", secret)
    api.patch("jobs", job["metadata"]["name"], {"spec": {"suspend": False}})


def owner_reference(job: Manifest) -> Manifest:
    metadata = job["metadata"]
    return {"apiVersion": "batch/v1", "kind": "Job", "name": metadata["name"], "uid": metadata["uid"]}


def ending(job: Manifest) -> Manifest | None:
    """The condition that says that a Job has run to its end; never there on anything else."""
    conditions: list[Manifest] = (job.get("status") or {}).get("conditions") or []
    return next((c for c in conditions if c.get("type") in ("Complete", "Failed") and c.get("status") == "True"), None)


def indexes(status: Mapping[str, Any], which: str) -> list[int]:
    """Kubernetes's "1,3-5" as [1, 3, 4, 5]: the `which` ("failedIndexes", "completedIndexes") of a Job's status."""
    found: list[int] = []
    for part in filter(None, str(status.get(which) or "").split(",")):
        first, _, last = part.partition("-")
        found.extend(range(int(first), int(last or first) + 1))
    return found
