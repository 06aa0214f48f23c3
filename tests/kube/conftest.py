"""A cluster of processes for every test that asks for one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from actorq.base.settings import settings
from tests.kube.fake import FakeCluster, fake_cluster
from tests.support.free_ports import free_port


@pytest.fixture
def cluster() -> Iterator[FakeCluster]:
    with fake_cluster() as cluster:
        yield cluster


@pytest.fixture
def on_cluster(
    on_server: str, cluster: FakeCluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[FakeCluster]:
    """This program as one that was told to make pods, with a server that they can reach over the network."""
    port = free_port()
    with redis.Redis.from_url(on_server) as client:
        client.config_set("bind", "127.0.0.1")
        client.config_set("port", str(port))
    monkeypatch.setenv("ACTORQ_REDIS_URL", f"redis://127.0.0.1:{port}/0")
    monkeypatch.setenv("KUBECONFIG", str(cluster.kubeconfig(tmp_path)))
    monkeypatch.setenv("ACTORQ_KUBERNETES_NAMESPACE", "test")
    settings.cache_clear()
    yield cluster
    from actorq.runtime.program import shutdown

    shutdown()


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pods that do not start are looked at at once, and given up soon."""
    for module in ("lookout", "regular"):
        monkeypatch.setattr(f"actorq.kube.{module}._LOOK_AFTER", 0.5)
        monkeypatch.setattr(f"actorq.kube.{module}._GIVE_UP_AFTER", 1.0)
