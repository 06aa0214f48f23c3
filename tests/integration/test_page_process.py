"""The monitor as a process of its own: it ends when it is told to, and does no more than its key lets it."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from actorq.base.settings import settings
from tests.conftest import ROOT, Worker, eventually
from tests.support.code import tasks
from tests.support.served_page import TOKEN
from tests.support.server_steps import Asked

KEY = "0123456789abcdef"


@contextmanager
def monitored(url: str, *options: str, **variables: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """The process, which answers, and its address."""
    command = [sys.executable, "-m", "actorq.cli", "monitor", "-u", url, "--port", "0", *options]
    environment = {name: value for name, value in os.environ.items() if name != "ACTORQ_SIGNING_KEY"} | variables
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, cwd=ROOT, env=environment)
    assert process.stderr is not None
    try:
        line = process.stderr.readline()
        address = re.search(r"http://127.0.0.1:\d+", line)
        assert address is not None, line
        assert eventually(lambda: _answers(address[0]))
        yield process, address[0]
    finally:
        process.kill()
        process.wait()
        process.stderr.close()


def _answers(address: str) -> bool:
    try:
        return httpx.get(f"{address}/livez").status_code == 200
    except httpx.TransportError:
        return False


def test_sigterm_ends_it_at_once_though_somebody_reads(asked: Asked) -> None:
    with monitored(asked.link.url) as (process, address):
        with httpx.Client(base_url=address) as client, client.stream("GET", "/live/overview") as reply:
            lines = reply.iter_lines()
            next(lines)
            process.send_signal(signal.SIGTERM)
            assert process.wait(10) == 0
            list(lines)
        assert process.stderr is not None
        assert process.stderr.read() == ""


def test_sigterm_ends_it_though_the_server_is_silent(asked: Asked) -> None:
    pid = int(asked.client.info("server")["process_id"])
    with monitored(asked.link.url) as (process, _):
        try:
            os.kill(pid, signal.SIGSTOP)
            process.send_signal(signal.SIGTERM)
            assert process.wait(20) == 0
        finally:
            os.kill(pid, signal.SIGCONT)


def retried(address: str) -> str:
    """What the monitor says to somebody who wants to retry the run `signed`."""
    return httpx.post(f"{address}/do/retry", data={"name": "signed"}, auth=("", TOKEN)).text


def test_a_signed_run_is_shown_without_the_key_and_is_retried_only_with_it(
    on_server: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "token").write_text(TOKEN)
    options = ("--allow-actions", "--token-file", str(tmp_path / "token"))
    monkeypatch.setenv("ACTORQ_SIGNING_KEY", KEY)
    settings.cache_clear()
    worker = Worker(on_server, replicas=1)
    try:
        worker.wait_ready(1)
        run = tasks.fails_at.spawn_map(range(7), map_id="signed", return_exceptions=True)
        assert run.wait(60) == "done"
        with monitored(on_server, *options) as (_, address):
            assert eventually(lambda: "ValueError" in httpx.get(f"{address}/work?id=signed").text)
            assert "Run &#39;signed&#39; is signed: set ACTORQ_SIGNING_KEY" in retried(address)
            assert run.state == "done"
        with monitored(on_server, *options, ACTORQ_SIGNING_KEY=KEY) as (_, address):
            assert retried(address) == "Run signed: 1 input that failed runs again, and what never ran.\n"
        assert run.wait(60) == "done"
        run.delete()
    finally:
        worker.stop()
