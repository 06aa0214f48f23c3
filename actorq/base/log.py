"""Structured events, and where they go. Logs belong to the user: *nothing here touches the root logger's handlers*.

Events of actorq go to the logger `actorq`. A library must be silent until its user configures logging, so there they
are the user's to hear; programs of ours give that logger a handler of its own, which passes nothing on. What tasks log
goes where their code sends it. Where that has configured nothing, a replica shows it, see `hear_tasks`.

Events are short and past tense (`replica_started`); everything else is in keys, whose names do not change. No password
and no input is in any of them: addresses are masked, and a traceback shows no frame's variables.
"""

from __future__ import annotations

import contextvars
import os
import sys
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from actorq.base.masking import shown
from actorq.base.prefix import Prefixed, install
from actorq.errors import DeclarationError

if TYPE_CHECKING:
    import logging

    from structlog.typing import EventDict, Processor

_NAME = "actorq"
#: libraries of ours that log in processes that run no code of the user's
_LIBRARIES = ("rq", "redis", "kubernetes", "urllib3")
#: what is attached to what a task logs
_KEYS = ("replica", "map", "index")
#: what `ACTORQ_LOG_LEVEL` may be
_LEVELS = ("debug", "info", "warning", "error")


class _Silent:
    """What `logger()` returns while nobody listens."""

    def _nothing(self, event: str, **keys: Any) -> None:
        return

    debug = info = warning = error = exception = _nothing


_SILENT = _Silent()


#: (format, level) a program of ours asked for; applied with the first event, since structlog takes 80 ms to import and
#: a pool's start should not wait for it
_wanted: tuple[str, str] | None = None
#: the handler of this program of ours, once there is one
_handler: logging.Handler | None = None
#: least severe records of tasks that are shown where their code configures no logging; None for those that Python shows
_task_level: int | None = None
#: this process imports code of the user's, and loggers of libraries are that code's
_runs_tasks = False
#: in a process that runs tasks: what runs just now
_context: Callable[[], Mapping[str, Any]] | None = None


def configure_later(log_format: str, level: str, task_level: int | None = None) -> None:
    """`configure`, when there is something to say. `task_level`: for `hear_tasks`, also in what is forked from here."""
    global _wanted, _task_level
    _wanted, _task_level = (log_format, level), task_level


def _heard() -> bool:
    """Whether anybody would get an event. Who has configured logging has imported it; nobody else needs to wait 15 ms
    for that.
    """
    if (logging := sys.modules.get("logging")) is None:
        return False
    ours = logging.getLogger(_NAME)
    if _handler is not None:
        ours.disabled = False  # as `logging.config` leaves it that does not know it
    return bool(ours.handlers or logging.getLogger().handlers) and bool(ours.isEnabledFor(logging.CRITICAL))


