"""Replicas of a chart release, of an environment that names no image: why none comes is told."""

from __future__ import annotations

import warnings
from collections.abc import Iterator

import pytest

from actorq import PoolError
from actorq.kube.pods import ENVIRONMENT_LABEL
from actorq.maps.remote import RemotePool
from actorq.runtime.program import runtime
from tests.conftest import eventually
from tests.kube.apiserver import Fault, Manifest
from tests.kube.fake import FakeCluster
from tests.support.code import pods

LABELS = {
    ENVIRONMENT_LABEL: "no-image",
    "app.kubernetes.io/component": "replica",
    "app.kubernetes.io/managed-by": "Helm",
    "app.kubernetes.io/instance": "rel",
}


def release(cluster: FakeCluster, replicas: int) -> None:
    template = {"metadata": {"labels": LABELS}, "spec": {"containers": [{"name": "replica"}]}}
    spec = {"replicas": replicas, "template": template}
    cluster.api().create("deployments", {"metadata": {"name": "rel-no-image", "labels": LABELS}, "spec": spec})


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """What a map says, and does not wait long before it does."""
    monkeypatch.setattr("actorq.kube.lookout._LOOK_AFTER", 0.2)
    monkeypatch.setattr("actorq.kube.lookout._LOOK_EVERY", 0.2)
    monkeypatch.setattr("actorq.kube.lookout._GIVE_UP_AFTER", 0.5)
    monkeypatch.setattr("actorq.maps.remote._LONELY_SECONDS", 2)
    texts: list[str] = []
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        monkeypatch.setattr(warnings, "showwarning", lambda message, *_: texts.append(str(message)))
        yield texts


def test_a_release_in_a_crash_loop_ends_the_map_with_what_its_pod_said_last(
    on_cluster: FakeCluster, told: list[str]
) -> None:
    last = {"terminated": {"exitCode": 1, "message": "The tasks cannot be imported:\n\nNo module named 'tasks'\n"}}
    state: Manifest = {"waiting": {"reason": "CrashLoopBackOff"}}
    status = {"name": "replica", "image": "i:1", "state": state, "lastState": last}
    on_cluster.broken = lambda pod: {"phase": "Running", "containerStatuses": [status]}
    release(on_cluster, 1)
    with pytest.raises(PoolError, match=r"'no-image' cannot start. Pod rel-no-image-.*CrashLoopBackOff") as raised:
        list(pods.served.map(range(3)))
    assert str(raised.value).endswith("No module named 'tasks'")
    assert on_cluster.of_kind("deployments")  # it is not ours to remove
    assert not any("actorq worker" in text for text in told)


def test_a_release_that_is_scaled_to_zero_names_the_command_that_the_notes_name(
    on_cluster: FakeCluster, told: list[str]
) -> None:
    release(on_cluster, 0)
    handle = pods.served.map(range(3))
    assert eventually(lambda: told, timeout=30)
    assert "scaled to 0" in told[0]
    command = "helm -n test upgrade rel CHART --reset-then-reuse-values --set environments.no-image.replicas=1"
    assert command in told[0]
    handle.close()


def test_where_there_is_no_release_a_worker_is_asked_for(on_cluster: FakeCluster, told: list[str]) -> None:
    handle = pods.served.map(range(3))
    assert eventually(lambda: told, timeout=30)
    assert "Start one with: actorq worker" in told[0]
    assert "kubectl get pods -l actorq.dev/environment=no-image" in told[0]
    handle.close()


def test_a_cluster_that_shows_nothing_to_this_program_is_asked_once(on_cluster: FakeCluster, told: list[str]) -> None:
    said = 'deployments.apps is forbidden: User "ann" cannot list resource "deployments" in API group "apps"'
    on_cluster.faults.extend([Fault(403, said)] * 100)
    handle = pods.served.map(range(3))
    assert eventually(lambda: told, timeout=30)
    assert "Start one with: actorq worker" in told[0]
    assert len(on_cluster.requests) == 1
    handle.close()


def test_a_replica_has_no_token_to_ask_with(on_cluster: FakeCluster, monkeypatch: pytest.MonkeyPatch) -> None:
    from actorq.base.settings import settings

    monkeypatch.setenv("ACTORQ_REPLICA_OF", "another")
    settings.cache_clear()
    _, pool = runtime().pools.connect(pods.no_image)
    assert type(pool) is RemotePool
