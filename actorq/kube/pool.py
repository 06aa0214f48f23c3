"""Warm replicas on a cluster without a chart release: a Deployment, made by the first map that needs it.

    ┌ Job `actorq-<env>-keeper` ┐ owns   ┌ Deployment `actorq-<env>` ┐      ┌ pods: `actorq worker …` ┐
    │ ends when nobody has used │ ─────▶ │ replicas                  │ ───▶ │ one replica each        │
    │ the pool for ttl_seconds  │        └───────────────────────────┘      └─────────────────────────┘
    └───────────────────────────┘ owns   Secret with the server's address

The one idea: *nobody needs a token to end an idle pool*. The keeper is a small pod that only looks at Redis. When it
ends, Kubernetes itself removes the finished Job (`ttlSecondsAfterFinished: 0`) and all it owns. So the pool outlives
the script that made it, and nothing outlives the pool.

A Deployment that is there already is used: one of ours, whoever made it, or one of a chart release, which is left as
it is. What changes the pods (image, resources, template) is a new generation: the Deployment rolls over to it, and
replicas that are told to leave hand back what they have not begun.
"""

from __future__ import annotations

import json
import time
import warnings
from typing import Any

from actorq.broker import keys
from actorq.broker.client import Client
from actorq.environment import ActorEnvironment
from actorq.errors import PoolError
from actorq.kube import trouble
from actorq.kube.address import PodAddress
from actorq.kube.api import KubeApi, KubernetesError, Manifest
from actorq.kube.pods import (
    COMPONENT_LABEL,
    ENVIRONMENT_LABEL,
    GENERATION,
    HTTP_PORT,
    MANAGED_BY_LABEL,
    fingerprint,
    labels_of,
    object_name,
    pod_template,
)
from actorq.log import logger
from actorq.maps.pools import PoolStatus

#: a pod gets this much longer than a replica may drain, seconds
_GRACE_MARGIN = 15
#: seconds without a replica before pods are looked at, between two looks, and before a hopeless one ends the map: a
#: pull that failed once is tried again by the node
_LOOK_AFTER, _LOOK_EVERY, _GIVE_UP_AFTER = 3.0, 2.0, 15.0
#: how long a pool that is ending may take to be gone before a new one is made, seconds
_GONE_SECONDS = 120.0
#: seconds to keep trying a busy API server: for what a map needs, and for a look beside its heartbeat
_PATIENCE, _LOOK_PATIENCE = 30.0, 3.0
#: set on a Deployment that a person has scaled: a map does not scale it up again
SCALED_BY_HAND = "actorq.dev/scaled"


