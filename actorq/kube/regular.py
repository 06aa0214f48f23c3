"""Regular tasks on a cluster: a fresh pod for every input.

    offer ── inputs ──▶ aq:pod:<map>:<job>:<index> ──BLMOVE──▶ pod ── frame ──▶ aq:out:<map> ──▶ wait
      └────── Indexed Job, a pod an index ──────────────▶ (dead?) ── failedIndexes ──────────────▶ beat

Every call of `offer` is one Indexed Job. A map of known length is one Job, up to what Kubernetes takes; a stream of
inputs is a Job for each batch that has room. The ledger alone decides what runs again: a Job tries each index once
(`backoffLimitPerIndex: 0`), except that a pod the cluster takes away (drain, preemption, eviction) is replaced by the
Job itself and costs nothing. Results travel as those of replicas do, so order, errors and codec are the same.
"""

from __future__ import annotations

import contextlib
import time
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from actorq.broker import keys, scripts
from actorq.broker.client import Client
from actorq.broker.wire import Argument, ServerFullError
from actorq.environment import TaskEnvironment
from actorq.errors import ActorqError, DeclarationError, PoolError
from actorq.frames import join
from actorq.kube import trouble
from actorq.kube.access import MapLogin
from actorq.kube.address import PodAddress
from actorq.kube.api import KubeApi, KubernetesError, Manifest
from actorq.kube.pods import CONTAINER, MAP_LABEL, labels_of, object_name, pod_template
from actorq.lease import NONE_RAN, Counters, GivenUp, Lease, Lost, Report
from actorq.log import logger
from actorq.maps.options import MapOptions
from actorq.maps.redis_transport import RedisTransport
from actorq.replica.spec import MAP_GONE

#: indexes of one Job, as Kubernetes limits them
MAX_INDEXES = 100_000
#: pods of a stream of unknown length, where nothing bounds them
STREAM_WINDOW = 100
#: seconds one request is tried again, less than a map lives without its heartbeat; and how long in all the server may
#: be away before the map fails
_API_PATIENCE, _API_AWAY_SECONDS = 3.0, 300.0
#: commands written to the server at once
_PIPELINED = 256
#: how often Jobs are looked at, seconds, and how long nothing may start before pods are
_LOOK_EVERY, _LOOK_AFTER = 1.0, 5.0
#: how long a trouble that time does not mend is watched all the same, seconds
_GIVE_UP_AFTER = 15.0
#: a finished Job whose submitter is gone stays so long, seconds
_JOB_TTL = 60
#: an input that nobody fetched is gone after this, seconds
_INPUT_TTL = 86_400
#: seconds a pod may take to end when its map was cancelled
_GRACE_SECONDS = 5


def in_pods(options: MapOptions, inputs: int | None) -> MapOptions:
    """The options of a map whose inputs run in pods: all of them are offered at once where their number is known, and
    Kubernetes bounds how many run; a stream is bounded here.
    """
    if inputs is None:
        return replace(options, window=options.concurrency or STREAM_WINDOW, concurrency=None)
    return replace(options, window=max(1, min(inputs, MAX_INDEXES)), in_batches=True, concurrency=None)


@dataclass(kw_only=True)
class _Job:
    name: str
    number: int
    leases: list[Lease]
    #: ids of leases whose pod has failed and was reported
    reported: set[str] = field(default_factory=set)
    #: it was seen to be over
    finished_since: float | None = None


class _NoPool:
    """There are no replicas to look at: pods come with their inputs."""

    replicas = 1
    is_own = False

    def check(self, live: int = 0) -> None:
        """Jobs are looked at by the transport."""


