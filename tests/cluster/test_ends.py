"""On a real cluster, too, everything ends by itself, and why nothing begins is told."""

from __future__ import annotations

import json
import time
import warnings
from typing import Any

import pytest

from actorq import PoolError
from actorq.base.settings import settings
from actorq.kube import jobs
from actorq.kube.address import PodAddress
from actorq.kube.api import KubeApi
from actorq.kube.pods import pod_template
from tests.cluster import work
from tests.cluster.conftest import Release
from tests.conftest import eventually

OURS = ("get", "deployments,jobs,secrets,pods", "-l", "app.kubernetes.io/managed-by=actorq", "-o", "name")


def left(release: Release) -> str:
    return release.kubectl(*OURS)


@pytest.fixture(autouse=True)
def empty(on_demand: Release) -> None:
    """What the tests before have made goes with its TTL."""
    assert eventually(lambda: left(on_demand) == "", timeout=150)


def test_a_pool_whose_image_cannot_be_pulled_ends_although_its_maker_was_killed(
    on_demand: Release, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(work.nowhere, "ttl_seconds", 10)
    monkeypatch.setattr("actorq.kube.keeping._STARTING_SECONDS", 20.0)
    work.nowhere.up()  # and that is the last that is heard of this program
    assert eventually(lambda: "no-such-image" in work.nowhere.status().trouble, timeout=60)
    assert "job.batch/actorq-nowhere-keeper" in left(on_demand)
    assert eventually(lambda: left(on_demand) == "", timeout=120)


def test_a_map_removes_the_pool_that_it_made_and_that_could_not_start(on_demand: Release) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises(PoolError, match=r"no-such-image(?s:.)*has been removed again"):
            list(work.never.map(range(3)))
    assert eventually(lambda: left(on_demand) == "", timeout=60)


def test_a_pool_whose_server_is_gone_for_good_ends(on_demand: Release, monkeypatch: pytest.MonkeyPatch) -> None:
    pod = "redis-of-its-own"
    server: Any = on_demand.json("get", "statefulset", "rel-actorq-redis")["spec"]["template"]["spec"]["containers"][0]
    command = [*server["command"], "--protected-mode", "no", "--user", "actorq", "on", "nopass", "~*", "&*", "+@all"]
    container = {"name": pod, "image": server["image"], "command": command}
    overrides = json.dumps({"apiVersion": "v1", "spec": {"containers": [container]}})
    on_demand.kubectl("run", pod, f"--image={server['image']}", "--restart=Never", f"--overrides={overrides}")
    on_demand.kubectl("wait", "pod", pod, "--for=condition=Ready", "--timeout=60s")
    address = on_demand.json("get", "pod", pod)["status"]["podIP"]
    monkeypatch.setenv("ACTORQ_POD_REDIS_URL", f"redis://{address}:6379/0")
    idle = work.doomed.ttl_seconds or 0
    monkeypatch.setattr("actorq.kube.keeping.AWAY_SECONDS", idle + 15.0)
    settings.cache_clear()
    work.doomed.up()
    assert eventually(lambda: work.doomed.status().ready == 1, timeout=90)
    on_demand.kubectl("delete", "pod", pod, "--now")  # a server that cannot save would serve for its grace period
    began = time.monotonic()
    assert eventually(lambda: left(on_demand) == "", timeout=150)
    assert time.monotonic() - began > idle  # so it was not for being idle


def test_a_job_of_a_submitter_that_was_killed_ends_whether_it_was_let_go_or_not(
    on_demand: Release, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jobs, "ALONE_SECONDS", 15.0)
    monkeypatch.setattr(jobs, "_TTL", 0)
    address = PodAddress(url="redis://nowhere:1/0")
    for name, parallelism in (("orphan", 2), ("half-made", 0)):
        labels = {"app.kubernetes.io/managed-by": "actorq"}
        template = pod_template(
            work.nowhere, labels=labels, command=["x"], env=[], secrets=address.secrets(name), grace_seconds=1
        )
        template["spec"]["restartPolicy"] = "Never"
        secret = address.secret_manifest(name, labels)
        assert secret is not None
        job = jobs.indexed_job(name, {"labels": labels}, template, completions=3)
        jobs.start(KubeApi(on_demand.namespace), job, secret, parallelism=parallelism)
    assert eventually(lambda: left(on_demand).count("pod/orphan-") == 2, timeout=30)
    assert "pod/half-made" not in left(on_demand)
    assert eventually(lambda: left(on_demand) == "", timeout=90)


def test_a_release_in_a_crash_loop_is_told_with_its_last_words(on_demand: Release) -> None:
    on_demand.upgrade("--set", "environments.broken.target=no_such_module:env")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with pytest.raises(PoolError, match=r"CrashLoopBackOff(?s:.)*No module named 'no_such_module'"):
                list(work.broken_too.map(range(3)))
        on_demand.upgrade("--set", "environments.broken.replicas=0")
        with warnings.catch_warnings(record=True) as seen:
            warnings.simplefilter("always")
            handle = work.broken_too.map(range(3))
            assert eventually(lambda: any("environments.broken.replicas=1" in str(each.message) for each in seen), 15)
            handle.close()
    finally:
        on_demand.upgrade("--set", "environments.broken=null")


def test_a_quota_that_another_map_uses_up_is_waited_for(on_demand: Release) -> None:
    first = work.slow.submit(20.0)
    assert eventually(lambda: len(on_demand.pods("app.kubernetes.io/component=task")) == 1, timeout=60)
    pods = len(on_demand.json("get", "pods")["items"])
    on_demand.kubectl("create", "quota", "small", f"--hard=pods={pods}")
    try:
        with warnings.catch_warnings(record=True) as seen:
            warnings.simplefilter("always")
            assert work.slow.remote(0.1) > 0
        told = [str(each.message) for each in seen if "quota" in str(each.message)]
        assert len(told) == 1
        assert first.done()
    finally:
        on_demand.kubectl("delete", "quota", "small")
