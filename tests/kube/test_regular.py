"""Regular tasks in pods: the same map, the same order, the same errors."""

from __future__ import annotations

import re
import threading
import warnings
from pathlib import Path
from typing import Any

import pytest
import redis

from actorq import DeclarationError, PoolError, ReplicaLostError, TaskError, TaskTimeoutError
from actorq.base.settings import settings
from actorq.kube.address import with_login
from actorq.runtime.program import shutdown
from tests.conftest import eventually, pool_client
from tests.kube.apiserver import Fault, Manifest
from tests.kube.fake import FakeCluster
from tests.support.code import pods


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
    assert eventually(lambda: on_cluster.of_kind("pods"), timeout=30)  # let go
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
    assert list(pods.login.map([0])) == [[]]


def test_pods_sign_and_check_with_a_key_of_their_map_and_have_no_other(
    on_cluster: FakeCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ACTORQ_SIGNING_KEY", "0123456789abcdef")
    settings.cache_clear()
    handle = pods.naps.map([0.5], map_id="mine")
    assert eventually(lambda: on_cluster.of_kind("secrets"), timeout=30)
    (secret,) = on_cluster.of_kind("secrets")
    given = on_cluster.secret(secret["metadata"]["name"])
    assert set(given) == {"url", "map-keys"}
    assert "0123456789abcdef" not in str(given)
    assert list(handle) == [0.5]
    assert list(pods.login.map([0])) == [[]]


def test_the_pods_login_fits_their_map_only(on_cluster: FakeCluster) -> None:
    handle = pods.naps.map([1.5], map_id="mine")
    assert eventually(lambda: on_cluster.of_kind("secrets"), timeout=30)
    (secret,) = on_cluster.of_kind("secrets")
    with redis.Redis.from_url(on_cluster.secret(secret["metadata"]["name"])["url"]) as pod:
        assert pod.exists("aq:map:mine") == 1
        for forbidden in (lambda: pod.get("aq:map:other"), lambda: pod.keys("*"), lambda: pod.lpush("rq:queue:x", "1")):
            with pytest.raises(redis.exceptions.NoPermissionError):
                forbidden()
    assert list(handle) == [1.5]


def test_an_eviction_costs_no_try(on_cluster: FakeCluster) -> None:
    handle = pods.naps.map([1.0])
    assert eventually(lambda: on_cluster.of_kind("pods"), timeout=30)
    on_cluster.evict(on_cluster.of_kind("pods")[0]["metadata"]["name"])
    assert list(handle) == [1.0]
    assert handle.stats().recovered == 0


def test_an_error_names_the_pod_as_kubectl_takes_it(on_cluster: FakeCluster) -> None:
    with pytest.raises(KeyError) as raised:
        list(pods.fails.map([5]))
    assert isinstance(raised.value.__cause__, TaskError)
    assert re.fullmatch("actorq-regular-pods-[0-9a-f]{12}-0-[0-9a-f]{5}", raised.value.__cause__.replica)


@pytest.mark.parametrize(
    ("how", "kind", "said"),
    [
        ("exit", ReplicaLostError, "exited with status 3"),
        ("kill", ReplicaLostError, "killed by SIGKILL"),
        ("hang", TaskTimeoutError, "stopped after its timeout of 5 s"),
    ],
)
def test_what_a_task_wrote_last_is_in_its_error(
    on_cluster: FakeCluster, how: str, kind: type[Exception], said: str
) -> None:
    with pytest.raises(kind) as raised:
        pods.speaks.remote(how)
    assert said in str(raised.value)
    assert str(raised.value).endswith("much more than a pipe holds\nthe last words\nof the task")


def test_what_a_pod_logged_last_is_in_the_error_of_its_input(on_cluster: FakeCluster) -> None:
    handle = pods.naps.map([60.0], return_exceptions=True)
    for _ in range(2):  # max_crashes=1
        assert eventually(lambda: started(on_cluster), timeout=30)
        message = '{"event": "input_started", "level": "info"}\nFatal Python error\n'
        on_cluster.fail(started(on_cluster)[0], ended(exitCode=139, message=message))
    (error,) = handle
    assert str(error).endswith("the last one was killed by signal 11: Fatal Python error")


def started(cluster: FakeCluster) -> list[str]:
    """The pods whose input has begun."""
    with cluster.lock:
        alive = [name for name, pod in cluster.pods.items() if pod.manifest["status"]["phase"] == "Running"]
        return [name for name in alive if "input_started" in cluster.pods[name].log.read_text()]


def ended(**state: Any) -> Manifest:
    """The status of a pod whose container has ended so."""
    return {"containerStatuses": [{"name": "actorq", "state": {"terminated": state}}]}


def test_a_pod_that_somebody_deletes_is_replaced_and_costs_no_try(on_cluster: FakeCluster) -> None:
    handle = pods.naps.map([1.5])
    for _ in range(3):  # max_crashes=1
        assert eventually(lambda: started(on_cluster), timeout=30)
        on_cluster.delete_pod(started(on_cluster)[0])
    assert list(handle) == [1.5]
    assert handle.stats().recovered == 0


def test_a_pod_that_was_deleted_and_killed_before_it_could_hear_it_costs_no_try_either(
    on_cluster: FakeCluster,
) -> None:
    handle = pods.naps.map([1.5])
    for _ in range(3):
        assert eventually(lambda: started(on_cluster), timeout=30)
        name = started(on_cluster)[0]
        on_cluster.objects["pods", name]["metadata"]["deletionTimestamp"] = "now"
        on_cluster.fail(name, ended(exitCode=137))
    assert list(handle) == [1.5]


def test_a_pod_out_of_memory_says_so(on_cluster: FakeCluster) -> None:
    handle = pods.naps.map([30.0], return_exceptions=True)

    def strike() -> None:
        for _ in range(2):  # max_crashes=1: its second try as well
            assert eventually(running, timeout=30)
            on_cluster.fail(running()[0], ended(exitCode=137, reason="OOMKilled"))

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


QUOTA = "pods is forbidden: exceeded quota: small, requested: pods=1, used: pods={}"


def test_a_quota_that_another_map_uses_up_is_waited_for_and_told_once(
    on_cluster: FakeCluster, impatient: None, tmp_path: Path
) -> None:
    flag = tmp_path / "flag"
    first = pods.until.map([str(flag)])
    assert eventually(lambda: started(on_cluster), timeout=30)
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        on_cluster.quota = QUOTA.format(1)
        second = pods.pid.map(range(2))
        assert eventually(lambda: any("quota" in str(each.message) for each in seen), timeout=30)
        on_cluster.quota = QUOTA.format(2)  # the figures change
        flag.touch()
        assert list(first) == [str(flag)]
        on_cluster.quota = None
        assert [x for x, _ in second] == [0, 1]
    assert len([each for each in seen if "quota" in str(each.message)]) == 1


def test_a_job_that_a_quota_refuses_is_made_when_another_map_has_made_room(
    on_cluster: FakeCluster, tmp_path: Path
) -> None:
    flag = tmp_path / "flag"
    first = pods.until.map([str(flag)])
    assert eventually(lambda: started(on_cluster), timeout=30)
    refused = Fault(403, 'jobs.batch "j" is forbidden: exceeded quota: small', method="POST", kind="jobs")
    on_cluster.faults.extend([refused] * 2)
    with pytest.warns(RuntimeWarning, match="waits. The quota of namespace 'test' is used up"):
        assert [x for x, _ in pods.pid.map(range(2))] == [0, 1]
    flag.touch()
    assert list(first) == [str(flag)]


def test_a_job_that_a_quota_refuses_is_an_error_where_nothing_will_make_room(on_cluster: FakeCluster) -> None:
    said = 'jobs.batch "j" is forbidden: exceeded quota: small'
    on_cluster.faults.append(Fault(403, said, method="POST", kind="jobs"))
    with pytest.raises(PoolError, match="is used up"):
        list(pods.pid.map(range(2)))


def test_a_secret_that_is_missing_is_told(on_cluster: FakeCluster, impatient: None) -> None:
    waiting = {"reason": "ContainerCreating"}
    status = {"name": "actorq", "image": "actorq:0.1.0", "state": {"waiting": waiting}}

    def broken(pod: Manifest) -> Manifest:
        said = 'MountVolume.SetUp failed for volume "certs": secret "certs" not found'
        event = {"metadata": {"name": "e"}, "reason": "FailedMount", "message": said}
        on_cluster.objects["events", "e"] = event | {"involvedObject": {"name": pod["metadata"]["name"]}}
        return {"phase": "Pending", "containerStatuses": [status]}

    on_cluster.broken = broken
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises(PoolError, match=r'create what it refers to.*"certs" not found'):
            list(pods.pid.map([1]))


def test_users_for_the_pods_are_made_with_a_login_that_no_pod_is_given(
    on_cluster: FakeCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = str(settings().redis_url)
    with redis.Redis.from_url(url) as client:
        minimum = ["~rq:*", "~aq:*", "&rq:pubsub:*", "+@all", "-@admin", "-@dangerous", "+info"]
        client.execute_command("ACL", "SETUSER", "app", "on", ">secret", *minimum)
        client.execute_command("ACL", "SETUSER", "makers", "on", ">other", "+acl|setuser", "+acl|deluser", "+acl|users")
    monkeypatch.setenv("ACTORQ_REDIS_URL", with_login(url, "app", "secret"))
    monkeypatch.setenv("ACTORQ_ACL_URL", with_login(url, "makers", "other"))
    shutdown()
    settings.cache_clear()
    handle = pods.naps.map([1.0])
    assert eventually(lambda: on_cluster.of_kind("secrets"), timeout=30)
    (secret,) = on_cluster.of_kind("secrets")
    login = on_cluster.secret(secret["metadata"]["name"])["url"]
    assert "actorq-map-" in login
    assert "makers" not in str(on_cluster.objects)
    assert list(handle) == [1.0]
    with redis.Redis.from_url(url) as client:
        assert {str(user) for user in client.acl_users()} == {"default", "app", "makers"}


def test_an_environment_without_an_image_is_told_at_once(
    on_cluster: FakeCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pods.regular, "container_image", None)
    with pytest.raises(DeclarationError, match="names no image"):
        list(pods.pid.map(range(2)))


def test_the_pods_are_restricted(on_cluster: FakeCluster) -> None:
    handle = pods.naps.map([0.5])
    assert eventually(lambda: jobs(on_cluster), timeout=30)
    spec = jobs(on_cluster)[0]["spec"]["template"]["spec"]
    assert spec["automountServiceAccountToken"] is False
    assert spec["securityContext"]["runAsNonRoot"] is True
    (container,) = spec["containers"]
    assert container["securityContext"]["readOnlyRootFilesystem"] is True
    assert not [item for item in container["env"] if "redis://" in str(item.get("value"))]
    assert not [item for item in container["env"] if "secretKeyRef" in str(item)]
    assert list(handle) == [0.5]
