"""Regular tasks on a cluster: a fresh pod for every input.

    offer ── inputs ──▶ aq:pod:<map>:<job>:<index> ──BLMOVE──▶ pod ── frame ──▶ aq:out:<map> ──▶ wait
      └────── Indexed Job, a pod an index ──────────────▶ (dead?) ── failedIndexes ──────────────▶ beat

Every call of `offer` is one Indexed Job. A map of known length is one Job, up to what Kubernetes takes; a stream of
inputs is a Job for each batch that has room. The ledger alone decides what runs again: a Job tries each index once
(`backoffLimitPerIndex: 0`), except that a pod that somebody takes away (drain, preemption, eviction, `kubectl delete`)
is replaced by the Job itself and costs nothing. Results travel as those of replicas do, so order, errors and codec are
the same. A Job whose submitter has gone ends by its own deadline (`deadline.py`), whatever became of its image and of
Redis; while the map lives, each look at the Job puts that off.
"""

from __future__ import annotations

import contextlib
import hashlib
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace

from actorq.base.log import logger
from actorq.base.warned import warn
from actorq.broker import pod_inputs
from actorq.broker.client import Client
from actorq.broker.link import Link
from actorq.broker.refusals import ServerFullError
from actorq.declare.environment import TaskEnvironment
from actorq.declare.map_options import MapOptions
from actorq.errors import ActorqError, PoolError
from actorq.kube import jobs, trouble
from actorq.kube.access import MapLogin
from actorq.kube.address import PodAddress
from actorq.kube.api import OVER_QUOTA, KubeApi, KubernetesError, Manifest
from actorq.kube.batch import Batch
from actorq.kube.deadline import put_off
from actorq.kube.pods import (
    COMPONENT_LABEL,
    ENVIRONMENT_LABEL,
    MAP_ID,
    MAP_LABEL,
    labels_of,
    object_name,
    pod_template,
)
from actorq.maps.presence import Presence
from actorq.maps.share import Share
from actorq.wire.lease import Counters, GivenUp, Lease, Report
from actorq.wire.seal import map_keys

#: indexes of one Job, as Kubernetes limits them
MAX_INDEXES = 100_000
#: pods of a stream of unknown length, where nothing bounds them
STREAM_WINDOW = 100
#: seconds to keep trying a busy API server: for a look, which the heartbeat waits behind, or at the map's end; for a
#: new Job, which may pass slow webhooks; and how long in all it may be away before the map fails
_LOOK_PATIENCE, _MAKE_PATIENCE, _API_AWAY_SECONDS = 3.0, 10.0, 300.0
#: seconds in all for the login of a map that is to end
_LAST_PATIENCE = 1.0
#: how often Jobs are looked at, seconds, and how long nothing may start before pods are
_LOOK_EVERY, _LOOK_AFTER = 1.0, 5.0
#: how long a trouble that time does not mend is watched all the same, seconds
_GIVE_UP_AFTER = 15.0
#: seconds a pod may take to end when its map was cancelled
_GRACE_SECONDS = 5
#: label of the pods
_COMPONENT = "task"


def in_pods(options: MapOptions, inputs: int | None) -> MapOptions:
    """The options of a map whose inputs run in pods: all of them are offered at once where their number is known, and
    Kubernetes bounds how many run; a stream is bounded here.
    """
    if inputs is None:
        return replace(options, window=options.concurrency or STREAM_WINDOW, concurrency=None)
    return replace(options, window=max(1, min(inputs, MAX_INDEXES)), in_batches=True, concurrency=None)


