"""What a batch of inputs is on the cluster: an Indexed Job, a pod an index, and a Secret that goes with it.

The Job is made first, for no pod at a time, then the Secret with the Job as its one owner, then the Job is let go. So
no pod waits for a Secret, and whatever ends the Job (its submitter, its TTL, its deadline, a person) takes the login
along. A Job that is suspended would do as well, but for its deadline, which does not count then.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from actorq.kube.api import KubeApi, Manifest
from actorq.replica.spec import MAP_GONE, TERMINATED

#: a finished Job whose submitter is gone stays so long, seconds
_TTL = 60
#: what its submitter puts the Job's deadline off to, seconds: longer than it bears an API server that is away
ALONE_SECONDS = 900.0
#: why a Job has ended whose pods found their map gone, or that was left alone, in Kubernetes's words
STOPPED = ("PodFailurePolicy", "DeadlineExceeded")


def indexed_job(name: str, metadata: Manifest, template: Manifest, *, completions: int) -> Manifest:
    """A Job of no pods yet that tries each index once; a pod that somebody takes away is replaced at no cost."""
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {**metadata, "name": name},
        "spec": {
            "completions": completions,
            "parallelism": 0,
            "completionMode": "Indexed",
            "backoffLimitPerIndex": 0,
            "activeDeadlineSeconds": int(ALONE_SECONDS),
            "ttlSecondsAfterFinished": _TTL,
            "podReplacementPolicy": "Failed",
            "podFailurePolicy": {
                "rules": [
                    {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]},
                    {"action": "FailJob", "onExitCodes": {"operator": "In", "values": [MAP_GONE]}},
                    {"action": "Ignore", "onExitCodes": {"operator": "In", "values": [TERMINATED]}},
                ]
            },
            "template": template,
        },
    }


def start(api: KubeApi, job: Manifest, secret: Manifest, *, parallelism: int) -> None:
    """Makes both and lets the pods start. Raises `KubernetesError`; then some of it may be there."""
    made = api.create("jobs", job)
    secret["metadata"]["ownerReferences"] = [owner_reference(made)]
    api.create("secrets", secret)
    api.patch("jobs", job["metadata"]["name"], {"spec": {"parallelism": parallelism}})


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


def is_stopped(job: Manifest) -> bool:
    """Whether a Job ends, or has ended, although its inputs gave no reason to."""
    conditions: list[Manifest] = (job.get("status") or {}).get("conditions") or []
    return any(c.get("type") in ("FailureTarget", "Failed") and c.get("reason") in STOPPED for c in conditions)