class PodTransport(RedisTransport):
    """Leases of one input each, in pods."""

    def __init__(
        self,
        environment: TaskEnvironment,
        modules: Sequence[str],
        client: Client,
        map_id: str,
        owner: str,
        options: MapOptions,
        *,
        api: KubeApi,
        address: PodAddress,
        concurrency: int | None,
    ) -> None:
        super().__init__(client, map_id, owner, options, lease_seconds=1.0, pool=_NoPool())
        self._environment = environment
        self._modules = list(modules)
        self._api = api
        self._concurrency = concurrency
        self._address = replace(address, secret=None)  # the login is the map's own
        self._login = MapLogin(map_id, owner, options.head.code, address.url)
        self._map_name = object_name("map", map_id)
        self._jobs: dict[str, _Job] = {}
        self._made = 0
        self._looked = time.monotonic()
        self._progressed = time.monotonic()
        self._warned = ""
        self._template: Manifest | None = None
        self._away_since: float | None = None
        api.patience = _API_PATIENCE

    # -- Transport -----------------------------------------------------------------------------------------------------

    def offer(self, leases: Sequence[Lease], *, alone: bool) -> int:
        batch = list(leases[:MAX_INDEXES])
        if self._template is None:
            self._begin()
        job = _Job(
            name=object_name(self._environment.name, self._map_id[:12], str(self._made)),
            number=self._made,
            leases=batch,
        )
        self._made += 1
        try:
            self._write_inputs(job)
            self._create(job)
        except KubernetesError as error:
            self._bear(error)
            return 0
        except ServerFullError as error:
            self._bear_full(error, alone=alone, pause=_LOOK_EVERY)
            return 0
        self._full_since = self._away_since = None
        self._jobs[job.name] = job
        return len(batch)

    def beat(self, outstanding: Sequence[Lease], counters: Counters) -> list[Report]:
        self._submit.call(scripts.CHECK, self._map_keys(), self._check_args(counters))
        self._code.bring(self._submit)
        with contextlib.suppress(ActorqError):
            self._login.renew(self._submit)
        now = time.monotonic()
        if now - self._looked < _LOOK_EVERY or not outstanding:
            return []
        self._looked = now
        reports: list[Report] = []
        try:
            for report in self._look({lease.id for lease in outstanding}):
                reports.append(report)  # noqa: PERF402 - what was told before an error must not be lost with it
        except KubernetesError as error:
            self._bear(error)
            return reports
        self._away_since = None
        return reports

    def _bear(self, error: KubernetesError) -> None:
        """An API server that is away for a while ends no map: pods run without it. Raises what waiting cannot mend."""
        self._away_since = self._away_since or time.monotonic()
        if not error.passing or time.monotonic() - self._away_since > _API_AWAY_SECONDS:
            raise error
        logger().warning("cluster_unreachable", error=str(error))
        time.sleep(_LOOK_EVERY)

    def hurry(self) -> None:
        super().hurry()
        self._api.patience = 1.0

    def record(self, given_up: Sequence[GivenUp]) -> None:
        """RQ's registry is for what a replica can run again."""

    def finish(self, outstanding: Sequence[Lease]) -> None:
        try:
            for job in self._jobs.values():
                with contextlib.suppress(KubernetesError):
                    self._api.delete("jobs", job.name)
            with contextlib.suppress(KubernetesError):
                self._api.delete("secrets", self._map_name)
            for job in self._jobs.values():
                self._forget_inputs(job)
            with contextlib.suppress(ActorqError):
                self._login.remove(self._submit)
        finally:
            super().finish([])
            self._api.close()

    # -- parts ---------------------------------------------------------------------------------------------------------

    def _begin(self) -> None:
        mine = keys.map_(self._map_id)
        self._submit.command("HSETNX", mine, "owner", self._owner)
        if self._submit.command("HGET", mine, "owner") != self._owner.encode():
            raise DeclarationError(f"map_id {self._map_id!r} is in use by another map: choose another one.")
        self._submit.call(scripts.CHECK, self._map_keys(), self._check_args(Counters()))
        self._login.create(self._submit)
        variables = [
            *self._address.variables(self._map_name),
            {"name": "ACTORQ_MAP", "value": self._map_id},
            {"name": "ACTORQ_ENVIRONMENT", "value": self._environment.name},
            {"name": "ACTORQ_MODULES", "value": " ".join(self._modules)},
        ]
        self._template = pod_template(
            self._environment,
            labels={**labels_of(self._environment.name, "task"), MAP_LABEL: self._map_id},
            command=["actorq", "run-input"],
            env=variables,
            grace_seconds=_GRACE_SECONDS,
        )
        self._template["spec"]["restartPolicy"] = "Never"

    def _write_inputs(self, job: _Job) -> None:
        prefix = keys.pod_inputs(self._map_id)
        for begin in range(0, len(job.leases), _PIPELINED):
            commands: list[list[Argument]] = []
            for index, lease in enumerate(job.leases[begin : begin + _PIPELINED], begin):
                key = f"{prefix}:{job.number}:{index}"
                message = lease.id.encode() + b"\0" + join(self._heads[lease.last_try], lease.inputs)
                # DEL first: sent again after a lost reply, it must not be there twice
                commands += [["DEL", key], ["RPUSH", key, message], ["EXPIRE", key, _INPUT_TTL]]
            self._submit.pipeline(commands)

    def _forget_inputs(self, job: _Job) -> None:
        prefix = keys.pod_inputs(self._map_id)
        names = [f"{prefix}:{job.number}:{index}" for index in range(len(job.leases))]
        for begin in range(0, len(names), _PIPELINED):
            self._submit.command("UNLINK", *names[begin : begin + _PIPELINED])

    def _create(self, job: _Job) -> None:
        count = len(job.leases)
        assert self._template is not None
        number = {"name": "ACTORQ_JOB", "value": str(job.number)}
        spec = self._template["spec"]
        containers = [{**c, "env": [*c["env"], number]} if c["name"] == CONTAINER else c for c in spec["containers"]]
        labels = self._template["metadata"]["labels"]
        manifest: Manifest = {
            "apiVersion": "batch/v1",
            "kind": "Job",
            "metadata": {"name": job.name, "labels": labels},
            "spec": {
                "completions": count,
                "parallelism": min(count, self._concurrency or count),
                "completionMode": "Indexed",
                "backoffLimitPerIndex": 0,
                "ttlSecondsAfterFinished": _JOB_TTL,
                "podReplacementPolicy": "Failed",
                "podFailurePolicy": {
                    "rules": [
                        {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]},
                        {"action": "FailJob", "onExitCodes": {"operator": "In", "values": [MAP_GONE]}},
                    ]
                },
                "template": {**self._template, "spec": {**spec, "containers": containers}},
            },
        }
        secret = replace(self._address, url=self._login.url).secret_manifest(self._map_name, labels)
        assert secret is not None  # there is no other that holds this login
        try:
            self._api.create("secrets", secret)
        except KubernetesError as error:
            if error.status != 409:
                raise
        made = self._api.create("jobs", manifest)
        # It goes with the last of its Jobs: a Secret may have many owners, and Jobs end by their TTL when we are gone.
        owner = {"apiVersion": "batch/v1", "kind": "Job", "name": job.name, "uid": made["metadata"]["uid"]}
        current = self._api.get("secrets", self._map_name) or secret
        owners = [*(current["metadata"].get("ownerReferences") or []), owner]
        self._api.patch("secrets", self._map_name, {"metadata": {"ownerReferences": owners}})

    # -- looking at Jobs -----------------------------------------------------------------------------------------------

    def _look(self, outstanding: set[str]) -> Iterator[Report]:
        """What the Jobs say that the pods could not."""
        started = False
        for job in list(self._jobs.values()):
            waited = {lease.id for lease in job.leases} & outstanding
            if not waited:  # all its results are here
                self._api.delete("jobs", job.name)
                self._forget_inputs(job)
                del self._jobs[job.name]
                continue
            found = self._api.get("jobs", job.name)
            if found is None:
                yield from self._given_up(job, waited, "its Job was deleted")
                continue
            status: dict[str, Any] = found.get("status") or {}
            ready = int(status.get("ready") or 0)
            started = started or ready > 0 or bool(status.get("completedIndexes"))
            yield from self._failed(job, expand(str(status.get("failedIndexes") or "")), waited)
            yield from self._over(job, status, waited)
        if started:
            self._progressed = time.monotonic()
        elif time.monotonic() - self._progressed > _LOOK_AFTER:
            self._explain(time.monotonic() - self._progressed)

    def _failed(self, job: _Job, indexes: list[int], waited: set[str]) -> Iterator[Report]:
        new = [i for i in indexes if job.leases[i].id in waited - job.reported]
        if not new:
            return
        reasons = self._reasons(job, new)
        for index in new:
            lease = job.leases[index]
            job.reported.add(lease.id)
            reason, pod = reasons.get(index, ("its pod failed and is gone", job.name))
            yield Lost(lease=lease.id, reason=reason, position=0, replica=pod)

    def _reasons(self, job: _Job, indexes: Sequence[int]) -> dict[int, tuple[str, str]]:
        """Why each index failed, and in which pod."""
        reasons = {}
        for pod in self._api.list(
            "pods", labels={"batch.kubernetes.io/job-name": job.name}, fields="status.phase=Failed"
        ):
            index = int(pod["metadata"].get("annotations", {}).get("batch.kubernetes.io/job-completion-index", -1))
            if index in indexes:
                reasons[index] = (trouble.why_failed(pod), pod["metadata"]["name"])
        return reasons

    def _over(self, job: _Job, status: Manifest, waited: set[str]) -> Iterator[Report]:
        """A Job that has ended while results are missing: they have been lost on their way, or it was stopped."""
        for condition in status.get("conditions") or []:
            if condition.get("type") in ("Complete", "Failed") and condition.get("status") == "True":
                now = time.monotonic()
                job.finished_since = job.finished_since or now
                if now - job.finished_since > 3 * _LOOK_EVERY:  # what its pods sent has come by now
                    why = condition.get("message") or "its Job ended without its result"
                    yield from self._given_up(job, waited - job.reported, str(why))

    def _given_up(self, job: _Job, lost: set[str], reason: str) -> Iterator[Report]:
        position = NONE_RAN if job.finished_since is None else 0
        for lease in job.leases:
            if lease.id in lost:
                job.reported.add(lease.id)
                yield Lost(lease=lease.id, reason=reason, position=position, replica=job.name)

    def _explain(self, stuck: float) -> None:
        """Nothing has started for a while: says why, or gives up."""
        pods = self._api.list("pods", labels={MAP_LABEL: self._map_id})
        found = trouble.of_pods(pods)
        if found is None and not pods:
            for job in self._jobs.values():
                events = self._api.list("events", fields=f"involvedObject.name={job.name}")
                found = found or trouble.of_controller(None, events)
        if found is None:
            return
        if found.hopeless and stuck > _GIVE_UP_AFTER:
            raise PoolError(f"The pods of {self._environment.name!r} cannot run. {found.text}")
        if found.text != self._warned:
            self._warned = found.text
            warnings.warn(f"No pod of {self._environment.name!r} runs yet. {found.text}", RuntimeWarning, stacklevel=2)


def expand(indexes: str) -> list[int]:
    """Kubernetes's "1,3-5" as [1, 3, 4, 5]."""
    found: list[int] = []
    for part in filter(None, indexes.split(",")):
        first, _, last = part.partition("-")
        found.extend(range(int(first), int(last or first) + 1))
    return found
