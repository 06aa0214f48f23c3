"""Fixtures for workers that serve the environments of `tests.support.code.hooked`, and for runs that go in steps."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Worker
from tests.support.code.hooked import Start
from tests.support.run_steps import MakeSteps, RunSteps


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


@pytest.fixture
def steps(server: str) -> Iterator[MakeSteps]:
    """Makes a run on a server of this test's own."""
    made: list[RunSteps] = []

    def make(fails: Callable[[Any], bool] = lambda _: False, **asked: Any) -> RunSteps:
        made.append(RunSteps(server, fails, **asked))
        return made[-1]

    yield make
    for each in made:
        each.close()
