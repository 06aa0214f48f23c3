"""The Jobs of a map: each is made whole or not at all, goes with its map, and outlives what goes wrong around it."""

from __future__ import annotations

import os
import signal
import warnings
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from actorq.base.settings import settings
from actorq.broker import keys
from actorq.broker.link import Link
from actorq.oneshot import pod
from actorq.replica.spec import MAP_GONE
from tests.conftest import eventually, pool_client
from tests.kube.apiserver import Fault, Manifest
from tests.kube.fake import FakeCluster
from tests.kube.test_regular import jobs, left_on_server
from tests.support.code import pods


def running(cluster: FakeCluster) -> list[str]:
    with cluster.lock:
        alive = [p for p in cluster.of_kind("pods") if p["status"]["phase"] == "Running"]
        return [p["metadata"]["name"] for p in alive]


@pytest.fixture
def in_this_process(monkeypatch: pytest.MonkeyPatch, on_server: str) -> Iterator[Link]:
    """This process as the pod of input 0 of the map "stalled"."""
    for name, value in {"MAP": "stalled", "JOB": "0", "REDIS_URL": str(settings().redis_url)}.items():
        monkeypatch.setenv(f"ACTORQ_{name}", value)
    monkeypatch.setenv("JOB_COMPLETION_INDEX", "0")
    monkeypatch.setattr(pod, "_WAIT_SECONDS", 0.1)
    monkeypatch.setattr(pod, "_GONE_LOOKS", 3)
    handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    link = Link(on_server, patience=0)
    yield link
    link.close()
    for number, handler in handlers.items():
        signal.signal(number, handler)


def test_a_deleted_job_runs_again(on_cluster: FakeCluster) -> None:
    handle = pods.naps.map([1.0], map_id="deleted")
    assert eventually(lambda: on_cluster.of_kind("pods"), timeout=30)
    with on_cluster.lock:
        on_cluster._delete("jobs", jobs(on_cluster)[0]["metadata"]["name"])
    assert list(handle) == [1.0]


def test_the_job_of_a_call_goes_with_its_login_once_its_result_is_there(on_cluster: FakeCluster) -> None:
    assert pods.naps.remote(0.0) == 0.0
    assert eventually(lambda: not jobs(on_cluster) and not on_cluster.of_kind("secrets"), timeout=25)


