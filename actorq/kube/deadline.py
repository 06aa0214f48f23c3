"""What ends by itself: a Job's deadline, which its users put off.

When a Job's `activeDeadlineSeconds` are over, Kubernetes's own Job controller ends it, its TTL controller removes it
(`ttlSecondsAfterFinished`), and the garbage collector removes what it owns. None of them needs an image of ours, a pod
that was ever scheduled, a token, or a Redis server. So everything of ours on a cluster belongs to a Job, and whoever
uses it puts its deadline off, as a lease is renewed: what nobody renews is gone, whatever is broken.

What was weighed, and fails in one of the broken cases:

    a pod that looks and then ends    needs its image; it stays the quick way where that can be pulled
    an annotation, or a Lease object  nothing in plain Kubernetes acts on one that has expired
    a CronJob                         runs an image, which needs a token to delete anything
    a pod's own deadline              counts from when it has a node: not for one that waits for its node
    a relay of short pods             renews without a token, but a registry that is away ends a pool in use
"""

from __future__ import annotations

import math
from datetime import datetime

from actorq.kube.api import KubeApi, KubernetesError, Manifest

#: put off when this part of the time is over: rarely, and early enough for a cluster that is away meanwhile
_PART = 0.2


def put_off(api: KubeApi, job: Manifest, seconds: float | None) -> None:
    """Makes sure that the Job lives for `seconds` from now, None for without end; never for less than it does already.

    Args:
        api: the cluster.
        job: as just read from it.
        seconds: from now.
    """
    deadline: int | None = job["spec"].get("activeDeadlineSeconds")
    if seconds is None:
        if deadline is not None:
            _set(api, job, None)
        return
    age = max(0.0, api.now() - _started(job, api.now()))
    if deadline is None or deadline < age + seconds * (1 - _PART):
        _set(api, job, math.ceil(age + seconds))


def _set(api: KubeApi, job: Manifest, deadline: int | None) -> None:
    try:
        api.patch("jobs", job["metadata"]["name"], {"spec": {"activeDeadlineSeconds": deadline}})
    except KubernetesError as error:
        if error.status != 404:  # somebody has deleted it: who looks at it sees that
            raise


def _started(job: Manifest, now: float) -> float:
    """From when its deadline counts, Unix seconds: from when the Job controller has first seen it."""
    stamp = (job.get("status") or {}).get("startTime")
    return now if stamp is None else datetime.fromisoformat(stamp).timestamp()
