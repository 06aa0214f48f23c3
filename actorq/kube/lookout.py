"""Looks at the cluster while no replica serves an environment: says why, and gives up on what time does not mend."""

from __future__ import annotations

import time

from actorq.base.warned import warn
from actorq.errors import PoolError
from actorq.kube import trouble
from actorq.kube.api import KubeApi, Manifest
from actorq.kube.pods import ENVIRONMENT_LABEL
from actorq.kube.scaling import REPLICAS, how_to_scale

#: seconds without a replica before pods are looked at, between two looks, and before a hopeless one ends the map: a
#: pull that failed once is tried again by the node
_LOOK_AFTER, _LOOK_EVERY, _GIVE_UP_AFTER = 3.0, 2.0, 15.0


class Lookout:
    """For one environment, and one thread at a time.

    Args:
        environment: its name.
    """

    def __init__(self, environment: str) -> None:
        self._environment = environment
        self._alone_since: float | None = None
        self._looked = 0.0
        self._warned: set[str] = set()

    def seconds_alone(self, live: int) -> float | None:
        """How long there has been no replica; None where there is no need to look. `live`: those that are seen."""
        now = time.monotonic()
        if live > 0:
            self._alone_since = None
            return None
        if self._alone_since is None:
            self._alone_since = now
        alone = now - self._alone_since
        if alone < _LOOK_AFTER or now - self._looked < _LOOK_EVERY:
            return None
        self._looked = now
        return alone

    def hopeless(self, api: KubeApi, deployment: Manifest, alone: float) -> PoolError | None:
        """Why no replica of this Deployment will ever come, once that is certain; warns of what may pass."""
        found = self._trouble(api, deployment)
        if found is None:
            return None
        if found.hopeless and alone >= _GIVE_UP_AFTER:
            return PoolError(f"The replicas of {self._environment!r} cannot start. {found.text}")
        if found.kind not in self._warned:
            self._warned.add(found.kind)
            warn(f"No replica of {self._environment!r} yet. {found.text}")
        return None

    def _trouble(self, api: KubeApi, deployment: Manifest) -> trouble.Trouble | None:
        if deployment["spec"].get("replicas") == 0:
            how = how_to_scale(api.namespace, self._environment, deployment, 1)
            text = f"It is scaled to 0, and the map waits. {how}"
            return trouble.Trouble(text=text, hopeless=False, kind="parked")
        pods = replica_pods(api, self._environment)
        if pods:
            return trouble.look(api, pods)
        return trouble.of_controller((deployment.get("status") or {}).get("conditions"))


def replica_pods(api: KubeApi, environment: str) -> list[Manifest]:
    return api.list("pods", labels={ENVIRONMENT_LABEL: environment, **REPLICAS})
