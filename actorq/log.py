"""Structured events. A library must be silent until its user configures logging, so nothing here configures on import.

Events are short and past tense (`replica_started`); everything else is in keys, whose names do not change.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from actorq.settings import masked

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


def _mask(_: Any, __: str, event: EventDict) -> EventDict:
    """No password of a URL in any log."""
    for key, value in event.items():
        if isinstance(value, str) and "://" in value:
            event[key] = masked(value)
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
    tracebacks: Processor = _unchanged if pretty else structlog.processors.dict_tracebacks
    renderer: Any = (
        structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty()) if pretty else structlog.processors.JSONRenderer()
    )
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=[
            structlog.stdlib.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            _mask,
        ],
        processors=[
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            tracebacks,
            renderer,
        ],
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(formatter)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())


def _unchanged(_: Any, __: str, event: EventDict) -> EventDict:
    return event
