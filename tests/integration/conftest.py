"""Fixtures for workers that serve the environments of `tests.support.code.hooked`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import Worker
from tests.support.code.hooked import Start


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """The file in which hooks, loads and inputs are noted."""
    return tmp_path / "log"


@pytest.fixture
def start(on_server: str, log: Path) -> Iterator[Start]:
    """Starts a worker of one replica: the variable that holds its environment, the name of that, a port for probes."""
    started: list[Worker] = []

    def begin(variable: str, environment: str, http_port: int | None = None) -> Worker:
        target, variables = f"tests.support.code.hooked:{variable}", {"HOOKED_LOG": str(log)}
        started.append(Worker(on_server, target, 1, http_port, environment, variables))
        return started[-1]

    yield begin
    for worker in started:
        worker.stop()
