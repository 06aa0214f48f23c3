"""Exceptions as data, and back.

A replica describes an exception as plain values; the caller rebuilds it as its own type if that type is already
imported here, and as `TaskError` otherwise. Nothing is imported and no `__init__` of the user's is called on the way.
"""

from __future__ import annotations

import base64
import builtins
import sys
import traceback
import zlib
from pathlib import Path
from types import TracebackType
from typing import Any

from actorq import codec
from actorq.errors import (
    CodecError,
    NonRecoverableError,
    ReplicaLostError,
    TaskError,
    TaskTimeoutError,
)
from actorq.nameable import loaded_object
from actorq.names import public_module

#: characters of a message and of a traceback that travel; an exception may hold a whole document
_MESSAGE_LIMIT, _TRACEBACK_LIMIT = 10_000, 60_000
_ARGS_LIMIT = 64 * 1024

_PACKAGE = str(Path(__file__).parent)

_REQUEUE = (
    "`rq requeue` runs this input once more. Its map is over, or goes on without it: the output is dropped, and only "
    "another failure comes back here."
)

ERROR, TIMEOUT, LOST, CANCELLED = "error", "timeout", "lost", "cancelled"
#: why a process was ended: what an input did beyond its timeout, that only the end of the process could stop
STUCK, BLOCKED = TIMEOUT, "blocked"
#: results came that could not be read
DAMAGED = "damaged"


def describe(error: BaseException) -> dict[str, Any]:
    """`error` as msgpack-able data."""
    kind = type(error)
    try:
        message = str(error)[:_MESSAGE_LIMIT]
    except Exception as broken:
        message = f"(its __str__ raised {type(broken).__name__})"
    try:
        args = codec.pack(_arguments(error))
        state = codec.pack({k: v for k, v in vars(error).items() if k != "__notes__"})
    except Exception:  # what cannot be carried, or a property that raises: the text has to do
        args = state = b""
    return {
        "kind": ERROR,
        "module": public_module(kind.__module__) if kind.__module__ == "__main__" else kind.__module__,
        "type": kind.__qualname__,
        "message": _clean(message),
        "args": args if len(args) <= _ARGS_LIMIT else b"",
        "state": state if len(state) <= _ARGS_LIMIT else b"",
        "traceback": _clean(_render(error)),
        "final": isinstance(error, NonRecoverableError),
    }


def _clean(text: str) -> str:
    """Text that can be encoded: a file name that is not UTF-8 holds lone surrogates."""
    return text.encode("utf-8", "backslashreplace").decode()


def _arguments(error: BaseException) -> list[Any]:
    """What the constructor was given. An OSError keeps its file name out of `args`, and tells it to pickle only."""
    if isinstance(error, OSError) and type(error).__reduce__ is OSError.__reduce__:
        return list(error.__reduce__()[1])
    return list(error.args)


def described(kind: str, message: str, *, final: bool = False) -> dict[str, Any]:
    """A failure that is no exception of the task: a timeout, a death, a refusal."""
    return {"kind": kind, "message": message, "final": final, "traceback": ""}


def overdue(reason: str, seconds: float | None) -> dict[str, Any] | None:
    """A timeout for which a process was ended; None where it was ended, or died, for another reason."""
    if reason == STUCK:
        text = f"ran longer than its timeout of {seconds} s and could not be stopped: its process was replaced"
    elif reason == BLOCKED:
        text = (
            f"blocked the event loop of its replica beyond its timeout of {seconds} s: nothing else could run there, "
            "and its process was replaced. Await what takes time, or run it with asyncio.to_thread"
        )
    else:
        return None
    return described(TIMEOUT, text)


def rebuild(data: dict[str, Any], *, index: int, attempt: int, replica: str) -> Exception:
    """The exception to raise in the caller. Whatever `data` holds, it is one."""
    kind, message = data.get("kind"), _text(data, "message")
    details: dict[str, Any] = {
        "index": index,
        "attempt": attempt,
        "replica": replica,
        "remote_traceback": _text(data, "traceback"),
    }
    if kind == TIMEOUT:
        return TaskTimeoutError(f"Input {index}: {message}", **details)
    if kind == LOST:
        return ReplicaLostError(f"Input {index}: {message}", **details)
    if kind == CANCELLED:
        return TaskError(f"Input {index}: {message}", **details)
    name = f"{_text(data, 'module')}.{_text(data, 'type')}".removeprefix("builtins.")
    report = TaskError(f"Input {index}, attempt {attempt}, on {replica}: {name}: {message}", **details)
    if kind == DAMAGED:
        damaged = CodecError(f"Input {index}: {message}")
        damaged.__cause__ = report
        return damaged
    original = _original(data)
    if original is None:
        return report
    try:
        original.__cause__ = report
        original.add_note(f"raised for input {index} (attempt {attempt}) on replica {replica}")
    except Exception:  # a class of the user's that lets nothing be added
        return report
    return original


def _text(data: dict[str, Any], field: str) -> str:
    text = data.get(field, "")
    return text if isinstance(text, str) else ""


def _original(data: dict[str, Any]) -> Exception | None:
    """The exception as its own type, or None when it cannot be rebuilt faithfully."""
    module, name = data.get("module"), data.get("type")
    try:
        kind = getattr(builtins, str(name), None) if module == "builtins" else loaded_object(str(module), str(name))
        if not (isinstance(kind, type) and issubclass(kind, Exception)) or not data.get("args"):
            return None
        if issubclass(kind, (StopIteration, StopAsyncIteration)):
            return None  # raised out of a generator it would be something else
        args = codec.unpack_list(data["args"])
        state = codec.unpack(data["state"])
        error: Exception
        if kind.__init__ in _PLAIN_INITS or module == "builtins":
            error = kind(*args)  # a built-in's constructor, which also sets errno, start, end…
        else:
            error = kind.__new__(kind, *args)
            error.args = tuple(args)
        if isinstance(state, dict) and state:
            vars(error).update({name: value for name, value in state.items() if name != "__notes__"})
        str(error), repr(error)  # one of its own may need what __init__ would have set
    except Exception:
        return None
    return error


_PLAIN_INITS = (Exception.__init__, ValueError.__init__, BaseException.__init__)


def _render(error: BaseException) -> str:
    """The traceback from the task's own frame on: the frames of this package tell the user nothing."""
    start: TracebackType | None = error.__traceback__
    while start is not None and start.tb_frame.f_code.co_filename.startswith(_PACKAGE) and start.tb_next is not None:
        start = start.tb_next
    try:
        lines = traceback.format_exception(type(error), error, start)
    except Exception as broken:
        return f"(the traceback cannot be shown: {type(broken).__name__})"
    text = "".join(lines)
    return text if len(text) <= _TRACEBACK_LIMIT else text[:1000] + "\n  ...\n" + text[-_TRACEBACK_LIMIT:]


def registered(text: str) -> bytes:
    """What RQ's tools show of an input that failed for good, as RQ keeps it: `text`, and what `rq requeue` does."""
    return base64.b64encode(zlib.compress(f"{text.rstrip()}\n\n{_REQUEUE}".encode(errors="replace")))


def exit_reason(status: int, *, guess: bool = True) -> str:
    """A wait status as a person reads it. `guess`: what may have sent a SIGKILL."""
    import os
    import signal

    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        name = signal.Signals(number).name if number in set(signal.Signals) else str(number)
        hint = " (out of memory?)" if guess and number == signal.SIGKILL and sys.platform == "linux" else ""
        return f"killed by {name}{hint}"
    return f"exited with status {os.WEXITSTATUS(status)}"
