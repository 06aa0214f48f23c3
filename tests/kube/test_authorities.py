"""A server with a private certificate authority: pods check it against what this program was given."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from actorq import DeclarationError
from actorq.base.settings import Settings, settings
from actorq.kube.address import PodAddress
from actorq.runtime.program import shutdown
from tests.conftest import ROOT, eventually
from tests.kube.fake import FakeCluster
from tests.support.code import pods


@pytest.fixture
def authority(tmp_path: Path) -> Path:
    """A certificate for this machine that nobody but its owner knows, and its key beside it."""
    if (openssl := shutil.which("openssl")) is None:
        pytest.skip("makes a certificate with openssl")
    certificate = tmp_path / "private.crt"
    made = [openssl, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=private", "-days", "1"]
    made += ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(certificate.with_suffix(".key"))]
    subprocess.run([*made, "-out", str(certificate)], check=True, capture_output=True)
    return certificate


@pytest.fixture
def over_tls(on_cluster: FakeCluster, authority: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeCluster]:
    """This program as one whose server speaks TLS, with that certificate."""
    port = urlsplit(settings().redis_url or "").port
    command = [
        sys.executable,
        "-m",
        "tests.kube.tls_front",
        str(port),
        str(authority),
        str(authority.with_suffix(".key")),
    ]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as front:
        assert front.stdout is not None
        monkeypatch.setenv("ACTORQ_REDIS_URL", f"rediss://127.0.0.1:{front.stdout.readline().strip()}/0")
        monkeypatch.setenv("ACTORQ_REDIS_CA_FILE", str(authority))
        settings.cache_clear()
        yield on_cluster
        shutdown()
        front.kill()


def test_replicas_and_the_keeper_of_their_pool_trust_the_private_authority(
    over_tls: FakeCluster, authority: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pods.pool, "ttl_seconds", 2)
    assert sorted(x for x, _ in pods.warm.map(range(20))) == list(range(20))
    assert over_tls.secret("actorq-pool-pods")["redis-ca.crt"] == authority.read_text(encoding="utf-8")
    assert eventually(lambda: not over_tls.objects, timeout=25)  # its keeper has seen that nobody uses it


def test_pods_of_regular_tasks_trust_the_private_authority(over_tls: FakeCluster) -> None:
    assert sorted(x for x, _ in pods.pid.map(range(3))) == [0, 1, 2]


def test_pods_get_it_also_where_their_address_is_in_a_secret_of_the_users(authority: Path) -> None:
    given = Settings(redis_ca_file=str(authority), redis_secret="mine/url")
    address = PodAddress.of(given, "redis://h/0")
    secret = address.secret_manifest("ours", {})
    assert secret is not None
    assert list(secret["data"]) == ["redis-ca.crt"]
    assert [(each.variable, each.secret) for each in address.secrets("ours", signing=False)] == [
        ("ACTORQ_REDIS_URL", "mine"),
        ("ACTORQ_REDIS_CA", "ours"),
    ]


def test_pods_that_do_not_speak_tls_get_none() -> None:
    given = Settings(redis_ca_file="/no/such/file", pod_redis_url="redis://within/0")
    address = PodAddress.of(given, "rediss://h/0")
    assert address.authorities is None
    assert [each.variable for each in address.secrets("ours")] == ["ACTORQ_REDIS_URL"]


def test_certificates_that_cannot_be_read_are_told(tmp_path: Path) -> None:
    with pytest.raises(DeclarationError, match=r"ACTORQ_REDIS_CA_FILE names .*No such file"):
        PodAddress.of(Settings(redis_ca_file=str(tmp_path / "none")), "rediss://h/0")
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    with pytest.raises(DeclarationError, match=r"ACTORQ_REDIS_CA_FILE names .*no text"):
        PodAddress.of(Settings(redis_ca_file=str(tmp_path / "binary")), "rediss://h/0")
