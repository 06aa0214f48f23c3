"""What a real cluster does to running work, and that nothing is lost by it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from actorq import ReplicaLostError
from actorq import hello as served
from tests.cluster import work
from tests.cluster.conftest import IMAGE, NEXT_IMAGE, Release
from tests.conftest import ROOT, eventually


def running(inputs: int, seconds: float, then: Callable[[], None]) -> list[float]:
    """A map over `inputs` naps of `seconds`, with `then` done in the middle of it."""
    handle = served.nap.map([seconds] * inputs)
    outputs: list[float] = []
    thread = threading.Thread(target=then)
    for output in handle:
        outputs.append(output)
        if len(outputs) == inputs // 10:
            thread.start()
    thread.join()
    stats = handle.stats()
    assert stats.failed == 0
    return outputs


def test_the_release_passes_its_own_test(release: Release) -> None:
    assert "Succeeded" in release.helm("test", "rel")


def test_the_release_is_upgraded_by_the_older_helm_too(release: Release) -> None:
    other = Release()
    try:
        repository, _, tag = IMAGE.rpartition(":")
        chart = "charts/actorq"
        values = ["--set", f"image.repository={repository},image.tag={tag},redis.persistence.enabled=false"]
        other.helm("install", "rel", chart, *values, helm="helm3")
        before = other.json("get", "secret", "rel-actorq-redis")["data"]["password"]
        other.helm("upgrade", "rel", chart, *values, helm="helm3")
        assert other.json("get", "secret", "rel-actorq-redis")["data"]["password"] == before
    finally:
        other.close()


def test_replicas_say_hello(connected: Release) -> None:
    assert len(list(served.hello.map(["a", "b", "c"]))) == 3


def test_scaling_up_and_down_under_load_loses_nothing(connected: Release) -> None:
    counts: list[int] = []

    def scale() -> None:
        connected.upgrade("--set", "environments.hello.replicas=6")
        assert eventually(lambda: connected.ready() >= 6, timeout=60)
        counts.append(connected.ready())
        connected.upgrade("--set", "environments.hello.replicas=1")
        assert eventually(lambda: len(connected.pods()) == 1, timeout=60)
        counts.append(len(connected.pods()))

    assert running(600, 0.1, scale) == [0.1] * 600
    assert counts == [6, 1]


def test_a_deleted_pod_loses_nothing(connected: Release) -> None:
    def kill() -> None:
        name = connected.pods()[0]["metadata"]["name"]
        connected.kubectl("delete", "pod", name, "--grace-period=0", "--force", "--wait=false")

    assert running(200, 0.1, kill) == [0.1] * 200


def test_an_evicted_pod_hands_back_its_work(connected: Release) -> None:
    def evict() -> None:
        name = connected.pods()[0]["metadata"]["name"]
        connected.evict(name)
        assert eventually(lambda: name not in [p["metadata"]["name"] for p in connected.pods()], timeout=60)

    assert running(200, 0.1, evict) == [0.1] * 200


@pytest.mark.skipif(not NEXT_IMAGE, reason="needs a second image: ACTORQ_TEST_IMAGE_NEXT")
def test_a_rolling_upgrade_in_mid_map_loses_nothing(connected: Release) -> None:
    def upgrade() -> None:
        connected.upgrade("--set", f"image.tag={NEXT_IMAGE.rpartition(':')[2]}")
        assert eventually(lambda: _images(connected) == {NEXT_IMAGE}, timeout=90)

    assert running(400, 0.1, upgrade) == [0.1] * 400


def _images(release: Release) -> set[str]:
    return {pod["spec"]["containers"][0]["image"] for pod in release.pods() if release.ready()}


def test_a_pool_on_demand_is_made_scaled_and_gone_when_idle(on_demand: Release) -> None:
    selector = "actorq.dev/environment=on-demand,app.kubernetes.io/component=replica"
    assert [x for x, _, _ in work.warm.map(range(2))] == [0, 1]
    assert len(on_demand.pods(selector)) == 2
    outputs = list(work.warm.map(range(200)))
    assert [x for x, _, _ in outputs] == list(range(200))
    assert len({cached for _, _, cached in outputs}) == len({host for _, host, _ in outputs}) <= 3
    work.pool.scale(1)
    assert eventually(lambda: len(on_demand.pods(selector)) == 1, timeout=60)
    status = work.pool.status()
    assert (status.wanted, status.trouble) == (1, "")
    began = time.monotonic()
    assert eventually(lambda: not on_demand.pods(selector), timeout=120)
    assert time.monotonic() - began > 15
    ours = "app.kubernetes.io/managed-by=actorq"
    kinds = "deployments,jobs,secrets"
    assert eventually(lambda: on_demand.kubectl("get", kinds, "-l", ours, "-o", "name") == "", timeout=30)


def test_an_input_that_needs_more_memory_than_its_pod_has_is_stopped_alone_and_told(on_demand: Release) -> None:
    outputs: list[Any] = list(work.takes.map([5, 5, 1000, 5, 5], return_exceptions=True))
    assert isinstance(outputs[2], ReplicaLostError)
    assert "256 MiB" in str(outputs[2])
    assert len({host for host, _ in outputs[:2] + outputs[3:]}) == 1
    assert len({cached for _, cached in outputs[3:]}) == 1


def test_inputs_of_async_tasks_share_the_process_of_one_pod(on_demand: Release) -> None:
    assert len(set(work.waits.map([0.2] * 64))) == 1


def test_regular_tasks_of_known_length_are_one_job(on_demand: Release) -> None:
    outputs = list(work.where.map(range(5)))
    assert [x for x, _ in outputs] == list(range(5))
    assert len({host for _, host in outputs}) == 5
    assert eventually(lambda: not on_demand.pods("app.kubernetes.io/component=task"), timeout=60)


def test_regular_tasks_of_a_stream_run_in_a_window(on_demand: Release) -> None:
    spans = sorted(work.span.map(x for x in range(4)))
    for begin, _ in spans:
        assert sum(b <= begin < e for b, e in spans) <= 2


def test_a_crash_in_a_pod_costs_that_input_alone(on_demand: Release) -> None:
    outputs: list[Any] = list(work.crashes.map(range(3), return_exceptions=True))
    assert outputs[0] == 0
    assert outputs[2] == 2
    assert isinstance(outputs[1], ReplicaLostError)
    assert "SIGABRT" in str(outputs[1])
    assert "the last words" in str(outputs[1])
    assert re.fullmatch("actorq-cluster-regular-[0-9a-f]{12}-[01]-[01]-[a-z0-9]{5}", outputs[1].replica)


def test_a_pod_that_is_evicted_while_its_input_runs_is_replaced_and_costs_no_try(on_demand: Release) -> None:
    future = work.slow.submit(15.0)
    first = begun(on_demand)
    evicted_at = time.time()
    on_demand.evict(first)
    assert future.result(120) > evicted_at


def begun(release: Release) -> str:
    """The pod of the one regular task that runs, once its input has begun."""
    selector = "app.kubernetes.io/component=task"

    def running_pods() -> list[str]:
        return [p["metadata"]["name"] for p in release.pods(selector) if p["status"].get("phase") == "Running"]

    assert eventually(lambda: len(running_pods()) == 1, timeout=60)
    (first,) = running_pods()
    assert eventually(lambda: "input_started" in release.kubectl("logs", first, check=False), timeout=30)
    return first


def test_a_pod_that_somebody_deletes_is_replaced_and_costs_no_try(on_demand: Release) -> None:
    future = work.slow.submit(15.0)
    first = begun(on_demand)
    deleted_at = time.time()
    on_demand.kubectl("delete", "pod", first, "--wait=false")
    assert future.result(120) > deleted_at


def test_a_regular_task_that_needs_more_memory_than_its_limit_is_told_so(on_demand: Release) -> None:
    with pytest.raises(ReplicaLostError, match="OOMKilled"):
        work.hoards.remote(500)


def test_an_image_that_is_nowhere_is_told(on_demand: Release, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(work.regular, "container_image", "localhost/no-such-image:1")
    monkeypatch.setattr(
        work.regular, "pod_template", {"spec": {"containers": [{"name": "actorq", "imagePullPolicy": "Never"}]}}
    )
    with pytest.warns(RuntimeWarning, match="ErrImageNeverPull"), pytest.raises(Exception, match="ErrImageNeverPull"):
        list(work.where.map(range(2)))


@pytest.mark.parametrize(
    ("values", "module", "call", "expected"),
    [
        ("model-volume", "model_volume_example", "m.score.map(['good day', 'bad idea'])", "[1, -1]"),
        ("sidecar", "sidecar_example", "m.shout.map(['a', 'b'])", "['A', 'B']"),
    ],
)
def test_the_examples_of_the_chart_run(values: str, module: str, call: str, expected: str, tmp_path: Path) -> None:
    other = Release()
    try:
        file = ROOT / f"charts/actorq/ci/{values}-values.yaml"
        other.install("--values", str(file))
        for manifest in yaml.safe_load(file.read_text())["extraObjects"]:
            for name, text in manifest["data"].items():
                (tmp_path / name).write_text(text)
        code = f"import {module} as m; print(list({call}))"
        told = os.environ | {"ACTORQ_REDIS_URL": other.redis_url(), "PYTHONPATH": str(tmp_path)}
        done = subprocess.run([sys.executable, "-c", code], env=told, capture_output=True, text=True, check=False)
        assert (done.stdout.strip(), done.returncode) == (expected, 0), done.stderr
    finally:
        other.close()
