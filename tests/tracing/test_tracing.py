"""OpenTelemetry: a trace goes with the leases, each input is a span of it, and nobody who does not use it pays."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("opentelemetry.sdk", reason="traces are tested by `make test-extras`, which installs OpenTelemetry")

from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

import actorq.testing
from actorq import ActorEnvironment, DeclarationError
from actorq.base import tracing
from tests.conftest import ROOT, run_script
from tests.support.code import tasks

env = ActorEnvironment("traced-inline")


@env.task
def double(x: int) -> int:
    if x == 2:
        raise ValueError("no 2")
    return 2 * x


@pytest.fixture
def spans(monkeypatch: pytest.MonkeyPatch) -> InMemorySpanExporter:
    """What this program records."""
    kept = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(kept))
    monkeypatch.setattr(trace, "get_tracer", provider.get_tracer)
    return kept


def test_each_input_is_a_span_of_its_map_and_that_of_the_callers(spans: InMemorySpanExporter) -> None:
    with actorq.testing.inline(), trace.get_tracer("test").start_as_current_span("caller"):
        handle = double.map([1, 2, 3], map_id="traced", return_exceptions=True)
        handle.results()
        handle.close()
    found = {span.name: span for span in spans.get_finished_spans()}
    caller, map_ = found["caller"], found[f"map {double.name}"]
    assert map_.parent is not None
    assert map_.parent.span_id == caller.context.span_id
    assert map_.attributes is not None
    told = {key: map_.attributes[f"actorq.{key}"] for key in ("map", "done", "failed")}
    assert told == {"map": "traced", "done": 3, "failed": 1}
    inputs = [span for span in spans.get_finished_spans() if span.name == double.name]
    assert len(inputs) == 3
    assert {span.parent.span_id for span in inputs if span.parent} == {map_.context.span_id}
    assert {span.context.trace_id for span in inputs} == {caller.context.trace_id}
    assert sorted(span.status.status_code.name for span in inputs) == ["ERROR", "UNSET", "UNSET"]


def test_a_map_that_cannot_begin_ends_its_span(spans: InMemorySpanExporter) -> None:
    with actorq.testing.inline(), pytest.raises(DeclarationError):
        double.map(3)  # type: ignore[call-overload]
    assert spans.get_finished_spans()
    assert all(span.end_time for span in spans.get_finished_spans())


SCRIPT = """
    import asyncio
    from opentelemetry import trace
    from tests.tracing import spans

    if __name__ == "__main__":
        with spans.tracer.start_as_current_span("caller"):
            spans.inner.map(range(6), map_id="traced", return_exceptions=True).results()
            spans.awaited.map(range(2)).results()
            spans.inner.remote(1)
"""


def test_spans_of_replicas_belong_to_the_trace_of_the_program(tmp_path: Path) -> None:
    folder = tmp_path / "spans"
    folder.mkdir()
    assert run_script(tmp_path, SCRIPT, SPANS_OF_TEST=str(folder)) == ""
    found: list[dict[str, Any]] = [
        json.loads(line) for file in folder.iterdir() for line in file.read_text().splitlines()
    ]
    assert len({span["context"]["trace_id"] for span in found}) == 1
    names = [span["name"].rpartition(".")[2] for span in found]
    assert {name: names.count(name) for name in set(names)} == {
        "caller": 1, "inner": 8, "awaited": 3, "of the task": 7
    }  # fmt: skip  # "inner" and "awaited" are the maps' spans, too
    inputs = [span for span in found if span["name"] == "tests.tracing.spans.inner"]
    of_map = [span["attributes"] for span in inputs if span["attributes"].get("actorq.map") == "traced"]
    assert sorted(told["actorq.index"] for told in of_map) == list(range(6))
    assert all("actorq.replica" in told for told in of_map)
    above = {span["context"]["span_id"]: span["name"] for span in found}
    parents = [above[span["parent_id"]] for span in inputs]
    assert sorted(set(parents)) == ["caller", "map tests.tracing.spans.inner"]
    assert parents.count("caller") == 1  # the call
    assert {above[span["parent_id"]] for span in found if span["name"] == "of the task"} == {
        "tests.tracing.spans.inner"
    }


def test_nothing_here_imports_it_for_who_does_not() -> None:
    """redis-py does, where it is installed; that is why this looks no further than at what actorq does."""
    code = (
        "import sys, actorq\nfrom actorq.base import tracing\n"
        "assert tracing.context() == tracing.MapSpan('t', 'm').traceparent == ''\n"
        "assert not [name for name in sys.modules if name.startswith('opentelemetry')]"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, cwd=ROOT, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("parent", ["", "00-1-2-3", "x" * 55, "00-" + "g" * 32 + "-" + "0" * 16 + "-01"])
def test_a_parent_that_is_none_changes_nothing(parent: str) -> None:
    assert tracing.traced(tasks.double.function, parent, "t") is tasks.double.function
