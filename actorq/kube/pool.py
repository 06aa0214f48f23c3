"""Warm replicas on a cluster without a chart release: a Deployment, made by the first map that needs it.

    ┌ Job `actorq-<env>-keeper` ┐ owns   ┌ Deployment `actorq-<env>` ┐      ┌ pods: `actorq worker …` ┐
    │ ends when nobody has used │ ─────▶ │ replicas                  │ ───▶ │ one replica each        │
    │ the pool for ttl_seconds  │        └───────────────────────────┘      └─────────────────────────┘
    └───────────────────────────┘ owns   Secret with the server's address

The one idea: *nobody needs a token to end an idle pool*. When the Job ends, Kubernetes itself removes it
(`ttlSecondsAfterFinished: 0`) and all it owns. So the pool outlives the script that made it, and nothing outlives the
pool. What ends the Job is in `keeping.py`: a pod that looks at Redis, and a deadline that holds where that pod cannot
run or Redis is gone. The Job is never replaced while the pool lives, since the pool would go with it: how long its pod
waits is a key in Redis, which every map writes, and its deadline is put off by whoever uses the pool.

A Deployment that is there already is used: one of ours, whoever made it, or one of a chart release, which is left as
it is. What changes the pods (image, resources, template, address, keys) is a new generation: the Deployment rolls over
to it, and replicas that are told to leave hand back what they have not begun. One whose keeper has gone is as good as
gone, although Kubernetes takes its time. A pool that this program has made, and that never had a replica, goes when the
map fails for that.
"""

from __future__ import annotations

import contextlib
import json
import threading
import time

from actorq.base.log import logger
from actorq.broker.client import Client
from actorq.broker.records import use_pool
from actorq.declare.environment import ActorEnvironment
from actorq.declare.status import PoolStatus
from actorq.errors import PoolError
from actorq.kube import trouble
from actorq.kube.address import PodAddress
from actorq.kube.api import KubeApi, KubernetesError, Manifest
from actorq.kube.jobs import owner_reference
from actorq.kube.keeping import keeper_job, keeper_name, keepers, prolong, stays
from actorq.kube.lookout import Lookout, replica_pods
from actorq.kube.pods import (
    ENVIRONMENT_LABEL,
    GENERATION,
    HTTP_PORT,
    MANAGED_BY_LABEL,
    READS,
    fingerprint,
    labels_of,
    object_name,
    pod_template,
)
from actorq.kube.scaling import REPLICAS, SCALED_BY_HAND, deployment_of, scale

#: a pod gets this much longer than a replica may drain, seconds
_GRACE_MARGIN = 15
#: how long a pool that is ending may take to be gone before a new one is made, seconds
_GONE_SECONDS = 120.0
#: seconds to keep trying a busy API server: for what a map needs, and for a look beside its heartbeat
_PATIENCE, _LOOK_PATIENCE = 30.0, 3.0
#: how often a map sees to it that its pool is not ended meanwhile, seconds: far less than the shortest deadline
_PROLONG_EVERY = 60.0


class _StillEndingError(PoolError):
    """What is left of an earlier pool is in the way of the next one."""


