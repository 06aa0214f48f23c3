"""A chart release on the cluster of the current KUBECONFIG, in a namespace of its own.

The kubeconfig's user must be able to create and delete namespaces, and in those everything: what the chart installs
(Deployments, StatefulSets, Services, Secrets, ConfigMaps, accounts, budgets, network policies), Jobs, pods with their
logs, evictions and port-forwards, quotas, roles. Pods must find Services by name. Nodes need the images below, and no
volumes.

ACTORQ_TEST_IMAGE         image of actorq that the nodes have or can pull   (actorq:0.1.0)
ACTORQ_TEST_IMAGE_NEXT    another tag of it, for the rolling upgrade        (none: that test is skipped)
ACTORQ_TEST_HELM_ARGS     further arguments of `helm install`, for the bundled Redis's image for example
"""

from __future__ import annotations

import base64
import functools
import json
import os
import shlex
import shutil
import socket
import subprocess
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from actorq.base.settings import settings
from tests.conftest import ROOT, eventually
from tests.support.free_ports import free_port

IMAGE = os.environ.get("ACTORQ_TEST_IMAGE", "actorq:0.1.0")
NEXT_IMAGE = os.environ.get("ACTORQ_TEST_IMAGE_NEXT", "")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Loudly: these tests are for `make test-cluster`, and need a cluster."""
    here = str(Path(__file__).parent)
    reason = "needs a cluster: set KUBECONFIG and run `make test-cluster`"
    for item in items:
        if str(item.path).startswith(here):
            item.add_marker(pytest.mark.timeout(300))
            if not os.environ.get("ACTORQ_TEST_CLUSTER"):
                item.add_marker(pytest.mark.skip(reason=reason))


def tool(name: str) -> str:
    found = shutil.which(name) or str(ROOT / ".tools/bin" / name)
    assert Path(found).exists(), f"{name} is missing: make tools"
    return found


class Release:
    """A chart release in its own namespace."""

    def __init__(self) -> None:
        _check_kubeconfig()
        self.namespace = f"actorq-test-{uuid.uuid4().hex[:6]}"
        self.kubectl("create", "namespace", self.namespace, namespaced=False)
        self._forwards: list[subprocess.Popen[bytes]] = []

    def run(self, *command: str, check: bool = True) -> str:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert not check or done.returncode == 0, f"{shlex.join(command)}\n{done.stdout}{done.stderr}"
        return done.stdout

    def kubectl(self, *arguments: str, namespaced: bool = True, check: bool = True) -> str:
        where = ["-n", self.namespace] if namespaced else []
        return self.run(tool("kubectl"), *where, *arguments, check=check)

    def helm(self, *arguments: str, helm: str = "helm4") -> str:
        return self.run(tool(helm), "-n", self.namespace, *arguments)

    def install(self, *arguments: str) -> None:
        repository, _, tag = IMAGE.rpartition(":")
        more = shlex.split(os.environ.get("ACTORQ_TEST_HELM_ARGS", ""))
        options = ["--set", f"image.repository={repository}", "--set", f"image.tag={tag}"]
        options += ["--set", "redis.persistence.enabled=false", "--wait", "--timeout", "180s"]
        self.helm("install", "rel", str(ROOT / "charts/actorq"), *options, *more, *arguments)

    def upgrade(self, *arguments: str) -> None:
        self.helm("upgrade", "rel", str(ROOT / "charts/actorq"), "--reset-then-reuse-values", *arguments)

    def restore(self) -> None:
        """As it was installed: two replicas of the first image."""
        changed = ["--set", "environments.hello.replicas=2", "--set", f"image.tag={IMAGE.rpartition(':')[2]}"]
        self.upgrade(*changed, "--wait", "--timeout", "120s")

    def json(self, *arguments: str) -> Any:
        return json.loads(self.kubectl(*arguments, "-o", "json"))

    def pods(self, selector: str = "app.kubernetes.io/component=replica") -> list[Any]:
        alive = self.json("get", "pods", "-l", selector)["items"]
        return [pod for pod in alive if not pod["metadata"].get("deletionTimestamp")]

    def ready(self, selector: str = "app.kubernetes.io/component=replica") -> int:
        return sum(
            any(c["type"] == "Ready" and c["status"] == "True" for c in pod["status"].get("conditions", []))
            for pod in self.pods(selector)
        )

    def evict(self, pod: str) -> None:
        """As `kubectl drain` does it, one pod."""
        eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": pod}}
        path = f"/api/v1/namespaces/{self.namespace}/pods/{pod}/eviction"
        command = [tool("kubectl"), "create", "--raw", path, "-f", "-"]
        subprocess.run(command, input=json.dumps(eviction), text=True, check=True, capture_output=True)

    def redis_url(self) -> str:
        """The server through a port-forward."""
        return self._url("url", self.forward("rel-actorq-redis", 6379))

    def forward(self, service: str, port: int) -> int:
        """The port of this machine that leads to that of a service."""
        here = free_port()
        command = [tool("kubectl"), "-n", self.namespace, "port-forward", f"svc/{service}", f"{here}:{port}"]
        self._forwards.append(subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL))
        assert eventually(lambda: _listens(here), timeout=30)
        return here

    def _url(self, key: str, port: int) -> str:
        """An address out of the release's Secret, through the port-forward."""
        url = base64.b64decode(self.json("get", "secret", "rel-actorq-redis")["data"][key]).decode()
        return f"{url.partition('@')[0]}@127.0.0.1:{port}/0"

    def acl_url(self, redis_url: str) -> str:
        return self._url("acl-url", int(redis_url.rpartition(":")[2].partition("/")[0]))

    def close(self) -> None:
        for forward in self._forwards:
            forward.terminate()
            forward.wait()
        self.kubectl("delete", "namespace", self.namespace, "--wait=false", namespaced=False, check=False)


