"""Tasks of a program that uses OpenTelemetry: each process writes its spans into a file of its own."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Sequence
from pathlib import Path

from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExporter, SpanExportResult

from actorq import ActorEnvironment

#: where the spans go
FOLDER = "SPANS_OF_TEST"


class ToFile(SpanExporter):
    """A line of JSON for each span."""

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        with (Path(os.environ[FOLDER]) / str(os.getpid())).open("a") as file:
            for span in spans:
                file.write(json.dumps(json.loads(span.to_json())) + "\n")
        return SpanExportResult.SUCCESS


if FOLDER in os.environ:
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(ToFile()))
    trace.set_tracer_provider(provider)

env = ActorEnvironment("spans", replica_count=2)
tracer = trace.get_tracer("test")


@env.task
def inner(x: int) -> int:
    with tracer.start_as_current_span("of the task"):
        pass
    if x == 3:
        raise ValueError("no 3")
    return x


@env.task
async def awaited(x: int) -> int:
    await asyncio.sleep(0)
    return x