def test_an_api_server_that_is_away_for_a_while_ends_no_map(
    on_cluster: FakeCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("actorq.kube.regular._LOOK_PATIENCE", 0.2)
    handle = pods.naps.map([0.2, 2.5])
    assert next(handle) == 0.2
    on_cluster.faults.extend([Fault(503, "restarting", method="GET")] * 6)
    assert list(handle) == [2.5]
    assert not [fault for fault in on_cluster.faults if fault.method == "POST"]


def test_a_job_that_cannot_be_made_now_is_made_later(on_cluster: FakeCluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("actorq.kube.regular._MAKE_PATIENCE", 0.1)
    on_cluster.faults.extend([Fault(503, "restarting", method="POST", kind="jobs")] * 3)
    assert [x for x, _ in pods.pid.map(range(2))] == [0, 1]


def test_breaking_out_deletes_the_pods(on_cluster: FakeCluster) -> None:
    handle = pods.naps.map([0.0, 60.0])
    assert next(handle) == 0.0
    handle.close()
    assert eventually(lambda: not on_cluster.objects)
    assert not left_on_server()


def test_pods_of_a_submitter_that_died_end_the_job(on_cluster: FakeCluster) -> None:
    handle = pods.naps.map([60.0], map_id="orphan")
    assert eventually(lambda: on_cluster.of_kind("pods"), timeout=30)
    (job,) = jobs(on_cluster)
    rules = job["spec"]["podFailurePolicy"]["rules"]
    assert {"action": "FailJob", "onExitCodes": {"operator": "In", "values": [43]}} in rules
    assert job["spec"]["ttlSecondsAfterFinished"] > 0

    def owners() -> list[str]:
        (secret,) = on_cluster.of_kind("secrets")
        return [owner["name"] for owner in secret["metadata"].get("ownerReferences", [])]

    assert eventually(lambda: owners() == [job["metadata"]["name"]])
    handle.close()


def test_a_pod_whose_map_is_gone_ends_with_the_status_that_ends_its_job(
    in_this_process: Link, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pod, "time", SimpleNamespace(sleep=lambda seconds: None))
    assert pod.main() == MAP_GONE == 43


@pytest.mark.parametrize(
    "faults",
    [
        [Fault(0, method="POST", kind="jobs", after=True), *[Fault(503, method="POST", kind="jobs")] * 2],
        [Fault(503, method="POST", kind="secrets")] * 3,
        [Fault(503, method="PATCH", kind="jobs")] * 3,
        [*[Fault(503, method="PATCH", kind="jobs")] * 3, *[Fault(503, method="DELETE", kind="jobs")] * 3],
    ],
    ids=["its answers are lost", "no Secret", "not let go", "nor deleted"],
)
def test_a_job_that_is_half_made_is_deleted_and_runs_nothing(
    on_cluster: FakeCluster, monkeypatch: pytest.MonkeyPatch, faults: list[Fault]
) -> None:
    monkeypatch.setattr("actorq.kube.regular._MAKE_PATIENCE", 0.1)
    on_cluster.faults.extend(faults)
    assert [x for x, _ in pods.pid.map(range(2))] == [0, 1]
    assert on_cluster.started == 2
    assert len([r for r in on_cluster.requests if r[:2] == ("POST", "jobs")]) > 1
    assert eventually(lambda: not on_cluster.objects)
    assert not left_on_server()


def test_a_job_takes_its_secret_along(on_cluster: FakeCluster) -> None:
    handle = pods.naps.map([1.0], map_id="deleted")
    assert eventually(lambda: on_cluster.of_kind("pods"), timeout=30)
    first = jobs(on_cluster)[0]["metadata"]["name"]
    with on_cluster.lock:
        on_cluster._delete("jobs", first)
    assert eventually(lambda: first not in [s["metadata"]["name"] for s in on_cluster.of_kind("secrets")])
    assert list(handle) == [1.0]


@pytest.mark.parametrize("map_id", ["Nightly_report-", "x" * 64])
def test_a_map_may_have_a_name_that_kubernetes_does_not_take(on_cluster: FakeCluster, map_id: str) -> None:
    handle = pods.naps.map([0.5], map_id=map_id)
    assert eventually(lambda: jobs(on_cluster), timeout=30)
    assert jobs(on_cluster)[0]["metadata"]["annotations"]["actorq.dev/map-id"] == map_id
    assert list(handle) == [0.5]


def test_maps_of_similar_names_do_not_meet(on_cluster: FakeCluster) -> None:
    first, second = (pods.naps.map([0.5], map_id=f"the-same-report-{number}") for number in range(2))
    assert [*first, *second] == [0.5, 0.5]


def test_a_server_that_comes_back_empty_ends_no_map(on_cluster: FakeCluster) -> None:
    handle = pods.naps.map([0.0, 2.0, 0.1], concurrency=1)
    assert next(handle) == 0.0
    with pool_client() as client:
        client.flushall()
        for user in client.acl_users():
            if "actorq-map" in str(user):
                client.acl_deluser(user)  # which cuts the connections of the pods
    assert list(handle) == [2.0, 0.1]


def test_a_job_that_its_pods_have_ended_costs_no_input_a_try(on_cluster: FakeCluster) -> None:
    handle = pods.span.map(range(3))  # two at a time, and no crash is forgiven
    assert eventually(lambda: len(running(on_cluster)) == 2, timeout=30)
    terminated = {"exitCode": MAP_GONE}
    status = {"containerStatuses": [{"name": "actorq", "state": {"terminated": terminated}}]}
    on_cluster.fail(running(on_cluster)[0], status)
    assert len(list(handle)) == 3
    assert handle.stats().recovered == 3


def test_why_an_input_failed_is_asked_of_the_pod_that_failed(on_cluster: FakeCluster) -> None:
    handle = pods.naps.map([60.0], return_exceptions=True)
    terminated = {"exitCode": 137, "reason": "OOMKilled"}
    failed: Manifest = {"containerStatuses": [{"name": "actorq", "state": {"terminated": terminated}}]}
    disrupted: Manifest = {
        "conditions": [{"type": "DisruptionTarget", "status": "True", "reason": "EvictionByEvictionAPI"}]
    }
    for statuses in ([failed], [disrupted, failed]):  # max_crashes=1
        for status in statuses:
            assert eventually(lambda: running(on_cluster), timeout=30)
            (name,) = running(on_cluster)
            on_cluster.fail(name, status)
            if status is disrupted:
                assert eventually(lambda: running(on_cluster), timeout=30)
                with on_cluster.lock:  # the last in a list
                    on_cluster.objects["pods", name] = on_cluster.objects.pop(("pods", name))
    (output,) = handle
    assert "OOMKilled" in str(output)


def test_jobs_that_may_not_be_deleted_are_told_once(on_cluster: FakeCluster) -> None:
    said = 'jobs.batch "j" is forbidden: User "ann" cannot delete resource "jobs" in API group "batch"'
    handle = pods.naps.map([0.0, 60.0])
    assert next(handle) == 0.0
    on_cluster.faults.append(Fault(403, said, method="DELETE"))
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        handle.close()
    (told,) = [str(warning.message) for warning in seen]
    assert "ann may not delete jobs" in told
    assert "kubectl -n test delete jobs -l actorq.dev/map=" in told
    assert not left_on_server()
    with on_cluster.lock:
        on_cluster._delete("jobs", jobs(on_cluster)[0]["metadata"]["name"])


def test_retries_stay_within_the_concurrency(on_cluster: FakeCluster, tmp_path: Path) -> None:
    folder = tmp_path / "tries"
    folder.mkdir()
    list(pods.second_time.map(range(4), [str(folder)] * 4))
    spans = sorted(tuple(map(float, path.read_text().split())) for path in folder.iterdir())
    assert len(spans) == 8
    for at, (begin, _) in enumerate(spans):
        assert sum(b <= begin < e for b, e in spans[: at + 1]) <= 2


def test_a_pod_begins_nothing_for_a_map_that_is_gone(in_this_process: Link, monkeypatch: pytest.MonkeyPatch) -> None:
    in_this_process.command("RPUSH", f"{keys.pod_inputs('stalled')}:0:0", b"lease\0payload")
    in_this_process.command("EXPIRE", f"{keys.pod_inputs('stalled')}:0:0", 5)
    looks: list[float] = []
    monkeypatch.setattr(pod, "time", SimpleNamespace(sleep=looks.append))
    assert pod.main() == MAP_GONE
    assert len(looks) == 3


def test_a_pod_waits_for_a_submitter_that_is_stalled(in_this_process: Link, monkeypatch: pytest.MonkeyPatch) -> None:
    def sleep(seconds: float) -> None:
        in_this_process.command("HSET", keys.map_("stalled"), "owner", "o")
        in_this_process.command("EXPIRE", keys.map_("stalled"), 5)

    monkeypatch.setattr(pod, "time", SimpleNamespace(sleep=sleep))
    assert pod._lives(in_this_process, "stalled")


def test_a_pod_that_is_told_to_stop_before_its_input_came_ends_at_once(
    in_this_process: Link, monkeypatch: pytest.MonkeyPatch
) -> None:
    def sleep(seconds: float) -> None:
        os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(pod, "time", SimpleNamespace(sleep=sleep))
    with pytest.raises(SystemExit) as ended:
        pod.main()
    assert ended.value.code == 143
