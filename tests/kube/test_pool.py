"""Pools on demand: made by the first map, shared, followed, and gone when idle."""

from __future__ import annotations

import time
import warnings
from types import SimpleNamespace

import pytest

from actorq import ActorEnvironment, DeclarationError, PoolError
from actorq.base.settings import settings
from actorq.kube.keeping import keeper_name
from actorq.kube.pods import ENVIRONMENT_LABEL, GENERATION
from actorq.kube.scaling import scale
from actorq.runtime.program import runtime, shutdown
from tests.conftest import eventually
from tests.kube.apiserver import Manifest
from tests.kube.fake import FakeCluster
from tests.support.code import pods


def deployment(cluster: FakeCluster) -> Manifest:
    (found,) = cluster.of_kind("deployments")
    return found


def replicas(cluster: FakeCluster) -> int:
    return int(deployment(cluster)["spec"]["replicas"])


def replica_pods(cluster: FakeCluster) -> set[str]:
    return {str(pod["metadata"]["name"]) for pod in cluster.of_kind("pods") if "keeper" not in pod["metadata"]["name"]}


def ready(cluster: FakeCluster) -> int:
    return len(replica_pods(cluster))


def test_the_first_map_makes_the_pool_and_runs_on_it(on_cluster: FakeCluster) -> None:
    outputs = list(pods.warm.map(range(200)))
    assert [x for x, _ in outputs] == list(range(200))
    assert replicas(on_cluster) == 3
    assert sorted(kind for kind, _ in on_cluster.objects) == ["deployments", "jobs", *["pods"] * 4, "secrets"]


def test_a_small_map_starts_no_more_replicas_than_inputs(on_cluster: FakeCluster) -> None:
    list(pods.warm.map(range(2)))
    assert replicas(on_cluster) == 2
    assert pods.warm.remote(1)[0] == 1
    assert replicas(on_cluster) == 2
    list(pods.warm.map(range(50)))
    assert replicas(on_cluster) == 3


def test_another_script_uses_the_same_pool(on_cluster: FakeCluster) -> None:
    first = {pid for _, pid in pods.warm.map(range(100))}
    shutdown()  # the first program is over; its pool is not
    second = {pid for _, pid in pods.warm.map(range(100))}
    assert second <= first
    assert len(on_cluster.of_kind("deployments")) == 1