class PodTransport:
    """Leases of one input each, in pods."""

    prompt = False  # it asks the cluster

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
        acl_url: str | None,
        concurrency: int | None,
    ) -> None:
        self._map = Presence(client, map_id, owner, options)
        self._map.beside = {"pods": 0, "held": ""}  # how many run, and what holds up the others
        self._link = self._map.link
        self._map_id = map_id
        self.replicas = 1  # pods come with their inputs
        self._environment = environment
        self._modules = list(modules)
        self._api = api
        self._concurrency = concurrency
        # the login is the map's own, and so are the keys: what a pod runs can read both
        own_keys = "\n".join(map_keys(environment.name, f"{map_id}-{owner}")) or None
        self._address = replace(address, secret=None, signing_key=None, map_keys=own_keys)
        makers = None if acl_url is None else Link(acl_url, patience=client.patience)
        self._login = MapLogin(map_id, owner, options.head.code, address.url, makers)
        #: tells the map from every other in names and labels, which take no `_`, no capitals and no 64 characters
        self._digest = hashlib.sha256(f"{map_id}-{owner}".encode()).hexdigest()[:12]
        self._jobs: dict[str, Batch] = {}
        self._made = 0
        self._begun = False
        self._looked = self._kept_at = time.monotonic()
        self._progressed = time.monotonic()
        self._warned: set[str] = set()
        self._away_since: float | None = None

    # -- Transport -----------------------------------------------------------------------------------------------------

    def offer(self, leases: Sequence[Lease], *, beside: int, share: Share) -> int:
        alone = not beside
        self._api.patience = _MAKE_PATIENCE
        if not self._begun:
            self._begin()
        batch = list(leases[: self._room(len(leases), alone=alone)])
        if not batch:
            self._wait_for_room()
            return 0
        job = Batch(
            name=object_name(self._environment.name, self._digest, str(self._made)),
            number=self._made,
            leases=batch,
            parallelism=min(len(batch), self._concurrency or len(batch)),
        )
        self._made += 1
        self._jobs[job.name] = job  # before it is there: whatever happens, it will be deleted
        try:
            self._write_inputs(job)
            self._start(job)
        except KubernetesError as error:
            self._abandon(job)
            self._bear(error)
            return 0
        except ServerFullError as error:
            self._abandon(job)
            self._map.bear_full(error, alone=alone, pause=_LOOK_EVERY)
            return 0
        self._map.has_room()
        self._away_since = None
        return len(batch)

    def names(self) -> Sequence[str]:
        return ()

    def recall(self, leases: Sequence[Lease]) -> list[Lease]:
        return []

    def wake(self) -> None:
        self._map.waker.wake()

    def wait(self, timeout: float, *, expecting: bool) -> list[Report]:
        reports = self._map.stream.wait(timeout, self._map.waker, expecting=expecting)
        for report in reports:
            for job in self._jobs.values():
                job.open.discard(report.lease)
        return reports

    def beat(self, outstanding: Sequence[Lease], counters: Counters, share: Share) -> list[Report]:
        self._api.patience = _LOOK_PATIENCE
        self._login.renew(self._link)
        known = self._map.check(counters, share, []).known
        self._keep_inputs()
        if not known:  # the server has lost all of it, or this thread was stalled for long
            for job in self._jobs.values():
                self._write_inputs(job)
        now = time.monotonic()
        if now - self._looked < _LOOK_EVERY or not self._jobs:  # a Job goes after its last input, too
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
        """An API server that is away for a while ends no map: pods run without it. Neither does a quota that other pods
        of ours use up. Raises what waiting cannot mend.
        """
        if error.over_quota and self._others_run():
            self._warn(OVER_QUOTA, f"A part of the map of {self._environment.name!r} waits. {error}")
        else:
            self._away_since = self._away_since or time.monotonic()
            if not error.passing or time.monotonic() - self._away_since > _API_AWAY_SECONDS:
                raise error
            logger().warning("cluster_unreachable", error=str(error))
        time.sleep(_LOOK_EVERY)

    def _others_run(self) -> bool:
        """Whether this map, or another of the environment, has pods that will end and make room."""
        labels = {ENVIRONMENT_LABEL: self._environment.name, COMPONENT_LABEL: _COMPONENT}
        phases = [(pod.get("status") or {}).get("phase") for pod in self._api.list("pods", labels=labels)]
        return "Pending" in phases or "Running" in phases

    def _warn(self, kind: str, text: str) -> None:
        """Once of a kind: pods and figures in the text change with every look."""
        if kind not in self._warned:
            self._warned.add(kind)
            warn(text)

    def hurry(self) -> None:
        self._map.hurry()
        self._login.hurry(_LAST_PATIENCE)
        self._api.patience = _LOOK_PATIENCE

    def record(self, given_up: Sequence[GivenUp]) -> None:
        """RQ's registry is for what a replica can run again."""

    def finish(self, outstanding: Sequence[Lease]) -> None:
        try:
            refused = self._delete_all()
            for job in self._jobs.values():
                self._forget_inputs(job)
            with contextlib.suppress(ActorqError):
                self._login.remove(self._link)
        finally:
            self._map.finish([])
            self._login.close()
            self._api.close()
        if refused is not None:
            warn(
                f"Jobs of map {self._map_id!r} stay: {refused} Their pods end within minutes of their inputs; to end "
                f"them now: kubectl -n {self._api.namespace} delete jobs -l {MAP_LABEL}={self._digest}"
            )

    # -- parts ---------------------------------------------------------------------------------------------------------

    def _begin(self) -> None:
        if not self._map.claim():
            raise self._map.taken()
        self._map.check(Counters(), Share(), [])
        self._login.create(self._link)
        self._begun = True

    def _room(self, count: int, *, alone: bool) -> int:
        """How many of `count` leases a Job may have now. The first Job of a map bounds its pods itself; what is tried
        again is a Job beside it.
        """
        used = sum(min(job.parallelism, len(job.open)) for job in self._jobs.values())
        if self._concurrency is None or alone or used == 0:
            return min(count, MAX_INDEXES)
        return max(0, min(count, self._concurrency - used))

    def _wait_for_room(self) -> None:
        """Until a report may have come, which makes room."""
        self._map.stream.has_answer(_LOOK_EVERY, self._map.waker)

    def _write_inputs(self, job: Batch) -> None:
        waiting = ((i, le.id, self._map.sealed(le)) for i, le in enumerate(job.leases) if le.id in job.open)
        pod_inputs.write(self._link, self._map_id, job.number, waiting)

    def _keep_inputs(self) -> None:
        """Inputs of a map that takes days must not expire before their pods come."""
        now = time.monotonic()
        if now - self._kept_at < pod_inputs.INPUT_TTL / 4:
            return
        self._kept_at = now
        for job in self._jobs.values():
            waiting = (index for index, lease in enumerate(job.leases) if lease.id in job.open)
            pod_inputs.keep(self._link, self._map_id, job.number, waiting)

    def _forget_inputs(self, job: Batch) -> None:
        pod_inputs.forget(self._link, self._map_id, job.number, len(job.leases))

    def _start(self, job: Batch) -> None:
        template = self._template(job)
        labels = template["metadata"]["labels"]
        metadata = {"labels": labels, "annotations": {MAP_ID: self._map_id}}
        manifest = jobs.indexed_job(job.name, metadata, template, completions=len(job.leases))
        secret = replace(self._address, url=self._login.url).secret_manifest(job.name, labels)
        assert secret is not None  # there is no other that holds this login
        jobs.start(self._api, manifest, secret, parallelism=job.parallelism)

    def _template(self, job: Batch) -> Manifest:
        variables = {
            "ACTORQ_MAP": self._map_id,
            "ACTORQ_JOB": str(job.number),
            "ACTORQ_ENVIRONMENT": self._environment.name,
            "ACTORQ_MODULES": " ".join(self._modules),
        }
        template = pod_template(
            self._environment,
            labels={**labels_of(self._environment.name, _COMPONENT), MAP_LABEL: self._digest},
            command=["actorq", "run-input"],
            env=[{"name": name, "value": value} for name, value in variables.items()],
            secrets=self._address.secrets(job.name),
            grace_seconds=_GRACE_SECONDS,
        )
        template["spec"]["restartPolicy"] = "Never"
        return template

    def _abandon(self, job: Batch) -> None:
        """A Job of which only some may be there: its leases are offered again in another."""
        job.open.clear()
        self._forget_inputs(job)
        with contextlib.suppress(KubernetesError):  # the next look tries again
            self._delete(job)

    def _delete(self, job: Batch) -> None:
        self._api.delete("jobs", job.name)
        del self._jobs[job.name]

    def _delete_all(self) -> KubernetesError | None:
        """At the end of the map: what keeps its Jobs from going, if anything does."""
        for job in self._jobs.values():
            try:
                self._api.delete("jobs", job.name)
            except KubernetesError as error:
                return error
        return None

    # -- looking at Jobs -----------------------------------------------------------------------------------------------

    def _look(self, outstanding: set[str]) -> Iterator[Report]:
        """What the Jobs say that the pods could not."""
        for job in list(self._jobs.values()):
            job.open &= outstanding
            if not job.open:  # all its results are here
                self._forget_inputs(job)
                self._delete(job)
        if not self._jobs:
            return
        running, started = 0, False
        there = {each["metadata"]["name"]: each for each in self._api.list("jobs", labels={MAP_LABEL: self._digest})}
        for job in self._jobs.values():
            found = there.get(job.name)
            if found is None:
                yield from job.deleted()
                continue
            status: Manifest = found.get("status") or {}
            running += int(status.get("ready") or 0)
            started = started or bool(status.get("ready") or status.get("completedIndexes"))
            yield from job.failed(self._api, found)
            yield from job.over(found)
            if jobs.ending(found) is None:
                put_off(self._api, found, jobs.ALONE_SECONDS)
        self._map.beside["pods"] = running
        if started:
            self._map.beside["held"] = ""
            self._progressed = time.monotonic()
        elif time.monotonic() - self._progressed > _LOOK_AFTER:
            self._explain(time.monotonic() - self._progressed)

    def _explain(self, stuck: float) -> None:
        """Nothing has started for a while: says why, or gives up."""
        pods = self._api.list("pods", labels={MAP_LABEL: self._digest})
        found = trouble.look(self._api, pods)
        if found is None and not pods:
            for job in self._jobs.values():
                events = self._api.list("events", fields=f"involvedObject.name={job.name}")
                found = found or trouble.of_controller(None, events)
        if found is None:
            return
        self._map.beside["held"] = found.text
        waits = found.is_quota and self._others_run()
        if found.hopeless and not waits and stuck > _GIVE_UP_AFTER:
            raise PoolError(f"The pods of {self._environment.name!r} cannot run. {found.text}")
        self._warn(found.kind, f"No pod of {self._environment.name!r} runs yet. {found.text}")
