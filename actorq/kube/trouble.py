"""Why pods do not run, in words: what happened, to which pod, what to do.

Some troubles pass by themselves (a node is being added, an image is large), others never do (an image that does not
exist, a container that ends at once). The caller waits with the first and gives up on the others.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from actorq.kube.api import Manifest
from actorq.kube.pods import CONTAINER

#: reasons of a waiting container that time does not mend -> what to do
_HOPELESS = {
    "ErrImagePull": "check the image's name, and that the cluster may pull it (imagePullSecrets)",
    "ImagePullBackOff": "check the image's name, and that the cluster may pull it (imagePullSecrets)",
    "ErrImageNeverPull": "the node has no such image, and its pull policy is Never: load it, or change the policy",
    "InvalidImageName": "correct the image's name",
    "CreateContainerConfigError": "create the Secret or ConfigMap it refers to",
    "CreateContainerError": "check command, mounts and security context",
    "RunContainerError": "check command, mounts and security context: the image must have `actorq` on its PATH",
    "CrashLoopBackOff": "read what it said with `kubectl logs {pod} --previous`",
}


@dataclass(frozen=True, kw_only=True)
class Trouble:
    """Something that keeps pods from running."""

    text: str
    #: time does not mend it
    hopeless: bool


def of_pods(pods: Iterable[Manifest]) -> Trouble | None:
    """The worst trouble of `pods`, None when they run or are on their way."""
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
            if reason == "CrashLoopBackOff":
                said = ended(container.get("lastState") or {}) or said
            advice = _HOPELESS[reason].format(pod=name)
            return Trouble(
                text=f"Pod {name} cannot run its container {container.get('name')!r} "
                f"({container.get('image', 'no image')}): {reason}: {said}; {advice}.",
                hopeless=True,
            )
    for condition in status.get("conditions") or []:
        if condition.get("type") == "PodScheduled" and condition.get("status") == "False":
            return Trouble(
                text=f"Pod {name} waits for a node: {condition.get('message') or condition.get('reason')}. "
                "Ask for less, add a node, or wait for the autoscaler.",
                hopeless=False,
            )
    return None


def ended(state: Manifest) -> str:
    """How a container ended, "" when it did not."""
    done = state.get("terminated") or {}
    if not done:
        return ""
    if done.get("reason") == "OOMKilled":
        return "it needed more memory than its limit (OOMKilled): raise limits={'memory': ...}"
    number = done.get("signal") or (done["exitCode"] - 128 if done.get("exitCode", 0) > 128 else 0)
    how = f"killed by signal {number}" if number else f"exit status {done.get('exitCode')}"
    message = str(done.get("message") or "").strip()
    return f"it ended with {how}" + (f": {message[-500:]}" if message else "")


def disruption(pod: Manifest) -> Manifest | None:
    """The condition that says that the cluster took the pod away: its Job replaces it."""
    return next(
        (c for c in _conditions(pod) if c.get("type") == "DisruptionTarget" and c.get("status") == "True"), None
    )


def exit_status(pod: Manifest) -> int | None:
    """How the container of a failed pod ended, None where the cluster does not say."""
    for container in (pod.get("status") or {}).get("containerStatuses") or []:
        done = (container.get("state") or {}).get("terminated")
        if container.get("name") == CONTAINER and done:
            return int(done["exitCode"])
    return None


def why_failed(pod: Manifest) -> str:
    """Why a pod that should have run an input did not finish it."""
    status = pod.get("status") or {}
    for container in status.get("containerStatuses") or []:
        if text := ended(container.get("state") or {}):
            return text
    if status.get("reason") in ("NodeLost", "Evicted", "Shutdown"):
        return f"its node gave it up ({status['reason']}): {status.get('message', '')}".strip()
    return str(status.get("message") or status.get("reason") or "it failed without saying why")


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
    if "exceeded quota" in said:
        return Trouble(text=f"The namespace's quota keeps pods from being created: {said}", hopeless=True)
    return Trouble(text=f"The cluster refuses to create the pods: {said}", hopeless=True)


def running(pods: Iterable[Manifest]) -> int:
    """How many pods are ready."""
    return sum(any(c.get("type") == "Ready" and c.get("status") == "True" for c in _conditions(pod)) for pod in pods)


def _conditions(pod: Manifest) -> list[Any]:
    return (pod.get("status") or {}).get("conditions") or []
