"""A batch of inputs that run in the pods of one Job, and what the cluster says became of them.

A pod tells its result itself. What it cannot tell, since it was killed, never ran, or was taken away with all its Job,
is read here from the Job and from the pods that failed.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, field

from actorq.kube import jobs, trouble
from actorq.kube.api import KubeApi, Manifest
from actorq.replica.spec import MAP_GONE, TERMINATED
from actorq.wire.lease import NONE_RAN, Lease, Lost, Report

#: a Job that has ended is believed after so long: later, what its pods sent has come, seconds
_SETTLED_SECONDS = 3.0
#: exit status of what was ended by SIGKILL
_KILLED = 137


@dataclass(kw_only=True)
class Batch:
    """The leases of one Job, of one input each."""

    name: str
    number: int
    leases: list[Lease]
    #: pods at the same time
    parallelism: int
    #: ids of the leases that nothing was reported of
    open: set[str] = field(init=False)
    #: it was seen to be over
    finished_since: float | None = None

    def __post_init__(self) -> None:
        self.open = {lease.id for lease in self.leases}

    def failed(self, api: KubeApi, found: Manifest) -> Iterator[Report]:
        """The inputs whose pod has failed. `found`: the Job as it is now."""
        indexes = jobs.indexes(found.get("status") or {}, "failedIndexes")
        new = [index for index in indexes if self.leases[index].id in self.open]
        if not new:
            return
        pods, stopped = self._failed_pods(api), jobs.is_stopped(found)
        for index in new:
            pod = pods.get(index)
            if pod is None:
                yield self._lost(self.leases[index], "lost its pod, which failed and is gone", self.name, free=stopped)
                continue
            yield self._lost(
                self.leases[index], trouble.why_failed(pod), pod["metadata"]["name"], free=_is_free(pod, stopped)
            )

    def over(self, found: Manifest) -> Iterator[Report]:
        """The inputs without a result of a Job that has ended: it was lost on its way, or the Job was stopped."""
        ending = jobs.ending(found)
        if ending is None:
            return
        now = time.monotonic()
        self.finished_since = self.finished_since or now
        if now - self.finished_since <= _SETTLED_SECONDS:
            return
        stopped, completed = jobs.is_stopped(found), set(jobs.indexes(found["status"], "completedIndexes"))
        why = str(ending.get("message") or "ended without its result")
        for index, lease in enumerate(self.leases):
            if lease.id in self.open:
                yield self._lost(lease, why, self.name, free=stopped and index not in completed)

    def deleted(self) -> Iterator[Report]:
        """All its inputs without a result: its Job is gone."""
        for lease in [lease for lease in self.leases if lease.id in self.open]:
            yield self._lost(lease, "lost its Job, which was deleted", self.name, free=self.finished_since is None)

    def _failed_pods(self, api: KubeApi) -> dict[int, Manifest]:
        """The pods that have cost an index its try, by index. One that the cluster took away has cost none."""
        labels = {"batch.kubernetes.io/job-name": self.name}
        return {
            int(pod["metadata"].get("annotations", {}).get("batch.kubernetes.io/job-completion-index", -1)): pod
            for pod in api.list("pods", labels=labels, fields="status.phase=Failed")
            if trouble.disruption(pod) is None
        }

    def _lost(self, lease: Lease, reason: str, pod: str, *, free: bool) -> Lost:
        """`free`: the try is not the input's fault."""
        self.open.discard(lease.id)
        return Lost(lease=lease.id, reason=reason, position=NONE_RAN if free else 0, replica=pod)


def _is_free(pod: Manifest, stopped: bool) -> bool:
    """Whether a pod has failed for no fault of its input: its map was gone, or somebody took it away."""
    status = trouble.exit_status(pod)
    if status in (MAP_GONE, TERMINATED):
        return True
    deleted = bool(pod["metadata"].get("deletionTimestamp"))
    if status is None:
        return deleted or stopped
    # told to stop before it could hear it, and killed after its grace period
    return deleted and status == _KILLED and not trouble.is_out_of_memory(pod)
