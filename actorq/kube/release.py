"""Replicas of a chart release, for an environment that names no image: looked at, and never touched.

A map that waits for them is told why none comes, as it is told of a pool on demand. Only what a person may see is
needed for that; where even that is kept from this program, or there is no such release, the map says how to start a
worker.
"""

from __future__ import annotations

from collections.abc import Callable

from actorq.base.log import logger
from actorq.errors import DeclarationError
from actorq.kube.api import KubeApi, KubernetesError
from actorq.kube.lookout import Lookout
from actorq.kube.scaling import deployment_of
from actorq.maps.remote import RemotePool

#: seconds to keep trying a busy API server: the map's heartbeat waits behind it
_LOOK_PATIENCE = 3.0


class ReleasePool(RemotePool):
    """Replicas that a release runs, or that somebody has started elsewhere.

    Args:
        environment: its name.
        url: the server.
        connect: makes the cluster's client, when it is first needed.
    """

    def __init__(self, environment: str, url: str, connect: Callable[[], KubeApi]) -> None:
        super().__init__(environment, url)
        self._connect = connect
        self._api: KubeApi | None = None
        self._lookout = Lookout(environment)
        #: the cluster does not show us anything
        self._blind = False
        #: a release serves it
        self._released = False

    def check(self, live: int) -> None:
        """Raises `PoolError` when no replica of a release will ever come, and warns when one is long in coming."""
        alone = self._lookout.seconds_alone(live)
        if alone is not None and not self._blind:
            try:
                self._look(alone)
            except KubernetesError as error:
                self._blind = not error.passing
                logger().warning("cluster_unreachable", error=str(error))
            except DeclarationError as error:  # no cluster is configured
                self._blind = True
                logger().warning("cluster_unreachable", error=str(error))
        if not self._released:
            super().check(live)

    def _look(self, alone: float) -> None:
        if self._api is None:
            self._api = self._connect()
            self._api.patience = _LOOK_PATIENCE
        deployment = deployment_of(self._api, self._environment)
        self._released = deployment is not None
        if deployment is not None and (error := self._lookout.hopeless(self._api, deployment, alone)) is not None:
            raise error