def logger() -> Any:
    """The logger of actorq; routed through the standard logger "actorq"."""
    _configure_now()
    if not _heard():
        return _SILENT
    import logging

    import structlog

    return structlog.wrap_logger(
        logging.getLogger(_NAME),
        processors=[
            structlog.stdlib.filter_by_level,
            structlog.contextvars.merge_contextvars,
            _detach,  # our events say themselves what they are of
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


def _attach(_: Any, __: str, event: EventDict) -> EventDict:
    """Says what ran when this was logged, if anything did."""
    _detach(_, __, event)
    for key, value in running().items():
        event.setdefault(key, value)
    return event


def _detach(_: Any, __: str, event: EventDict) -> EventDict:
    for key in _KEYS:
        if isinstance(event.get(key), _Now):
            del event[key]
    return event


def configure(log_format: str, level: str) -> None:
    """For programs of ours: events on stderr, pretty on a terminal and JSON otherwise.

    Args:
        log_format: "console", "json", or "auto".
        level: a name of the logging module.
    """
    import logging

    global _handler
    formatter, is_json = _formatter(log_format)
    # a line of JSON says itself what ran, and would be none behind a prefix
    _handler = logging.StreamHandler(sys.stderr.stream if is_json and isinstance(sys.stderr, Prefixed) else sys.stderr)
    _handler.setFormatter(formatter)
    for name in (_NAME, *(() if _runs_tasks else _LIBRARIES)):
        of_ours = logging.getLogger(name)
        of_ours.handlers[:] = [_handler]
        of_ours.setLevel(level.upper())
        of_ours.propagate = False


def _configure_now() -> None:
    global _wanted
    if _wanted is not None:
        wanted, _wanted = _wanted, None
        configure(*wanted)


def _formatter(log_format: str) -> tuple[logging.Formatter, bool]:
    """The formatter, and whether it makes JSON."""
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
            structlog.contextvars.merge_contextvars,
            _attach,
            structlog.stdlib.add_logger_name,
            structlog.stdlib.ExtraAdder(),
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
    return formatter, not pretty


# -- what tasks log ----------------------------------------------------------------------------------------------------


def running() -> Mapping[str, Any]:
    """What runs just now in this process: "replica", "map" and "index", or some of them."""
    return {} if _context is None else _context()


def run_tasks(*, prefix: bool = False, capture: bool = False) -> None:
    """From now on this process is the user's code's, but for the events of actorq. To be called before any is imported.

    Where the process that this one was forked from has shown what libraries log, that ends here.

    Args:
        prefix: what it prints is to tell what ran.
        capture: it is for `keep_lines`, too.
    """
    global _runs_tasks
    _runs_tasks = True
    if prefix or capture:
        install(running, shown=prefix)
    if _handler is None:
        return
    import logging

    for name in _LIBRARIES:
        of_ours = logging.getLogger(name)
        of_ours.handlers[:] = []
        of_ours.setLevel(logging.NOTSET)
        of_ours.propagate = True


class _Now:
    """A value of structlog's context that is asked for when something is logged: an input sets nothing."""

    def __init__(self, key: str) -> None:
        self._key = key

    def __structlog__(self) -> Any:
        return running().get(self._key)

    def __repr__(self) -> str:
        return repr(self.__structlog__())


#: as structlog.contextvars.bind_contextvars makes them
_BOUND = [(contextvars.ContextVar[_Now](f"structlog_{key}"), _Now(key)) for key in _KEYS]


def bind() -> None:
    """Puts what runs into structlog's context, for this thread and for what is started from it."""
    for variable, value in _BOUND:
        variable.set(value)


def prepare() -> None:
    """In a process that forks one for each input: what they would need to show what a task logs, and take 80 ms for."""
    if _task_level is not None:
        _configure_now()


def hear_tasks(context: Callable[[], Mapping[str, Any]]) -> None:
    """From now on this process runs tasks, whose code is imported.

    Where that configures no logging, records of the level that `configure_later` was told, and up, are shown as events
    of ours are, with what ran. Python has a place for this: the handler of last resort. Where it has none, nothing of
    what tasks log is changed. structlog's context has the same, whoever reads it.

    Args:
        context: tells what runs just now: "replica", "map" and "index". Called from any thread.
    """
    import logging

    global _context
    _context = context
    bind()
    if _task_level is None or _is_configured(logging):
        return
    # one below: nobody sets such a level, so it tells ours, which gives way, from one that the user's code has set
    logging.getLogger().setLevel(_task_level - 1)
    logging.lastResort = _last_resort(_task_level)


def give_way() -> None:
    """After code of the user's that may have configured logging, and has not said a level: Python's own is meant."""
    import logging

    root = logging.getLogger()
    if _task_level is not None and root.level == _task_level - 1 and root.handlers:
        root.setLevel(logging.WARNING)


def local_log() -> tuple[str, str, int | None]:
    """What processes on this machine are to give `configure_later`, whose standard error is that of this program.

    They show what tasks log where this program has configured logging, at its level, and their code has not: it is
    under the main guard, as a rule.
    """
    logging = sys.modules.get("logging")
    root = None if logging is None else logging.getLogger()
    return "console", _level_asked_for(), int(root.level) if root and root.handlers else None


def _level_asked_for() -> str:
    """Raises `DeclarationError` for a level that there is not: a pool would end with the first event it has to tell."""
    level = os.environ.get("ACTORQ_LOG_LEVEL") or "warning"
    if level.lower() not in _LEVELS:
        raise DeclarationError(f"ACTORQ_LOG_LEVEL is {level!r}: choose one of {', '.join(_LEVELS)}.")
    return level


def _is_configured(logging: Any) -> bool:
    """Whether somebody has said where records go that no logger's own level keeps back."""
    root = logging.getLogger()
    if root.handlers or root.level != logging.WARNING:
        return True
    for each in list(root.manager.loggerDict.values()):
        own = [handler for handler in getattr(each, "handlers", ()) if not isinstance(handler, logging.NullHandler)]
        if own and each.name.partition(".")[0] != _NAME and _level_of(each) is root:
            return True
    return False


def _level_of(logger: logging.Logger) -> logging.Logger:
    """The logger whose level counts for `logger`."""
    while not logger.level and logger.parent is not None:
        logger = logger.parent
    return logger


def _last_resort(level: int) -> logging.Handler:
    """Shows records as events of ours, from the first one on: structlog takes 80 ms to import."""
    import logging

    class Shown(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            _configure_now()
            if _handler is not None:
                _handler.handle(record)

    return Shown(level)
