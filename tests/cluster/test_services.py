"""What a release has beside its replicas: the page, the exporter, and drivers for runs whose script is gone."""

from __future__ import annotations

import base64
import re
import subprocess
import sys
import urllib.error
import urllib.request

import pytest

import actorq
from tests.cluster.conftest import Release
from tests.conftest import eventually

_SCRIPT = """
import sys, time
from actorq import hello
hello.nap.spawn_map([0.05] * 400, map_id=sys.argv[1])
print("begun", flush=True)
time.sleep(600)
"""


@pytest.fixture
def served(connected: Release) -> Release:
    """The release with its page and its exporter."""
    connected.upgrade("--set", "monitor.enabled=true,metrics.exporter.enabled=true", "--wait", "--timeout", "120s")
    return connected


def _get(url: str, token: str = "") -> tuple[int, str]:
    request = urllib.request.Request(url)
    if token:
        request.add_header("Authorization", "Basic " + base64.b64encode(f":{token}".encode()).decode())
    try:
        with urllib.request.urlopen(request, timeout=10) as reply:
            return reply.status, reply.read().decode()
    except urllib.error.HTTPError as refused:
        return refused.code, ""


def test_the_page_shows_the_replicas_to_who_has_the_token_of_its_log(served: Release) -> None:
    found = re.search(r"Token: (\S+)", served.kubectl("logs", "deployment/rel-actorq-monitor"))
    assert found
    url = f"http://localhost:{served.forward('rel-actorq-monitor', 8080)}/replicas"
    assert _get(url)[0] == 401
    pods = [pod["metadata"]["name"] for pod in served.pods()]
    assert pods
    assert eventually(lambda: all(pod in _get(url, found[1])[1] for pod in pods))


def test_the_exporter_counts_the_replicas(served: Release) -> None:
    url = f"http://localhost:{served.forward('rel-actorq-exporter', 9090)}/metrics"
    assert eventually(lambda: 'actorq_live_replicas{environment="hello",state="idle"} 2.0' in _get(url)[1], timeout=30)


def test_a_run_whose_script_is_killed_is_completed_by_the_pods(connected: Release) -> None:
    name = f"run-{connected.namespace}"
    with subprocess.Popen([sys.executable, "-c", _SCRIPT, name], stdout=subprocess.PIPE) as script:
        assert script.stdout is not None
        begun = script.stdout.readline()
        script.kill()
    assert begun == b"begun\n"
    run = actorq.attach(name)
    assert run.wait(timeout=120) == "done"
    assert list(run) == [0.05] * 400
    run.delete()
