"""What the API server may do to us: each a clear message, or tried again; never a hang."""

from __future__ import annotations

import shutil
import ssl
import subprocess
import threading
import time
import warnings
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from kubernetes import client

from actorq import DeclarationError
from actorq.kube.api import KubeApi, KubernetesError
from tests.kube.apiserver import Fault
from tests.kube.fake import FakeCluster

SECRET = {"metadata": {"name": "s"}, "stringData": {}}


def test_objects_are_made_found_changed_and_deleted(cluster: FakeCluster) -> None:
    api = cluster.api()
    api.create("secrets", {"metadata": {"name": "s", "labels": {"a": "b"}}})
    api.patch("secrets", "s", {"metadata": {"annotations": {"x": "y"}}})
    assert api.list("secrets", labels={"a": "b"})[0]["metadata"]["annotations"]["x"] == "y"
    assert api.list("secrets", labels={"a": "c"}) == []
    assert api.delete("secrets", "s")
    assert api.get("secrets", "s") is None
    assert not api.delete("secrets", "s")


def test_a_missing_permission_is_named(cluster: FakeCluster) -> None:
    said = 'deployments.apps is forbidden: User "ann" cannot create resource "deployments" in API group "apps"'
    cluster.faults.append(Fault(403, said))
    with pytest.raises(
        KubernetesError, match=r"ann may not create deployments in namespace .test.*Role with that verb"
    ):
        cluster.api().create("deployments", SECRET)


def test_a_used_up_quota_is_named(cluster: FakeCluster) -> None:
    cluster.faults.append(Fault(403, 'pods "p" is forbidden: exceeded quota: small, requested: pods=1'))
    with pytest.raises(KubernetesError, match="quota of namespace 'test' is used up"):
        cluster.api().create("pods", SECRET)


def test_a_missing_namespace_is_named(cluster: FakeCluster) -> None:
    cluster.faults.append(Fault(404, 'namespaces "test" not found'))
    with pytest.raises(KubernetesError, match="is there a namespace 'test'"):
        cluster.api().create("jobs", SECRET)


def test_an_invalid_manifest_is_told_in_the_clusters_words(cluster: FakeCluster) -> None:
    cluster.faults.append(Fault(422, "spec.template.spec.containers[0].image: Required value"))
    with pytest.raises(KubernetesError, match=r"takes this for invalid: cannot create jobs s .*Required value"):
        cluster.api().create("jobs", SECRET)


def test_a_refused_login_says_what_to_do(cluster: FakeCluster) -> None:
    cluster.faults.append(Fault(401, "Unauthorized"))
    with pytest.raises(KubernetesError, match="refuses the login"):
        cluster.api().list("pods")


def test_a_name_that_is_taken_is_a_conflict(cluster: FakeCluster) -> None:
    api = cluster.api()
    api.create("secrets", SECRET)
    with pytest.raises(KubernetesError) as caught:
        api.create("secrets", SECRET)
    assert caught.value.status == 409


@pytest.mark.parametrize("status", [429, 500, 503, 504])
def test_a_busy_server_is_asked_again(cluster: FakeCluster, status: int) -> None:
    cluster.faults.extend([Fault(status, "busy"), Fault(status, "busy")])
    assert cluster.api().list("pods") == []
    assert len(cluster.requests) == 3


def test_the_pause_a_server_asks_for_is_kept(cluster: FakeCluster) -> None:
    cluster.faults.append(Fault(429, "too many requests", {"Retry-After": "1"}))
    began = time.monotonic()
    assert cluster.api().list("pods") == []
    assert time.monotonic() - began >= 1


def test_a_connection_that_is_cut_is_asked_again(cluster: FakeCluster) -> None:
    cluster.faults.append(Fault(0))
    assert cluster.api().list("pods") == []


def test_a_creation_whose_answer_was_lost_is_no_conflict(cluster: FakeCluster) -> None:
    cluster.faults.append(Fault(0, method="POST", after=True))
    assert cluster.api().create("secrets", SECRET)["metadata"]["uid"]
    assert len(cluster.of_kind("secrets")) == 1


