"""Structured events. A library must be silent until its user configures logging, so nothing here configures on import.

Events are short and past tense (`replica_started`); everything else is in keys, whose names do not change. No password
and no input is in any of them: addresses are masked, and a traceback shows no frame's variables.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from actorq.masking import shown

if TYPE_CHECKING:
    from structlog.typing import EventDict, Processor

_NAME = "actorq"


class _Silent:
    """What `logger()` returns while nobody listens."""

    def _nothing(self, event: str, **keys: Any) -> None:
        return

    debug = info = warning = error = exception = _nothing


_SILENT = _Silent()


#: (format, level) a program of ours asked for; applied with the first event, since structlog takes 80 ms to import and
#: a pool's start should not wait for it
_wanted: tuple[str, str] | None = None


def configure_later(log_format: str, level: str) -> None:
    """`configure`, when there is something to say."""
    global _wanted
    _wanted = (log_format, level)


def _heard() -> bool:
    """Whether anybody would get an event. Who has configured logging has imported it; nobody else needs to wait 15 ms
    for that.
    """
    if (logging := sys.modules.get("logging")) is None:
        return False
    ours = logging.getLogger(_NAME)
    return bool(ours.handlers or logging.getLogger().handlers) and bool(ours.isEnabledFor(logging.CRITICAL))


def logger() -> Any:
    """The logger of actorq; routed through the standard logger "actorq"."""
    global _wanted
    if _wanted is not None:
        wanted, _wanted = _wanted, None
        configure(*wanted)
    if not _heard():
        return _SILENT
    import logging

    import structlog

    return structlog.wrap_logger(
        logging.getLogger(_NAME),
        processors=[
            structlog.stdlib.filter_by_level,
            structlog.contextvars.merge_contextvars,
            structlog.stdlib.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            _mask,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        wrapper_class=structlog.stdlib.BoundLogger,
    )


#: of these keys the value is text of several lines
_LINES = frozenset({"exception", "stack", "traceback"})
#: of these it is for another processor
_INTERNAL = frozenset({"exc_info", "stack_info", "_record", "_from_structlog"})


def _mask(_: Any, __: str, event: EventDict) -> EventDict:
    """No password in any log, and nothing that a terminal would obey."""
    foreign = event.get("_from_structlog") is False  # what others log may have several lines
    for key, value in event.items():
        if key not in _INTERNAL:
            event[key] = shown({key: value}, lines=key in _LINES or (foreign and key == "event"))[key]
    return event


def configure(log_format: str, level: str) -> None:
    """For programs of ours: events on stderr, pretty on a terminal and JSON otherwise.

    Args:
        log_format: "console", "json", or "auto".
        level: a name of the logging module.
    """
    import logging

    import structlog

    pretty = log_format == "console" or (log_format == "auto" and sys.stderr.isatty())
    plain = structlog.dev.plain_traceback  # rich's would show variables
    renderer: Any = structlog.processors.JSONRenderer()
    tracebacks: Processor = structlog.processors.format_exc_info
    if pretty:
        renderer = structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), exception_formatter=plain)
    else:
        without_variables = structlog.tracebacks.ExceptionDictTransformer(show_locals=False)
        tracebacks = structlog.processors.ExceptionRenderer(without_variables)
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=[
            structlog.stdlib.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
        ],
        processors=[
            tracebacks,
            _mask,  # the tracebacks too
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            renderer,
        ],
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(formatter)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