class KubernetesPool:
    """The replicas of one environment in one namespace. Any thread of one program may use it.

    Args:
        environment: what they serve.
        modules: modules that declare its tasks, as a replica imports them; none where code comes with the maps.
        api: the cluster.
        client: the server, as this program reaches it.
        address: how pods reach it.
    """

    is_own = False
    #: a window of one replica until they are seen
    replicas = 1

    def __init__(
        self, environment: ActorEnvironment, modules: list[str], api: KubeApi, client: Client, address: PodAddress
    ) -> None:
        self.environment = environment
        self.modules = modules
        self._api = api
        self._client = client
        self._pods = address
        self._inputs: int | None = 1
        self.name = object_name(environment.name)
        self._lock = threading.Lock()
        self._lookout = Lookout(environment.name)
        self._prolonged = time.monotonic()
        #: uid of the Deployment that this program has made, until it has a replica
        self._untried = ""
        self._generation = ""

    # -- what a map needs ----------------------------------------------------------------------------------------------

    def ensure(self, inputs: int | None) -> None:
        """Makes sure that there are replicas, or soon will be: as many as `inputs` need, `replica_count` at most.

        Raises `DeclarationError` for an environment without an image and `KubernetesError` when the cluster refuses.
        """
        with self._lock:
            self._inputs, self._api.patience = inputs, _PATIENCE
            self._ensure(_GONE_SECONDS)

    def check(self, live: int = 0) -> None:
        """Raises `PoolError` when no replica will ever come, and warns when one is long in coming."""
        if not self._lock.acquire(blocking=False):
            return  # another map of this program is at it
        try:
            self._check(live)
        finally:
            self._lock.release()

    def _check(self, live: int) -> None:
        if live > 0:
            self._untried = ""
        alone = self._lookout.seconds_alone(live)
        due = time.monotonic() - self._prolonged >= _PROLONG_EVERY
        if alone is None and not due:
            return
        self._api.patience = _LOOK_PATIENCE  # the map's own heartbeat waits behind it
        try:
            if due:
                self._prolong()
            if alone is not None:
                self._look(alone)
        except KubernetesError as error:
            if not error.passing:
                raise
            logger().warning("cluster_unreachable", error=str(error))

    def _prolong(self) -> None:
        """The pool is in use: puts the end off that it would have without us."""
        self._prolonged = time.monotonic()
        keeper = self._keeper()
        if keeper is not None:
            prolong(self._api, keeper, self.environment.ttl_seconds)

    def _look(self, alone: float) -> None:
        """What keeps the replicas away."""
        deployment = deployment_of(self._api, self.environment.name)
        if deployment is None:  # it was idle and has gone, or was deleted
            with contextlib.suppress(_StillEndingError):  # the next look tries again
                self._ensure(0.0)
            return
        error = self._lookout.hopeless(self._api, deployment, alone)
        if error is None:
            return
        if deployment["metadata"]["uid"] != self._untried or self._generation != generation_of(deployment):
            raise error
        self.down()
        raise PoolError(f"{str(error).rstrip()}\nWhat was made for them has been removed again.")

    def _ensure(self, patience: float) -> None:
        most = self.environment.replica_count
        wanted = most if self._inputs is None else max(1, min(self._inputs, most))
        self._use()
        if not self._served_elsewhere():
            self._up(wanted, exact=False, patience=patience)

    # -- what a person asks for ----------------------------------------------------------------------------------------

    def up(self) -> None:
        """Starts `replica_count` replicas, or brings the pool to what the environment declares now."""
        with self._lock:
            self._api.patience = _PATIENCE
            self._use()
            self._up(self.environment.replica_count, exact=True, patience=_GONE_SECONDS)

    def scale(self, replicas: int) -> None:
        """Sets how many replicas there are; later maps leave it so. Raises `PoolError` when there is no pool."""
        scale(self._api, self.environment.name, replicas)

    def down(self) -> None:
        """Ends the pool: replicas finish the input that runs, and hand back the rest."""
        self._api.delete("deployments", self.name)
        self._api.delete("jobs", keeper_name(self.environment))
        self._api.delete("secrets", self.name)

    def status(self) -> PoolStatus:
        deployment = deployment_of(self._api, self.environment.name)
        if deployment is None:
            return PoolStatus(wanted=0, ready=0)
        pods = replica_pods(self._api, self.environment.name)
        found = trouble.look(self._api, pods) or trouble.of_controller(
            (deployment.get("status") or {}).get("conditions")
        )
        return PoolStatus(
            wanted=int(deployment["spec"].get("replicas") or 0),
            ready=trouble.running(pods),
            trouble="" if found is None else found.text,
        )

    # -- parts ---------------------------------------------------------------------------------------------------------

    def _use(self) -> None:
        """Tells the keeper that the pool is wanted, and for how long from now; takes back a decision to end it that is
        not yet carried out.
        """
        with self._client.lent() as link:
            use_pool(link, self.environment.name, self.environment.ttl_seconds)

    def _served_elsewhere(self) -> bool:
        """Whether somebody else runs these replicas: a chart release."""
        deployment = deployment_of(self._api, self.environment.name)
        return deployment is not None and deployment["metadata"]["labels"].get(MANAGED_BY_LABEL) != "actorq"

    def _up(self, wanted: int, *, exact: bool, patience: float) -> None:
        """Raises `_StillEndingError` when an earlier pool is in the way for longer than `patience` seconds."""
        deadline = time.monotonic() + patience
        template = self._template()
        self._generation = fingerprint(template)
        deployment = self._standing(deadline)
        if deployment is None:
            self._create(template, wanted, deadline)
        else:
            self._adapt(deployment, template, wanted, exact=exact, deadline=deadline)

    def _standing(self, deadline: float) -> Manifest | None:
        """The Deployment that is there and stays, its end put off; None where there is none."""
        while (deployment := self._api.get("deployments", self.name)) is not None:
            keeper = self._keeper()
            if stays(deployment, [] if keeper is None else [owner_reference(keeper)]):
                if keeper is not None:
                    prolong(self._api, keeper, self.environment.ttl_seconds)
                return deployment
            self._wait(f"Deployment {self.name}", deadline)
        return None

    def _adapt(self, deployment: Manifest, template: Manifest, wanted: int, *, exact: bool, deadline: float) -> None:
        """Brings the Deployment to what is wanted now."""
        metadata, spec = deployment["metadata"], deployment["spec"]
        annotations = metadata.get("annotations") or {}
        patch: Manifest = {}
        changed, unkept = generation_of(deployment) != self._generation, not keepers(deployment)
        if changed or (unkept and self.environment.ttl_seconds is not None):
            owners = self._owners(deadline)
            self._put_secret(owners, deadline)
            if unkept and owners:
                patch = {"metadata": {"ownerReferences": owners}}
        if changed:
            self._api.replace("deployments", self.name, "/spec/template", template)
            patch.setdefault("metadata", {})["annotations"] = {GENERATION: self._generation}
            logger().info("pool_new_generation", environment=self.environment.name, generation=self._generation)
        replicas = int(spec.get("replicas") or 0)
        if exact and (replicas != wanted or SCALED_BY_HAND in annotations):
            patch["spec"] = {"replicas": wanted}
            patch.setdefault("metadata", {}).setdefault("annotations", {})[SCALED_BY_HAND] = None
        elif not exact and replicas < wanted and SCALED_BY_HAND not in annotations:
            patch["spec"] = {"replicas": wanted}
        if patch:
            self._api.patch("deployments", self.name, patch)

    def _create(self, template: Manifest, wanted: int, deadline: float) -> None:
        try:
            owners = self._owners(deadline)
            self._put_secret(owners, deadline)
            labels = labels_of(self.environment.name, "replica")
            deployment = {
                "apiVersion": "apps/v1",
                "kind": "Deployment",
                "metadata": {
                    "name": self.name,
                    "labels": labels,
                    "annotations": {GENERATION: self._generation},
                    "ownerReferences": owners,
                },
                "spec": {
                    "replicas": wanted,
                    "selector": {"matchLabels": {ENVIRONMENT_LABEL: self.environment.name, **_OURS}},
                    "strategy": {"rollingUpdate": {"maxSurge": "25%", "maxUnavailable": "25%"}},
                    "template": template,
                },
            }
            self._untried = self._create_or_keep("deployments", deployment, deadline)["metadata"]["uid"]
        except KubernetesError:
            if self._api.get("deployments", self.name) is None:
                self.down()  # half of a pool helps nobody
            raise
        logger().info("pool_created", environment=self.environment.name, replicas=wanted)

    def _keeper(self) -> Manifest | None:
        """The Job that ends the pool when nobody uses it, if there is one and it has not ended."""
        found = self._api.get("jobs", keeper_name(self.environment))
        return found if found is not None and stays(found, []) else None

    def _owners(self, deadline: float) -> list[Manifest]:
        """Whom the pool belongs to: its keeper, made if it is not there; nobody, if the pool is to live for ever."""
        if self.environment.ttl_seconds is None:
            keeper = self._keeper()  # from when it was not; it has been told
            return [] if keeper is None else [owner_reference(keeper)]
        manifest = keeper_job(self.environment, self.environment.ttl_seconds, self._pods, self.name)
        return [owner_reference(self._create_or_keep("jobs", manifest, deadline))]

    def _put_secret(self, owners: list[Manifest], deadline: float) -> None:
        """Makes the Secret, or brings it to what pods are to be told now."""
        secret = self._pods.secret_manifest(self.name, labels_of(self.environment.name, "replica"))
        if secret is None:
            return
        secret["metadata"]["ownerReferences"] = owners
        found = self._create_or_keep("secrets", secret, deadline)
        if found.get("data") != secret["data"]:
            self._api.replace("secrets", self.name, "/data", secret["data"])
        if keepers(found) != keepers(secret):
            self._api.patch("secrets", self.name, {"metadata": {"ownerReferences": owners}})

    def _create_or_keep(self, kind: str, manifest: Manifest, deadline: float) -> Manifest:
        """Creates the object; one that another script made in this moment is as good, one that is ending is not."""
        name = manifest["metadata"]["name"]
        while True:
            try:
                return self._api.create(kind, manifest)
            except KubernetesError as error:
                if error.status != 409:
                    raise
            found = self._api.get(kind, name)
            if found is not None and stays(found, manifest["metadata"].get("ownerReferences") or []):
                return found
            self._wait(f"{kind} {name}", deadline)

    @staticmethod
    def _wait(what: str, deadline: float) -> None:
        if time.monotonic() >= deadline:
            raise _StillEndingError(f"{what} has been ending for {_GONE_SECONDS:.0f} s: look what keeps it.")
        time.sleep(0.5)

    def _template(self) -> Manifest:
        environment = self.environment
        template = pod_template(
            environment,
            labels=labels_of(environment.name, "replica"),
            command=["actorq", "worker", *self.modules, "-e", environment.name, "--http-port", str(HTTP_PORT)],
            env=self._code(),
            secrets=self._pods.secrets(self.name),
            grace_seconds=int(environment.drain_seconds) + _GRACE_MARGIN,
            probes=True,
        )
        secret = self._pods.secret_manifest(self.name, {})
        if secret is not None:  # other pods, when what they read at their start is another
            template["metadata"].setdefault("annotations", {})[READS] = fingerprint(secret["data"])
        return template

    def _code(self) -> list[Manifest]:
        """What a replica must be told that gets its code with the maps. Not the code: a pool serves any version."""
        if self.modules:
            return []
        declared = {name: getattr(self.environment, name) for name in _DECLARED}
        values = {"ACTORQ_BUNDLES": "1", "ACTORQ_DECLARED": json.dumps(declared)}
        return [{"name": name, "value": value} for name, value in values.items()]


#: fields of an environment that its replicas must know before there is any code
_DECLARED = (
    "isolation",
    "lease_seconds",
    "drain_seconds",
    "start_method",
    "max_crashes",
    "max_tasks_per_child",
    "max_memory_per_child",
    "max_seconds_per_child",
    "concurrency",
    "threads",
    "gpus",
)
_OURS = {**REPLICAS, MANAGED_BY_LABEL: "actorq"}


def generation_of(deployment: Manifest) -> str | None:
    generation: str | None = (deployment["metadata"].get("annotations") or {}).get(GENERATION)
    return generation
