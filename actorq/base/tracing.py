"""OpenTelemetry, where the program uses it: a trace goes with the leases, and each input is a span of it.

The one idea: nothing here makes a program import OpenTelemetry. A submitter that has imported it and is in a span hands
that on; a replica that is handed one imports it. What is done with spans is for the code of the user to say.
"""

from __future__ import annotations

import functools
import inspect
import re
import sys
from collections.abc import Callable
from typing import Any

from actorq.base.log import running

#: as W3C writes the context of a span
_PARENT = re.compile(r"00-(?P<trace>[0-9a-f]{32})-(?P<span>[0-9a-f]{16})-(?P<flags>[0-9a-f]{2})", re.ASCII)
#: what the spans are made by
_NAME = "actorq"


def context() -> str:
    """The span in which the caller is, as a `traceparent`; "" for none."""
    if "opentelemetry.trace" not in sys.modules:
        return ""
    from opentelemetry import trace

    return _told(trace.get_current_span())


class MapSpan:
    """That of a map, from its start to its end.

    Args:
        task: the name of its task.
        map_id: its own.
    """

    def __init__(self, task: str, map_id: str) -> None:
        self._span: Any = None
        self.traceparent = ""
        if "opentelemetry.trace" in sys.modules:
            from opentelemetry import trace

            attributes = {"actorq.task": task, "actorq.map": map_id}
            self._span = trace.get_tracer(_NAME).start_span(f"map {task}", attributes=attributes)
            self.traceparent = _told(self._span)

    def end(self, error: BaseException | None, done: int, failed: int) -> None:
        """The map is over: what has ended it, and how many of its inputs are done and have failed."""
        if not self.traceparent:
            return
        from opentelemetry.trace import Status, StatusCode

        self._span.set_attributes({"actorq.done": done, "actorq.failed": failed})
        if error is not None:
            self._span.record_exception(error)
            self._span.set_status(Status(StatusCode.ERROR, f"{type(error).__name__}: {error}"))
        self._span.end()


def traced(function: Callable[..., Any], parent: str, task: str) -> Callable[..., Any]:
    """The function, each call of which is a span below `parent`; itself where there is no OpenTelemetry here."""
    found = _PARENT.fullmatch(parent)
    if found is None:
        return function
    try:
        from opentelemetry import trace
    except ImportError:
        return function
    tracer = trace.get_tracer(_NAME)
    above = trace.set_span_in_context(
        trace.NonRecordingSpan(
            trace.SpanContext(
                trace_id=int(found["trace"], 16),
                span_id=int(found["span"], 16),
                is_remote=True,
                trace_flags=trace.TraceFlags(int(found["flags"], 16)),
            )
        )
    )

    def span() -> Any:
        attributes = {f"actorq.{key}": value for key, value in running().items() if value is not None}
        kind = trace.SpanKind.CONSUMER
        return tracer.start_as_current_span(task, context=above, kind=kind, attributes=attributes)

    if inspect.iscoroutinefunction(function):

        @functools.wraps(function)
        async def awaited(*args: Any, **kwargs: Any) -> Any:
            with span():
                return await function(*args, **kwargs)

        return awaited

    @functools.wraps(function)
    def called(*args: Any, **kwargs: Any) -> Any:
        with span():
            return function(*args, **kwargs)

    return called


def _told(span: Any) -> str:
    """Of a span that is recorded; "" for one that stands for none."""
    found = span.get_span_context()
    if not found.is_valid:
        return ""
    return f"00-{found.trace_id:032x}-{found.span_id:016x}-{int(found.trace_flags):02x}"