class KubernetesPool:
    """The replicas of one environment in one namespace. Any thread of one program may use it, one at a time.

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
        self._lonely_since: float | None = None
        self._looked = 0.0
        self._warned = ""

    # -- what a map needs ----------------------------------------------------------------------------------------------

    def ensure(self, inputs: int | None) -> None:
        """Makes sure that there are replicas, or soon will be: as many as `inputs` need, `replica_count` at most.

        Raises `DeclarationError` for an environment without an image and `KubernetesError` when the cluster refuses.
        """
        self._inputs, self._api.patience = inputs, _PATIENCE
        wanted = self.environment.replica_count if inputs is None else min(inputs, self.environment.replica_count)
        self._use()
        if not self._served_elsewhere():
            self._up(max(wanted, 1), exact=False)

    def check(self, live: int = 0) -> None:
        """Raises `PoolError` when no replica will ever come, and warns when one is long in coming."""
        now = time.monotonic()
        if live > 0:
            self._lonely_since = None
            return
        if self._lonely_since is None:
            self._lonely_since = now
        alone = now - self._lonely_since
        if alone < _LOOK_AFTER or now - self._looked < _LOOK_EVERY:
            return
        self._looked = now
        try:
            self._look(alone)
        except KubernetesError as error:
            if not error.passing:
                raise
            logger().warning("cluster_unreachable", error=str(error))

    def _look(self, alone: float) -> None:
        """What keeps the replicas away. Does not wait long: the map's own heartbeat waits behind it."""
        self._api.patience = _LOOK_PATIENCE
        if deployment_of(self._api, self.environment.name) is None:  # it was idle and has gone, or was deleted
            self.ensure(self._inputs)
            return
        found = self._trouble()
        if found is None:
            return
        if found.hopeless and alone >= _GIVE_UP_AFTER:
            raise PoolError(f"The replicas of {self.environment.name!r} cannot start. {found.text}")
        if found.text != self._warned:
            self._warned = found.text
            warnings.warn(f"No replica of {self.environment.name!r} yet. {found.text}", RuntimeWarning, stacklevel=2)

    # -- what a person asks for ----------------------------------------------------------------------------------------

    def up(self) -> None:
        """Starts `replica_count` replicas, or brings the pool to what the environment declares now."""
        self._use()
        self._up(self.environment.replica_count, exact=True)

    def scale(self, replicas: int) -> None:
        """Sets how many replicas there are; later maps leave it so. Raises `PoolError` when there is no pool."""
        scale(self._api, self.environment.name, replicas)

    def down(self) -> None:
        """Ends the pool: replicas finish the input that runs, and hand back the rest."""
        self._api.delete("deployments", self.name)
        self._api.delete("jobs", self._keeper_name)
        self._api.delete("secrets", self.name)

    def status(self) -> PoolStatus:
        deployment = deployment_of(self._api, self.environment.name)
        if deployment is None:
            return PoolStatus(wanted=0, ready=0)
        pods = self._pod_list()
        found = trouble.of_pods(pods) or trouble.of_controller((deployment.get("status") or {}).get("conditions"))
        return PoolStatus(
            wanted=int(deployment["spec"].get("replicas") or 0),
            ready=trouble.running(pods),
            trouble="" if found is None else found.text,
        )

    # -- parts ---------------------------------------------------------------------------------------------------------

    @property
    def _keeper_name(self) -> str:
        return object_name(self.environment.name, "keeper")

    def _use(self) -> None:
        """Tells the keeper that the pool is wanted; takes back a decision to end it that is not yet carried out."""
        link = self._client.borrow()
        try:
            link.command("SET", keys.used(self.environment.name), f"{time.time():.3f}", "EX", 86_400)
        finally:
            self._client.give_back(link)

    def _served_elsewhere(self) -> bool:
        """Whether somebody else runs these replicas: a chart release."""
        deployment = deployment_of(self._api, self.environment.name)
        return deployment is not None and deployment["metadata"]["labels"].get(MANAGED_BY_LABEL) != "actorq"

    def _up(self, wanted: int, *, exact: bool) -> None:
        template = self._template()
        generation = fingerprint(template)
        deployment = self._api.get("deployments", self.name)
        if deployment is not None and deployment["metadata"].get("deletionTimestamp"):
            self._wait_until_gone()
            deployment = None
        if deployment is None:
            self._create(template, generation, wanted)
            return
        metadata, spec = deployment["metadata"], deployment["spec"]
        annotations = metadata.get("annotations") or {}
        patch: Manifest = {}
        if annotations.get(GENERATION) != generation:
            patch = {"metadata": {"annotations": {GENERATION: generation}}, "spec": {"template": template}}
            logger().info("pool_new_generation", environment=self.environment.name, generation=generation)
        replicas = int(spec.get("replicas") or 0)
        if exact and (replicas != wanted or SCALED_BY_HAND in annotations):
            patch.setdefault("spec", {})["replicas"] = wanted
            patch.setdefault("metadata", {}).setdefault("annotations", {})[SCALED_BY_HAND] = None
        elif not exact and replicas < wanted and SCALED_BY_HAND not in annotations:
            patch.setdefault("spec", {})["replicas"] = wanted
        if patch:
            self._api.patch("deployments", self.name, patch)

    def _create(self, template: Manifest, generation: str, wanted: int) -> None:
        try:
            owners = self._create_keeper()
            secret = self._pods.secret_manifest(self.name, labels_of(self.environment.name, "replica"))
            if secret is not None:
                secret["metadata"]["ownerReferences"] = owners
                self._create_or_keep("secrets", secret)
            labels = labels_of(self.environment.name, "replica")
            self._create_or_keep(
                "deployments",
                {
                    "apiVersion": "apps/v1",
                    "kind": "Deployment",
                    "metadata": {
                        "name": self.name,
                        "labels": labels,
                        "annotations": {GENERATION: generation},
                        "ownerReferences": owners,
                    },
                    "spec": {
                        "replicas": wanted,
                        "selector": {"matchLabels": {ENVIRONMENT_LABEL: self.environment.name, **_OURS}},
                        "strategy": {"rollingUpdate": {"maxSurge": "25%", "maxUnavailable": "25%"}},
                        "template": template,
                    },
                },
            )
        except KubernetesError:
            if self._api.get("deployments", self.name) is None:
                self.down()  # half of a pool helps nobody
            raise
        logger().info("pool_created", environment=self.environment.name, replicas=wanted)

    def _create_keeper(self) -> list[Manifest]:
        """The Job that ends the pool when nobody uses it, as owner of the rest; none for a pool that lives for ever."""
        if self.environment.ttl_seconds is None:
            return []
        name = self.environment.name
        template = pod_template(
            self.environment,
            labels=labels_of(name, "keeper"),
            command=["actorq", "keep", name, "--ttl", str(self.environment.ttl_seconds)],
            env=self._pods.variables(self.name),
            grace_seconds=5,
            small=True,
        )
        template["spec"]["restartPolicy"] = "OnFailure"
        manifest = {
            "apiVersion": "batch/v1",
            "kind": "Job",
            "metadata": {"name": self._keeper_name, "labels": labels_of(name, "keeper")},
            "spec": {"ttlSecondsAfterFinished": 0, "backoffLimit": 1000, "template": template},
        }
        job = self._create_or_keep("jobs", manifest)
        reference = {"apiVersion": "batch/v1", "kind": "Job", "name": self._keeper_name, "uid": job["metadata"]["uid"]}
        return [reference]

    def _create_or_keep(self, kind: str, manifest: Manifest) -> Manifest:
        """Creates the object; one that another script made in this moment is as good, one that is ending is not."""
        name = manifest["metadata"]["name"]
        deadline = time.monotonic() + _GONE_SECONDS
        while True:
            try:
                return self._api.create(kind, manifest)
            except KubernetesError as error:
                if error.status != 409:
                    raise
            found = self._api.get(kind, name)
            if found is not None and not found["metadata"].get("deletionTimestamp") and not _finished(found):
                return found
            if time.monotonic() > deadline:
                raise PoolError(f"{kind} {name} has been ending for {_GONE_SECONDS:.0f} s: look what keeps it.")
            time.sleep(0.5)

    def _wait_until_gone(self) -> None:
        deadline = time.monotonic() + _GONE_SECONDS
        while self._api.get("deployments", self.name) is not None:
            if time.monotonic() > deadline:
                raise PoolError(
                    f"Deployment {self.name} has been ending for {_GONE_SECONDS:.0f} s: look what keeps it."
                )
            time.sleep(0.5)

    def _template(self) -> Manifest:
        environment = self.environment
        return pod_template(
            environment,
            labels=labels_of(environment.name, "replica"),
            command=["actorq", "worker", *self.modules, "-e", environment.name, "--http-port", str(HTTP_PORT)],
            env=[*self._pods.variables(self.name), *self._code()],
            grace_seconds=int(environment.drain_seconds) + _GRACE_MARGIN,
            probes=True,
        )

    def _code(self) -> list[Manifest]:
        """What a replica must be told that gets its code with the maps. Not the code: a pool serves any version."""
        if self.modules:
            return []
        declared = {name: getattr(self.environment, name) for name in _DECLARED}
        values = {"ACTORQ_BUNDLES": "1", "ACTORQ_DECLARED": json.dumps(declared)}
        return [{"name": name, "value": value} for name, value in values.items()]

    def _pod_list(self) -> list[Manifest]:
        return self._api.list("pods", labels={ENVIRONMENT_LABEL: self.environment.name, **_REPLICAS})

    def _trouble(self) -> trouble.Trouble | None:
        deployment = deployment_of(self._api, self.environment.name)
        pods = self._pod_list()
        if pods or deployment is None:
            return trouble.of_pods(pods)
        return trouble.of_controller((deployment.get("status") or {}).get("conditions"))


