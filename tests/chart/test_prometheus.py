"""A real Prometheus scrapes a real pool: every query of the dashboard has data, and every alert is understood."""

from __future__ import annotations

import json
import subprocess
import sys
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml

from tests.chart.rendering import run
from tests.chart.test_monitoring import alerts, queries
from tests.chart.tools import BIN
from tests.conftest import ROOT, Worker, eventually
from tests.support.code import tasks

PROMETHEUS = BIN / "prometheus"

pytestmark = pytest.mark.skipif(not PROMETHEUS.exists(), reason="no Prometheus here: `make tools` brings Debian's")

#: of data that only trouble makes: these queries may have none
QUIET = {"Values evicted A"}


def port_of(process: psutil.Process) -> int | None:
    """Where a process listens."""
    listening = [c for c in process.net_connections("tcp") if c.status == psutil.CONN_LISTEN]
    return int(listening[0].laddr.port) if listening else None


@pytest.fixture
def exporter(on_server: str) -> Iterator[int]:
    command = [sys.executable, "-m", "actorq.cli", "exporter", "--http-port", "0", "-u", on_server]
    with subprocess.Popen(command, cwd=ROOT, stderr=subprocess.DEVNULL) as process:
        assert eventually(lambda: port_of(psutil.Process(process.pid)))
        port = port_of(psutil.Process(process.pid))
        assert port is not None
        yield port
        process.terminate()


@pytest.fixture
def scraped(on_server: str, exporter: int, tmp_path: Path) -> Iterator[tuple[Worker, str]]:
    """A worker, and the address of a Prometheus that scrapes it and an exporter five times a second."""
    worker = Worker(on_server, replicas=2, http_port=0)
    worker.wait_ready(2)
    labels = {"namespace": "here", "pod": "p"}
    jobs = [
        {"job_name": name, "static_configs": [{"targets": [f"127.0.0.1:{port}"], "labels": labels}]}
        for name, port in (("replica", worker.http_port()), ("exporter", exporter))
    ]
    settings = {"global": {"scrape_interval": "200ms", "scrape_timeout": "200ms"}, "scrape_configs": jobs}
    (tmp_path / "prometheus.yml").write_text(yaml.safe_dump(settings))
    command = [
        *(str(PROMETHEUS), f"--config.file={tmp_path / 'prometheus.yml'}", f"--storage.tsdb.path={tmp_path / 'data'}"),
        "--web.listen-address=127.0.0.1:0",
    ]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:
        assert eventually(lambda: port_of(psutil.Process(process.pid)))
        yield worker, f"http://127.0.0.1:{port_of(psutil.Process(process.pid))}"
        process.terminate()
    worker.stop()


def ask(url: str, query: str) -> Any:
    """What Prometheus answers to a query."""
    with urllib.request.urlopen(f"{url}/api/v1/query?{urllib.parse.urlencode({'query': query})}", timeout=10) as reply:
        told = json.load(reply)
    assert told["status"] == "success", told
    return told["data"]["result"]


def test_every_query_has_data_and_every_alert_is_understood(scraped: tuple[Worker, str]) -> None:
    _, url = scraped
    run_ = tasks.double.spawn_map(range(20), map_id="scraped")
    run_.wait(timeout=30)
    list(tasks.uses_cache.map(range(50)))
    list(tasks.fails_at.map(range(6), return_exceptions=True))
    missing = {name: query for name, query in queries().items() if name not in QUIET}

    def seen() -> bool:
        list(tasks.uses_cache.map(range(50)))
        for name in [name for name, query in missing.items() if ask(url, query)]:
            del missing[name]
        return not missing

    assert eventually(seen), sorted(missing)
    for name in QUIET:
        ask(url, queries()[name])
    for expression in alerts().values():
        ask(url, expression)
    run_.delete()


def test_what_is_served_is_what_prometheus_likes(scraped: tuple[Worker, str], exporter: int) -> None:
    worker, _ = scraped
    for port in (worker.http_port(), exporter):
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as reply:
            served = reply.read().decode()
        done = run("promtool", "check", "metrics", text=served)
        assert done.returncode == 0, done.stdout + done.stderr
