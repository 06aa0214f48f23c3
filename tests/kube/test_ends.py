"""What was made on a cluster ends, whatever is broken: its image, its server, the program that made it."""

from __future__ import annotations

import time
import warnings

import pytest

from actorq import PoolError
from actorq.kube import jobs
from actorq.kube.address import PodAddress
from actorq.kube.deadline import put_off
from actorq.kube.keeping import keeper_name
from actorq.runtime.program import runtime
from tests.conftest import eventually, pool_client
from tests.kube.apiserver import Fault, Manifest
from tests.kube.fake import FakeCluster
from tests.support.code import pods

WAITING = {"reason": "ImagePullBackOff", "message": "no such image"}
NO_IMAGE = {
    "phase": "Pending",
    "containerStatuses": [{"name": "actorq", "image": "i", "state": {"waiting": WAITING}}],
}


def is_keeper(pod: Manifest) -> bool:
    return "keeper" in pod["metadata"]["name"]


def keeper_of(cluster: FakeCluster) -> Manifest:
    return cluster.objects["jobs", keeper_name(pods.pool)]


@pytest.fixture
def short_lived(monkeypatch: pytest.MonkeyPatch) -> None:
    """A pool that nobody uses lives for nine seconds: on a busy machine a map takes some to begin."""
    monkeypatch.setattr(pods.pool, "ttl_seconds", 1)
    monkeypatch.setattr("actorq.kube.keeping._STARTING_SECONDS", 8.0)
    monkeypatch.setattr("actorq.kube.pool._PROLONG_EVERY", 0.2)


# pools


def test_a_pool_whose_image_cannot_be_pulled_ends_although_its_maker_was_killed(
    on_cluster: FakeCluster, short_lived: None
) -> None:
    on_cluster.broken = lambda pod: NO_IMAGE
    pods.pool.up()  # and that is the last that is heard of this program
    assert eventually(lambda: len(on_cluster.of_kind("pods")) == 4, timeout=30)
    assert eventually(lambda: not on_cluster.objects, timeout=30)


def test_it_ends_when_its_server_is_gone_as_well(on_cluster: FakeCluster, short_lived: None) -> None:
    on_cluster.broken = lambda pod: NO_IMAGE
    pods.pool.up()
    with pool_client() as client:
        client.config_set("port", "0")  # nobody gets in any more
    assert eventually(lambda: not on_cluster.objects, timeout=30)


def test_a_map_keeps_a_pool_whose_keeper_does_not_run_and_no_longer(on_cluster: FakeCluster, short_lived: None) -> None:
    on_cluster.broken = lambda pod: NO_IMAGE if is_keeper(pod) else None
    pods.pool.up()
    deployment = on_cluster.of_kind("deployments")[0]["metadata"]["uid"]
    began = time.monotonic()
    while time.monotonic() - began < 12:
        list(pods.warm.map(range(100)))
    assert [d["metadata"]["uid"] for d in on_cluster.of_kind("deployments")] == [deployment]
    assert eventually(lambda: not on_cluster.objects, timeout=30)


def test_a_long_map_puts_the_end_off(on_cluster: FakeCluster, short_lived: None) -> None:
    on_cluster.broken = lambda pod: NO_IMAGE if is_keeper(pod) else None
    handle = pods.warm.map(range(2400))  # of 10 ms, on three
    next(handle)
    assert eventually(lambda: keeper_of(on_cluster)["spec"]["activeDeadlineSeconds"] > 10, timeout=30)
    deployment = on_cluster.of_kind("deployments")[0]["metadata"]["uid"]
    assert len(list(handle)) == 2399
    assert [d["metadata"]["uid"] for d in on_cluster.of_kind("deployments")] == [deployment]