#: fields of an environment that its replicas must know before there is any code
_DECLARED = (
    "isolation",
    "lease_seconds",
    "drain_seconds",
    "start_method",
    "max_crashes",
    "max_tasks_per_child",
    "max_memory_per_child",
)
_REPLICAS = {COMPONENT_LABEL: "replica"}
_OURS = {**_REPLICAS, MANAGED_BY_LABEL: "actorq"}


def deployment_of(api: KubeApi, environment: str) -> Manifest | None:
    """The Deployment that serves an environment: of a chart release, or one of ours."""
    found = api.list("deployments", labels={ENVIRONMENT_LABEL: environment, **_REPLICAS})
    return found[0] if found else None


def scale(api: KubeApi, environment: str, replicas: int) -> str:
    """Scales the Deployment of an environment and returns its name.

    Raises `PoolError` when there is none, and for one of a chart release: Helm 4 applies what it owns, and refuses the
    next upgrade when somebody else has changed it.
    """
    deployment = deployment_of(api, environment)
    if deployment is None:
        raise PoolError(
            f"No Deployment serves environment {environment!r} in namespace {api.namespace!r}: "
            "run a map, or install the chart."
        )
    name, labels = str(deployment["metadata"]["name"]), deployment["metadata"]["labels"]
    if labels.get(MANAGED_BY_LABEL) != "actorq":
        release = labels.get("app.kubernetes.io/instance", "RELEASE")
        raise PoolError(
            f"Environment {environment!r} belongs to the chart release {release!r}, which would take the change back. "
            f"Scale it there: helm -n {api.namespace} upgrade {release} CHART --reuse-values "
            f"--set environments.{environment}.replicas={replicas}"
        )
    hand = {"annotations": {SCALED_BY_HAND: str(replicas)}}
    api.patch("deployments", name, {"spec": {"replicas": replicas}, "metadata": hand})
    return name


def _finished(found: Manifest) -> bool:
    """Whether a Job has run to its end; never true of anything else."""
    conditions: list[Any] = (found.get("status") or {}).get("conditions") or []
    return any(c.get("type") in ("Complete", "Failed") and c.get("status") == "True" for c in conditions)