def test_a_name_that_another_took_while_our_answer_was_lost_is_a_conflict(cluster: FakeCluster) -> None:
    cluster.api().create("secrets", SECRET)
    cluster.faults.append(Fault(503, "busy", method="POST"))
    with pytest.raises(KubernetesError) as caught:
        cluster.api().create("secrets", SECRET)
    assert caught.value.status == 409


def test_a_long_list_is_read_to_its_end(cluster: FakeCluster) -> None:
    cluster.page = 2
    for number in range(5):
        cluster.api().create("secrets", {"metadata": {"name": f"s{number}"}})
    assert [s["metadata"]["name"] for s in cluster.api().list("secrets")] == [f"s{number}" for number in range(5)]


def test_a_part_is_replaced_as_a_whole(cluster: FakeCluster) -> None:
    api = cluster.api()
    api.create("secrets", {"metadata": {"name": "s"}, "data": {"a": "1", "b": "2"}})
    api.replace("secrets", "s", "/data", {"b": "3"})
    assert api.list("secrets")[0]["data"] == {"b": "3"}


def test_one_request_takes_no_longer_than_its_patience(cluster: FakeCluster, monkeypatch: pytest.MonkeyPatch) -> None:
    api = cluster.api(patience=0.2)
    asked: list[Any] = []
    call = api._client.call_api

    def call_api(*args: Any, **options: Any) -> Any:
        asked.append(options["_request_timeout"])
        return call(*args, **options)

    monkeypatch.setattr(api._client, "call_api", call_api)
    for patience in (0.2, 3.0, 60.0):
        api.patience = patience
        api.list("pods")
    assert asked == [1.0, 3.0, 15.0]


def test_a_server_that_stays_away_ends_in_a_message(cluster: FakeCluster) -> None:
    api = cluster.api(patience=0.3)
    cluster.faults.extend([Fault(503, "starting")] * 100)
    with pytest.raises(KubernetesError, match="the cluster answers 503: starting"):
        api.list("pods")


def test_a_server_that_is_not_there_ends_in_a_message() -> None:
    from kubernetes import client

    api = KubeApi("n", configuration=client.Configuration(host="http://127.0.0.1:1"), patience=0.1)
    with pytest.raises(KubernetesError, match=r"does not answer .*is the cluster up"):
        api.list("pods")


def test_no_cluster_at_all_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBECONFIG", "/nowhere/config")
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    with pytest.raises(DeclarationError, match="no cluster is configured"):
        KubeApi("n")


def test_importing_actorq_does_not_import_the_client() -> None:
    import subprocess
    import sys

    ours = "actorq, actorq.replica.executor.executor, actorq.replica.supervisor.registrar"
    code = f"import sys, {ours}; print('kubernetes' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"


@pytest.fixture
def unverified(tmp_path: Path) -> Iterator[str]:
    """The address of an API server whose certificate nobody knows."""
    if (openssl := shutil.which("openssl")) is None:
        pytest.skip("makes a certificate with openssl")
    files = [str(tmp_path / name) for name in ("key.pem", "cert.pem")]
    made = [openssl, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=api", "-days", "1"]
    subprocess.run([*made, "-keyout", files[0], "-out", files[1]], check=True, capture_output=True)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b'{"items": []}')

        def log_message(self, *args: Any) -> None:
            pass

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(files[1], files[0])
    server = HTTPServer(("127.0.0.1", 0), Handler)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    yield f"https://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()
    thread.join()


def test_a_server_that_is_not_verified_is_told_once_and_not_with_every_request(unverified: str) -> None:
    configuration = client.Configuration(host=unverified)
    configuration.verify_ssl = False
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        for _ in range(2):
            api = KubeApi("test", configuration=configuration, patience=5)
            assert api.list("pods") == api.list("jobs") == []
            api.close()
    (told,) = [str(each.message) for each in seen]
    assert "insecure-skip-tls-verify" in told
    assert unverified in told
