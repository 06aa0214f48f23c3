"""Regular tasks in pods: the same map, the same order, the same errors."""

from __future__ import annotations

import threading
import warnings
from typing import Any

import pytest

from actorq import DeclarationError, PoolError, ReplicaLostError, TaskTimeoutError
from tests import pods
from tests.conftest import eventually, pool_client
from tests.kube.apiserver import Manifest
from tests.kube.fake import FakeCluster


def jobs(cluster: FakeCluster) -> list[Manifest]:
    return cluster.of_kind("jobs")


def left_on_server() -> list[str]:
    with pool_client() as client:
        users = [str(user) for user in client.acl_users()]
        return [key.decode() for key in client.keys("aq:pod:*")] + [user for user in users if "actorq" in user]


def test_every_input_has_a_pod_and_outputs_are_in_order(on_cluster: FakeCluster) -> None:
    outputs = list(pods.pid.map(range(4)))
    assert [x for x, _ in outputs] == [0, 1, 2, 3]
    assert len({pid for _, pid in outputs}) == 4
    assert on_cluster.started == 4
    assert eventually(lambda: not on_cluster.objects)
    assert not left_on_server()


def test_a_map_of_known_length_is_one_indexed_job(on_cluster: FakeCluster) -> None:
    handle = pods.naps.map([0.3] * 3)
    assert eventually(lambda: on_cluster.of_kind("pods"), timeout=10)  # let go
    (job,) = jobs(on_cluster)
    assert (job["spec"]["completions"], job["spec"]["parallelism"]) == (3, 3)
    assert list(handle) == [0.3] * 3


def test_concurrency_bounds_the_pods(on_cluster: FakeCluster) -> None:
    spans = sorted(pods.span.map(range(5)))
    assert len(jobs(on_cluster)) <= 1
    for at, (begin, _) in enumerate(spans):
        assert sum(b <= begin < e for b, e in spans[: at + 1]) <= 2


def test_a_stream_of_unknown_length_runs_in_a_window(on_cluster: FakeCluster) -> None:
    assert len(list(pods.span.map(x for x in range(4)))) == 4
    assert on_cluster.started == 4


def test_single_calls_run_in_pods(on_cluster: FakeCluster) -> None:
    assert pods.pid.remote(7)[0] == 7


def test_an_exception_is_its_own_type(on_cluster: FakeCluster) -> None:
    with pytest.raises(KeyError) as caught:
        list(pods.fails.map([5]))
    assert caught.value.args == (5,)
    assert eventually(lambda: not on_cluster.objects)


def test_a_crash_costs_that_input_alone_and_is_tried_as_often_as_declared(on_cluster: FakeCluster) -> None:
    outputs: list[Any] = list(pods.crashes.map([0, 1, 2], return_exceptions=True))
    assert outputs[0] == 0
    assert outputs[2] == 2
    assert isinstance(outputs[1], ReplicaLostError)
    assert "SIGSEGV" in str(outputs[1])
    assert on_cluster.started == 4  # max_crashes=1: once more


def test_a_timeout_stops_the_body(on_cluster: FakeCluster) -> None:
    outputs: list[Any] = list(pods.hangs.map([0, 1], return_exceptions=True))
    assert outputs[0] == 0
    assert isinstance(outputs[1], TaskTimeoutError)


def test_large_values_travel_whole(on_cluster: FakeCluster) -> None:
    (output,) = pods.large.map([300_000])
    assert output == b"x" * 300_000


def test_the_task_does_not_see_the_login(on_cluster: FakeCluster) -> None:
    assert list(pods.login.map([0])) == [None]


def test_the_pods_login_fits_their_map_only(on_cluster: FakeCluster) -> None:
    import redis

    handle = pods.naps.map([1.5], map_id="mine")
    assert eventually(lambda: on_cluster.of_kind("secrets"), timeout=10)
    (secret,) = on_cluster.of_kind("secrets")
    with redis.Redis.from_url(on_cluster.secret(secret["metadata"]["name"])["url"]) as pod:
        assert pod.exists("aq:map:mine") == 1
        for forbidden in (lambda: pod.get("aq:map:other"), lambda: pod.keys("*"), lambda: pod.lpush("rq:queue:x", "1")):
            with pytest.raises(redis.exceptions.NoPermissionError):
                forbidden()
    assert list(handle) == [1.5]


def test_an_eviction_costs_no_try(on_cluster: FakeCluster) -> None:
    handle = pods.naps.map([1.0])
    assert eventually(lambda: on_cluster.of_kind("pods"), timeout=10)
    on_cluster.evict(on_cluster.of_kind("pods")[0]["metadata"]["name"])
    assert list(handle) == [1.0]
    assert handle.stats().recovered == 0


def test_a_pod_out_of_memory_says_so(on_cluster: FakeCluster) -> None:
    handle = pods.naps.map([30.0], return_exceptions=True)

    def strike() -> None:
        for _ in range(2):  # max_crashes=1: its second try as well
            assert eventually(running, timeout=15)
            terminated = {"exitCode": 137, "reason": "OOMKilled"}
            status = {"containerStatuses": [{"name": "actorq", "state": {"terminated": terminated}}]}
            on_cluster.fail(running()[0], status)

    def running() -> list[str]:
        alive = [p for p in on_cluster.of_kind("pods") if p["status"]["phase"] == "Running"]
        return [p["metadata"]["name"] for p in alive]

    thread = threading.Thread(target=strike)
    thread.start()
    (output,) = handle
    thread.join()
    assert isinstance(output, ReplicaLostError)
    assert "OOMKilled" in str(output)


def test_an_image_that_cannot_be_pulled_is_told(on_cluster: FakeCluster, impatient: None) -> None:
    waiting = {"reason": "ImagePullBackOff", "message": "no such image"}
    status = {"name": "actorq", "image": "actorq:0.1.0", "state": {"waiting": waiting}}
    on_cluster.broken = lambda pod: {"phase": "Pending", "containerStatuses": [status]}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises(PoolError, match="ImagePullBackOff: no such image; check the image's name"):
            list(pods.pid.map(range(2)))


def test_a_used_up_quota_is_told(on_cluster: FakeCluster, impatient: None) -> None:
    on_cluster.quota = "pods is forbidden: exceeded quota: small, requested: pods=1"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises(PoolError, match="quota keeps pods from being created"):
            list(pods.pid.map(range(2)))


def test_an_environment_without_an_image_is_told_at_once(
    on_cluster: FakeCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pods.regular, "container_image", None)
    with pytest.raises(DeclarationError, match="names no image"):
        list(pods.pid.map(range(2)))


def test_the_pods_are_restricted(on_cluster: FakeCluster) -> None:
    handle = pods.naps.map([0.5])
    assert eventually(lambda: jobs(on_cluster), timeout=10)
    spec = jobs(on_cluster)[0]["spec"]["template"]["spec"]
    assert spec["automountServiceAccountToken"] is False
    assert spec["securityContext"]["runAsNonRoot"] is True
    (container,) = spec["containers"]
    assert container["securityContext"]["readOnlyRootFilesystem"] is True
    assert not [item for item in container["env"] if "redis://" in str(item.get("value"))]
    assert list(handle) == [0.5]