@functools.cache
def _check_kubeconfig() -> None:
    """Ends the run with a sentence where the kubeconfig cannot do, instead of one test after the other."""
    for verb, what, where in (("create", "namespaces", []), ("*", "*", ["--namespace", "actorq-test"])):
        asked = [tool("kubectl"), "auth", "can-i", verb, what, *where]
        told = subprocess.run(asked, capture_output=True, text=True, check=False)
        if told.stdout.strip() != "yes":
            why = told.stderr.strip() or f"its user may not {verb} {what}"
            pytest.exit(
                f"This kubeconfig cannot run the cluster's tests: {why}. tests/cluster/conftest.py says more.", 2
            )


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture(scope="session")
def release() -> Iterator[Release]:
    release = Release()
    try:
        release.install()
        yield release
    finally:
        release.close()


@pytest.fixture(scope="session")
def redis_url(release: Release) -> str:
    return release.redis_url()


@pytest.fixture
def connected(release: Release, redis_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Release]:
    """This program as one that uses the release's replicas."""
    from actorq.runtime import program as runtime_module
    from actorq.runtime.program import shutdown

    aside, runtime_module._current = runtime_module._current, None
    monkeypatch.setenv("ACTORQ_REDIS_URL", redis_url)
    settings.cache_clear()
    yield release
    shutdown()
    release.restore()
    runtime_module._current = aside
    monkeypatch.undo()
    settings.cache_clear()


@pytest.fixture
def on_demand(connected: Release, redis_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Release]:
    """The same, and pods are made in the release's namespace."""
    monkeypatch.setenv("ACTORQ_KUBERNETES_NAMESPACE", connected.namespace)
    monkeypatch.setenv("ACTORQ_POD_REDIS_URL", "redis://rel-actorq-redis:6379/0")
    monkeypatch.setenv("ACTORQ_ACL_URL", connected.acl_url(redis_url))
    settings.cache_clear()
    yield connected
    began = time.monotonic()
    while time.monotonic() - began < 60 and connected.pods("app.kubernetes.io/component=task"):
        time.sleep(0.5)
