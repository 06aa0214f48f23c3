"""Why pods do not run, or have failed, in words: what happened, to which pod, what to do.

Some troubles pass by themselves (a node is being added, an image is large), others never do (an image that does not
exist, a container that ends at once). The caller waits with the first and gives up on the others. What a container
wrote last is part of the words, since its pod is gone when somebody looks.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from actorq.kube.api import OVER_QUOTA, KubeApi, Manifest
from actorq.kube.pods import CONTAINER
from actorq.oneshot.ending import OUT_OF_MEMORY, with_last_lines

#: reasons of a waiting container that time does not mend -> what to do; what crashes has said it itself
_HOPELESS = {
    "ErrImagePull": "; check the image's name, and that the cluster may pull it (imagePullSecrets).",
    "ImagePullBackOff": "; check the image's name, and that the cluster may pull it (imagePullSecrets).",
    "ErrImageNeverPull": "; the node has no such image, and its pull policy is Never: load it, or change the policy.",
    "InvalidImageName": "; correct the image's name.",
    "CreateContainerConfigError": "; create the Secret or ConfigMap it refers to.",
    "CreateContainerError": "; check command, mounts and security context.",
    "RunContainerError": "; check command, mounts and security context: the image must have `actorq` on its PATH.",
    "CrashLoopBackOff": "",
}
_QUOTA = "quota"
#: names of one trouble that a pod shows in turn
_SAME = {"ErrImagePull": "ImagePullBackOff"}
#: what a mount says that waits for something nobody has made
_MISSING = ("not found", "non-existent")


@dataclass(frozen=True, kw_only=True)
class Trouble:
    """Something that keeps pods from running."""

    text: str
    #: time does not mend it
    hopeless: bool
    #: one word for it: the same as long as it is the same trouble, while the text may name another pod at every look
    kind: str

    @property
    def is_quota(self) -> bool:
        return self.kind == _QUOTA


def look(api: KubeApi, pods: Sequence[Manifest]) -> Trouble | None:
    """The worst trouble of `pods`, None when they run or are on their way."""
    found = of_pods(pods)
    creating = [pod["metadata"]["name"] for pod in pods if _is_creating(pod)]
    if found is not None or not creating:
        return found
    events = api.list("events", fields=f"involvedObject.name={creating[0]},reason=FailedMount")
    return of_mounts(creating[0], events)


def of_pods(pods: Iterable[Manifest]) -> Trouble | None:
    """The same, as far as the pods themselves tell it."""
    found = [trouble for pod in pods if (trouble := _of_pod(pod)) is not None]
    return next((t for t in found if t.hopeless), found[0] if found else None)


def _of_pod(pod: Manifest) -> Trouble | None:
    name, status = pod["metadata"]["name"], pod.get("status") or {}
    containers = [*(status.get("initContainerStatuses") or []), *(status.get("containerStatuses") or [])]
    for container in containers:
        waiting = (container.get("state") or {}).get("waiting") or {}
        reason = waiting.get("reason", "")
        if reason in _HOPELESS:
            said = waiting.get("message") or reason
            if reason == "CrashLoopBackOff" and (how := ended(container.get("lastState") or {})):
                said = f"it {how}"
            return Trouble(
                text=f"Pod {name} cannot run its container {container.get('name')!r} "
                f"({container.get('image', 'no image')}): {reason}: {said}{_HOPELESS[reason]}",
                hopeless=True,
                kind=_SAME.get(reason, reason),
            )
    for condition in status.get("conditions") or []:
        if condition.get("type") == "PodScheduled" and condition.get("status") == "False":
            return Trouble(
                text=f"Pod {name} waits for a node: {condition.get('message') or condition.get('reason')}. "
                "Ask for less, add a node, or wait for the autoscaler.",
                hopeless=False,
                kind="Unschedulable",
            )
    return None


def _is_creating(pod: Manifest) -> bool:
    containers = (pod.get("status") or {}).get("containerStatuses") or []
    return any(((c.get("state") or {}).get("waiting") or {}).get("reason") == "ContainerCreating" for c in containers)


def of_mounts(pod: str, events: Sequence[Manifest]) -> Trouble | None:
    """What a pod waits for whose containers are being created: a Secret that is missing, a volume that is elsewhere."""
    if not events:
        return None
    said = str(events[-1].get("message"))
    missing = any(word in said for word in _MISSING)
    advice = "create what it refers to" if missing else "it is tried again"
    return Trouble(text=f"Pod {pod} waits for a volume: {advice}. {said}", hopeless=missing, kind="FailedMount")


def ended(state: Manifest) -> str:
    """How a container ended, "" when it did not."""
    done = state.get("terminated") or {}
    if not done:
        return ""
    number = done.get("signal") or (done["exitCode"] - 128 if done.get("exitCode", 0) > 128 else 0)
    how = f"was killed by signal {number}" if number else f"ended with exit status {done.get('exitCode')}"
    if done.get("reason") == "OOMKilled":
        how = OUT_OF_MEMORY
    return with_last_lines(how, str(done.get("message") or ""))


def disruption(pod: Manifest) -> Manifest | None:
    """The condition that says that the cluster took the pod away: its Job replaces it."""
    return next(
        (c for c in _conditions(pod) if c.get("type") == "DisruptionTarget" and c.get("status") == "True"), None
    )


def exit_status(pod: Manifest) -> int | None:
    """How the container of a failed pod ended, None where the cluster does not say."""
    done = _end_of_ours(pod)
    return None if done is None else int(done["exitCode"])


def is_out_of_memory(pod: Manifest) -> bool:
    """Whether the kernel has ended the container of a failed pod."""
    return (_end_of_ours(pod) or {}).get("reason") == "OOMKilled"


def _end_of_ours(pod: Manifest) -> Manifest | None:
    for container in (pod.get("status") or {}).get("containerStatuses") or []:
        done: Manifest | None = (container.get("state") or {}).get("terminated")
        if container.get("name") == CONTAINER and done:
            return done
    return None


def why_failed(pod: Manifest) -> str:
    """Why a pod that should have run an input did not finish it."""
    status = pod.get("status") or {}
    # our own container before any other: a sidecar ends well, and because of it
    containers = sorted(status.get("containerStatuses") or [], key=lambda each: each.get("name") != CONTAINER)
    for container in containers:
        if text := ended(container.get("state") or {}):
            return text
    if status.get("reason") in ("NodeLost", "Evicted", "Shutdown"):
        return f"was given up by its node ({status['reason']}): {status.get('message', '')}".strip()
    return f"failed: {status.get('message') or status.get('reason') or 'its pod does not say why'}"


def of_controller(conditions: Sequence[Manifest] | None, events: Iterable[Manifest] = ()) -> Trouble | None:
    """Why a Deployment or a Job creates no pods: a quota, a policy, a missing account."""
    said = ""
    for condition in conditions or []:
        if condition.get("type") == "ReplicaFailure" and condition.get("status") == "True":
            said = str(condition.get("message"))
    for event in events:
        if event.get("reason") == "FailedCreate":
            said = str(event.get("message"))
    if not said:
        return None
    if OVER_QUOTA in said:
        return Trouble(text=f"The namespace's quota keeps pods from being created: {said}", hopeless=True, kind=_QUOTA)
    return Trouble(text=f"The cluster refuses to create the pods: {said}", hopeless=True, kind="FailedCreate")


def running(pods: Iterable[Manifest]) -> int:
    """How many pods are ready."""
    return sum(any(c.get("type") == "Ready" and c.get("status") == "True" for c in _conditions(pod)) for pod in pods)


def _conditions(pod: Manifest) -> list[Any]:
    return (pod.get("status") or {}).get("conditions") or []