def test_a_changed_template_is_a_new_generation_that_loses_nothing(
    on_cluster: FakeCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = {pid for _, pid in pods.warm.map(range(30))}
    generation = deployment(on_cluster)["metadata"]["annotations"][GENERATION]
    running = pods.warm.map(range(600))
    next(running)
    monkeypatch.setattr(pods.pool, "requests", {"cpu": "100m"})
    pods.pool.up()
    assert deployment(on_cluster)["metadata"]["annotations"][GENERATION] != generation
    rest = list(running)
    assert [x for x, _ in rest] == list(range(1, 600))
    assert {pid for _, pid in rest} - before


def test_what_a_template_no_longer_has_goes_from_the_pods(
    on_cluster: FakeCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pods.pool, "pod_template", {"spec": {"nodeSelector": {"gpu": "yes"}}})
    pods.pool.up()
    monkeypatch.setattr(pods.pool, "pod_template", {})
    pods.pool.up()
    assert "nodeSelector" not in deployment(on_cluster)["spec"]["template"]["spec"]


def test_replicas_read_a_changed_secret(on_cluster: FakeCluster, monkeypatch: pytest.MonkeyPatch) -> None:
    before, names = {pid for _, pid in pods.warm.map(range(60))}, replica_pods(on_cluster)
    monkeypatch.setenv("ACTORQ_SIGNING_KEY", "a new key for all")
    shutdown()
    settings.cache_clear()
    pods.pool.up()
    assert eventually(lambda: not names & replica_pods(on_cluster), timeout=30)
    assert not before & {pid for _, pid in pods.warm.map(range(60))}
    assert on_cluster.secret("actorq-pool-pods")["signing-key"] == "a new key for all"


def test_another_ttl_is_told_to_the_keeper_and_restarts_nothing(
    on_cluster: FakeCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    before: set[int] = set()

    def all_have_run() -> bool:  # a pod may begin to serve when a short map is over
        before.update(pid for _, pid in pods.warm.map(range(60)))
        return len(before) == 3

    assert eventually(all_have_run, timeout=25)
    monkeypatch.setattr(pods.pool, "ttl_seconds", 2)
    assert {pid for _, pid in pods.warm.map(range(60))} <= before
    assert eventually(lambda: not on_cluster.objects, timeout=25)


def test_a_pool_without_end_may_be_given_one(on_cluster: FakeCluster, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as without:
        without.setattr(pods.pool, "ttl_seconds", None)
        pods.pool.up()
    pods.pool.up()
    (keeper,) = on_cluster.of_kind("jobs")
    for kind in ("deployments", "secrets"):
        (owned,) = on_cluster.of_kind(kind)
        assert [owner["uid"] for owner in owned["metadata"]["ownerReferences"]] == [keeper["metadata"]["uid"]]
    with on_cluster.lock:
        on_cluster._delete("jobs", keeper["metadata"]["name"])
    assert eventually(lambda: not on_cluster.objects, timeout=30)


def test_what_is_left_of_an_earlier_pool_is_not_built_upon(on_cluster: FakeCluster) -> None:
    on_cluster.collect_after = 1.5
    pods.pool.up()
    first = deployment(on_cluster)["metadata"]["uid"]
    (keeper,) = on_cluster.of_kind("jobs")
    with on_cluster.lock:  # what it owned goes a while later
        on_cluster._delete("jobs", keeper["metadata"]["name"])
    pods.pool.up()
    assert deployment(on_cluster)["metadata"]["uid"] != first
    (keeper,) = on_cluster.of_kind("jobs")
    for kind in ("deployments", "secrets"):
        (owned,) = on_cluster.of_kind(kind)
        assert [owner["uid"] for owner in owned["metadata"]["ownerReferences"]] == [keeper["metadata"]["uid"]]


def test_a_look_does_not_wait_for_an_earlier_pool_to_end(
    on_cluster: FakeCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("actorq.kube.lookout._LOOK_AFTER", 0.0)
    pods.pool.up()
    pool = runtime().pools._on_cluster["pool-pods"]
    with on_cluster.lock:
        on_cluster._delete("deployments", pool.name)
        on_cluster.objects["jobs", keeper_name(pool.environment)]["metadata"]["deletionTimestamp"] = "now"
    waited: list[float] = []
    monkeypatch.setattr(
        "actorq.kube.pool.time", SimpleNamespace(monotonic=time.monotonic, sleep=waited.append, time=time.time)
    )
    pool.check(0)  # its keeper is in the way
    assert not waited
    with on_cluster.lock:
        on_cluster._delete("jobs", keeper_name(pool.environment))
    assert eventually(lambda: not on_cluster.of_kind("secrets"))
    pool._lookout._looked = 0.0
    pool.check(0)
    assert deployment(on_cluster)["metadata"]["ownerReferences"]


def test_a_map_on_a_pool_without_replicas_says_so(on_cluster: FakeCluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("actorq.kube.lookout._LOOK_AFTER", 0.2)
    pods.pool.up()
    pods.pool.scale(0)
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        handle = pods.warm.map(range(5))
        fix = "It is scaled to 0, and the map waits. Scale it: actorq scale pool-pods 1"
        assert eventually(lambda: any(fix in str(w.message) for w in seen), timeout=30)
    handle.close()


def test_the_pool_of_a_chart_release_is_used_and_left_alone(on_cluster: FakeCluster) -> None:
    labels = {ENVIRONMENT_LABEL: "pool-pods", "app.kubernetes.io/component": "replica"}
    labels["app.kubernetes.io/managed-by"] = "Helm"
    template = {"metadata": {"labels": labels}, "spec": {"containers": []}}
    manifest = {"metadata": {"name": "release-pool", "labels": labels}, "spec": {"replicas": 0, "template": template}}
    api = on_cluster.api()
    api.create("deployments", manifest)
    handle = pods.warm.map(range(5))
    time.sleep(0.5)
    assert [d["metadata"]["name"] for d in on_cluster.of_kind("deployments")] == ["release-pool"]
    assert replicas(on_cluster) == 0
    handle.close()
    with pytest.raises(PoolError, match=r"helm -n test upgrade RELEASE CHART .*environments.pool-pods.replicas=4"):
        pods.pool.scale(4)


def test_an_environment_without_an_image_waits_for_a_release(on_cluster: FakeCluster) -> None:
    task = pods.no_image
    with pytest.raises(PoolError, match="started by somebody else"):
        task.up()
    assert not on_cluster.objects


def test_scaling_by_hand_stays_and_the_window_follows(on_cluster: FakeCluster) -> None:
    handle = pods.warm.map(range(2000))
    next(handle)
    pods.pool.scale(1)
    assert eventually(lambda: ready(on_cluster) == 1, timeout=30)
    assert len(list(handle)) == 1999
    list(pods.warm.map(range(30)))
    assert replicas(on_cluster) == 1
    pods.pool.up()
    assert replicas(on_cluster) == 3


def test_status_tells_what_is_wanted_and_what_serves(on_cluster: FakeCluster) -> None:
    assert (pods.pool.status().wanted, pods.pool.status().ready) == (0, 0)
    pods.pool.up()
    assert eventually(lambda: pods.pool.status().ready == 3, timeout=30)
    assert pods.pool.status().wanted == 3


def test_down_removes_everything(on_cluster: FakeCluster) -> None:
    pods.pool.up()
    assert eventually(lambda: ready(on_cluster) == 3, timeout=30)
    pods.pool.down()
    assert eventually(lambda: not on_cluster.objects)


def test_an_idle_pool_goes_by_itself(on_cluster: FakeCluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pods.pool, "ttl_seconds", 2)
    assert len(list(pods.warm.map(range(100)))) == 100
    assert eventually(lambda: not on_cluster.objects, timeout=25)
    assert len(list(pods.warm.map(range(10)))) == 10  # and comes back


def test_calls_bring_back_a_pool_that_has_gone(on_cluster: FakeCluster) -> None:
    assert pods.warm.remote(1)[0] == 1
    pods.pool.down()
    assert eventually(lambda: not on_cluster.objects, timeout=30)
    assert pods.warm.remote(2)[0] == 2


def test_a_pool_without_end_has_no_keeper(on_cluster: FakeCluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pods.pool, "ttl_seconds", None)
    pods.pool.up()
    assert not on_cluster.of_kind("jobs")


def test_a_replica_that_cannot_start_ends_the_map_with_the_reason(on_cluster: FakeCluster, impatient: None) -> None:
    state = {"waiting": {"reason": "CrashLoopBackOff"}}
    last = {"terminated": {"exitCode": 1, "message": "No module named 'tasks'"}}
    status = {"name": "actorq", "image": "i", "state": state, "lastState": last}
    on_cluster.broken = lambda pod: {"phase": "Running", "containerStatuses": [status]}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises(PoolError, match="CrashLoopBackOff: it ended with exit status 1: No module named 'tasks'"):
            list(pods.warm.map(range(5)))


def test_a_pod_that_waits_for_a_node_is_a_warning(on_cluster: FakeCluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("actorq.kube.lookout._LOOK_AFTER", 0.2)
    condition = {"type": "PodScheduled", "status": "False", "message": "0/1 nodes available: 1 Insufficient cpu."}
    on_cluster.broken = lambda pod: {"phase": "Pending", "conditions": [condition]}
    handle = pods.warm.map(range(5))
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        assert eventually(lambda: any("waits for a node" in str(w.message) for w in seen), timeout=30)
    handle.close()


def test_a_quota_that_forbids_the_pods_is_told(on_cluster: FakeCluster, impatient: None) -> None:
    on_cluster.quota = "pods is forbidden: exceeded quota: small"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises(PoolError, match="quota keeps pods from being created"):
            list(pods.warm.map(range(5)))


def test_scaling_what_is_not_there_says_so(cluster: FakeCluster) -> None:
    with pytest.raises(PoolError, match="No Deployment serves environment 'nothing' in namespace 'test'"):
        scale(cluster.api(), "nothing", 3)


def test_pods_need_a_server_they_can_reach(cluster: FakeCluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACTORQ_KUBERNETES_NAMESPACE", "test")
    monkeypatch.delenv("ACTORQ_REDIS_URL", raising=False)
    from actorq.runtime import program as runtime_module

    aside, runtime_module._current = runtime_module._current, None
    settings.cache_clear()
    try:
        with pytest.raises(DeclarationError, match="pods cannot reach an embedded server"):
            list(pods.warm.map(range(2)))
    finally:
        shutdown()
        runtime_module._current = aside
        monkeypatch.undo()
        settings.cache_clear()


def test_a_template_is_laid_over_the_pod() -> None:
    from actorq.kube.pods import pod_template

    environment = ActorEnvironment(
        "laid-over",
        container_image="i",
        limits={"nvidia.com/gpu": 1},
        pod_template={
            "metadata": {"annotations": {"a": "b"}, "labels": {ENVIRONMENT_LABEL: "not this"}},
            "spec": {
                "nodeSelector": {"gpu": "yes"},
                "initContainers": [{"name": "fetch", "image": "f"}],
                "containers": [
                    {"name": "actorq", "volumeMounts": [{"name": "models", "mountPath": "/models"}]},
                    {"name": "sidecar", "image": "s"},
                ],
                "volumes": [{"name": "models", "emptyDir": {}}],
            },
        },
    )
    labels = {ENVIRONMENT_LABEL: "x"}
    template = pod_template(environment, labels=labels, command=["c"], env=[], secrets=(), grace_seconds=1)
    spec = template["spec"]
    assert [c["name"] for c in spec["containers"]] == ["actorq", "sidecar"]
    mounted = [m["mountPath"] for m in spec["containers"][0]["volumeMounts"]]
    assert mounted == ["/tmp", "/etc/actorq/secrets", "/models"]
    assert [v["name"] for v in spec["volumes"]] == ["tmp", "actorq-secrets", "models"]
    assert spec["nodeSelector"] == {"gpu": "yes"}
    assert spec["containers"][0]["resources"]["limits"] == {"nvidia.com/gpu": 1}
    assert template["metadata"] == {"annotations": {"a": "b"}, "labels": {ENVIRONMENT_LABEL: "x"}}


def test_a_misspelt_template_is_refused() -> None:
    with pytest.raises(DeclarationError, match="pod_template has"):
        ActorEnvironment("misspelt", pod_template={"sepc": {}})