def test_a_keeper_that_runs_is_trusted_for_a_day(on_cluster: FakeCluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("actorq.kube.pool._PROLONG_EVERY", 0.2)
    pods.pool.up()
    assert keeper_of(on_cluster)["spec"]["activeDeadlineSeconds"] == 30 + 1800
    assert eventually(lambda: (keeper_of(on_cluster).get("status") or {}).get("ready"), timeout=30)
    list(pods.warm.map(range(3)))
    assert keeper_of(on_cluster)["spec"]["activeDeadlineSeconds"] == pytest.approx(30 + 86_400, abs=20)


def test_a_pool_that_is_to_live_for_ever_loses_the_deadline_it_had(
    on_cluster: FakeCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    pods.pool.up()
    monkeypatch.setattr(pods.pool, "ttl_seconds", None)
    pods.pool.up()
    assert "activeDeadlineSeconds" not in keeper_of(on_cluster)["spec"]


def test_a_deadline_is_put_off_and_never_drawn_near(on_cluster: FakeCluster) -> None:
    api = on_cluster.api()
    pods.pool.up()
    for seconds, expected in ((5000.0, 5000), (100.0, 5000), (5500.0, 5000), (9000.0, 9000)):
        put_off(api, keeper_of(on_cluster), seconds)  # 5,500 is not worth a request
        assert keeper_of(on_cluster)["spec"]["activeDeadlineSeconds"] == pytest.approx(expected, abs=20)


def test_a_cluster_with_another_clock_is_asked_for_the_time(on_cluster: FakeCluster) -> None:
    api = on_cluster.api()
    on_cluster.ahead = 1e6
    api.get("jobs", "any")
    assert api.now() == pytest.approx(time.time() + 1e6, abs=5)


def test_a_keeper_that_was_deleted_meanwhile_is_no_error(on_cluster: FakeCluster) -> None:
    pods.pool.up()
    keeper = keeper_of(on_cluster)
    with on_cluster.lock:
        on_cluster._delete("jobs", keeper["metadata"]["name"])
    put_off(on_cluster.api(), keeper, 1e6)


@pytest.mark.usefixtures("impatient")
def test_a_map_removes_the_pool_that_it_made_and_that_could_not_start(on_cluster: FakeCluster) -> None:
    on_cluster.broken = lambda pod: NO_IMAGE
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises(PoolError, match=r"no such image(?s:.)*has been removed again"):
            list(pods.warm.map(range(5)))
    assert eventually(lambda: not on_cluster.objects)


@pytest.mark.usefixtures("impatient")
def test_a_map_leaves_alone_what_another_program_has_made(on_cluster: FakeCluster) -> None:
    on_cluster.broken = lambda pod: NO_IMAGE
    pods.pool.up()
    runtime().pools._on_cluster.clear()  # another program
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises(PoolError) as raised:
            list(pods.warm.map(range(5)))
    assert "removed" not in str(raised.value)
    assert on_cluster.of_kind("deployments")


@pytest.mark.usefixtures("impatient")
def test_a_pool_that_has_served_once_is_left_to_its_keeper(on_cluster: FakeCluster) -> None:
    assert len(list(pods.warm.map(range(300)))) == 300
    on_cluster.broken = lambda pod: NO_IMAGE
    with on_cluster.lock:
        for name in [n for k, n in on_cluster.objects if k == "pods" and "keeper" not in n]:
            on_cluster._delete("pods", name)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises(PoolError) as raised:
            list(pods.warm.map(range(5)))
    assert "removed" not in str(raised.value)


# regular tasks


def template() -> Manifest:
    from actorq.kube.pods import pod_template

    return pod_template(
        pods.regular,
        labels={"a": "b"},
        command=["actorq", "run-input"],
        env=[],
        secrets=PodAddress(url="redis://h").secrets("orphan"),
        grace_seconds=1,
    )


def orphan(cluster: FakeCluster, monkeypatch: pytest.MonkeyPatch) -> tuple[Manifest, Manifest]:
    """The Job of a submitter that was killed, and its Secret."""
    monkeypatch.setattr(jobs, "ALONE_SECONDS", 1.0)
    secret = PodAddress(url="redis://h").secret_manifest("orphan", {})
    assert secret is not None
    return jobs.indexed_job("orphan", {}, template(), completions=3), secret


def test_a_job_whose_image_cannot_be_pulled_ends_although_its_submitter_was_killed(
    cluster: FakeCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jobs, "_TTL", 0)
    cluster.broken = lambda pod: NO_IMAGE
    job, secret = orphan(cluster, monkeypatch)
    jobs.start(cluster.api(), job, secret, parallelism=3)
    assert eventually(lambda: len(cluster.of_kind("pods")) == 3, timeout=30)
    assert eventually(lambda: not cluster.objects, timeout=30)


def test_a_job_that_was_never_let_go_ends_as_well(cluster: FakeCluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs, "_TTL", 0)
    job, secret = orphan(cluster, monkeypatch)
    cluster.faults.append(Fault(403, "killed here", method="PATCH"))
    with pytest.raises(PoolError):
        jobs.start(cluster.api(), job, secret, parallelism=3)
    assert not cluster.of_kind("pods")
    assert eventually(lambda: not cluster.objects, timeout=30)
    assert not cluster.started


def test_a_running_map_puts_the_deadline_of_its_job_off(
    on_cluster: FakeCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jobs, "ALONE_SECONDS", 3.0)
    handle = pods.naps.map([6.0])
    assert list(handle) == [6.0]
    assert handle.stats().recovered == 0


def test_a_job_that_ended_while_its_submitter_was_stalled_costs_no_try(
    on_cluster: FakeCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("actorq.kube.batch._SETTLED_SECONDS", 0.5)
    handle = pods.span.map(range(2))  # no crash is forgiven
    assert eventually(lambda: on_cluster.of_kind("pods"), timeout=30)
    with on_cluster.lock:
        (job,) = on_cluster.of_kind("jobs")
        on_cluster._end_job(job, "DeadlineExceeded", "Job was active longer than specified deadline")
    assert len(list(handle)) == 2
