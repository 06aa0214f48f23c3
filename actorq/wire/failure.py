"""Exceptions as data, and back.

A replica describes an exception as plain values; the caller rebuilds it as its own type if that type is already
imported here, and as `TaskError` otherwise. Nothing is imported and no `__init__` of the user's is called on the way.

The one idea: its parts are packed one by one, so one that cannot travel costs neither the type nor the message: an
`Unsent` stands for it, which shows what it was.
"""

from __future__ import annotations

import base64
import sys
import traceback
import zlib
from pathlib import Path
from types import TracebackType
from typing import Any

from actorq.base.amounts import size
from actorq.base.names import public_module
from actorq.errors import (
    CodecError,
    DeclarationError,
    NonRecoverableError,
    ReplicaLostError,
    TaskError,
    TaskTimeoutError,
    Unsent,
)
from actorq.wire import codec
from actorq.wire.carried.exceptions import Told, add_note, args_of, build, message_of, parts_of, set_cause
from actorq.wire.nameable import loaded_object

#: characters of a traceback that travel
_TRACEBACK_LIMIT = 60_000
#: bytes of the parts of an exception, and of all that hang on it by causes, contexts and groups
_PARTS_LIMIT = 128 * 1024
#: exceptions that hang on one, and steps from one to the next
_MOST_EXCEPTIONS, _LONGEST_CHAIN = 64, 16
#: exceptions of a group, and lines of a pydantic one; arguments, or attributes, of an exception
_MOST_MEMBERS = _MOST_PARTS = 256
#: of the member of a group that is there twice the arguments are told again where they are no more than this
_SCALARS = (int, float, bool, str, bytes, type(None))
#: bytes or characters of a text that cannot be decoded or encoded; of a longer one the part that cannot be travels
_UNICODE_LIMIT = 16 * 1024
#: characters of what stands for a part when there is no room for more
_SHOWN = 20

_PACKAGE = str(Path(__file__).parents[1])

_REQUEUE = (
    "`rq requeue` runs this input once more. Its map is over, or goes on without it: the output is dropped, and only "
    "another failure comes back here."
)

_READ_ONLY = (
    "Arrays arrive read-only, without a copy. Write to a copy, x.copy(), or declare the task with "
    "@env.task(writable=True): its arrays are copies."
)

ERROR, TIMEOUT, LOST, CANCELLED = "error", "timeout", "lost", "cancelled"
#: why a process was ended: what an input did beyond its timeout, that only the end of the process could stop
STUCK, BLOCKED = TIMEOUT, "blocked"
#: results came that could not be read
DAMAGED = "damaged"
#: another input has cancelled it, or may have taken its memory: its outcome says nothing
DISTURBED = "disturbed"
#: its lease was taken from its replica, or its map was gone for a moment: it has no outcome
FORGONE = "forgone"


def describe(error: BaseException) -> dict[str, Any]:
    """`error` as msgpack-able data."""
    args, state, more = _Telling().parts(error)
    module, name = _names(error)
    return {
        "kind": ERROR,
        "module": module,
        "type": name,
        "message": _clean(message_of(error)),
        "args": codec.pack(args),
        "state": codec.pack(state),
        "more": codec.pack(more),
        "traceback": _clean(_render(error)),
        "final": isinstance(error, NonRecoverableError),
    }


#: a `MemoryError` where there is no memory left to tell more of it
EXHAUSTED: dict[str, Any] = {
    "kind": ERROR,
    "module": "builtins",
    "type": "MemoryError",
    "message": "",
    "args": codec.pack([]),
    "state": codec.pack({}),
    "more": codec.pack({}),
    "traceback": "",
    "final": False,
}


class _Telling:
    """One exception that is being described, with all that hang on it."""

    def __init__(self) -> None:
        self._bytes = _PARTS_LIMIT
        #: those that are told of: chains may be loops
        self._told: set[int] = set()

    def parts(self, error: BaseException, depth: int = 0) -> tuple[list[Any], dict[str, Any], dict[str, Any]]:
        """What makes an exception, each part as it is or as what stands for it."""
        self._told.add(id(error))
        try:
            args, state, more = parts_of(error)
        except Exception:  # an attribute of the user's that raises
            args, state, more = args_of(error), {}, {}
        args = [self._part(each, depth) for each in args[:_MOST_PARTS]]
        named = [(name, each) for name, each in state.items() if _is_plain_name(name)]
        state = {name: self._part(each, depth) for name, each in named[:_MOST_PARTS]}
        if _is_read_only(error):
            more["notes"] = [*more.get("notes", ()), _READ_ONLY]
        told = {name: self._more(name, part, depth) for name, part in more.items()}
        return args, state, {**{name: part for name, part in told.items() if part is not None}, "raised": True}

    def _more(self, name: str, part: Any, depth: int) -> Any:
        """What Python keeps beside arguments and attributes."""
        if name in ("cause", "context"):
            return self._linked(part, depth)
        if name == "built_in":
            return {each: self._part(content, depth) for each, content in part.items()}
        if name == "group":
            return [_clean(part[0]), [self._member(each, depth) for each in part[1][:_MOST_MEMBERS]]]
        if name == "lines":  # of pydantic: what was wrong where
            lines = [{key: self._line(key, each, depth) for key, each in line.items()} for line in part[1]]
            return [part[0], lines[:_MOST_MEMBERS]]
        if name == "unicode" and isinstance(part[1], (str, bytes)) and len(part[1]) > _UNICODE_LIMIT:
            encoding, text, start, end, reason = part
            bad = text[start:end][:_UNICODE_LIMIT]
            return [encoding, bad, 0, len(bad), f"{reason} (at position {start:,} of {len(text):,})"]
        return [self._part(each, depth) for each in part] if isinstance(part, list) else part

    def _line(self, key: str, part: Any, depth: int) -> Any:
        if key == "ctx":
            return {name: self._part(each, depth) for name, each in part.items()}
        return self._part(part, depth)

    def _linked(self, error: BaseException, depth: int) -> Told | None:
        """An exception that hangs on another one; None for one that was told of, or too far away."""
        if id(error) in self._told or depth >= _LONGEST_CHAIN or len(self._told) >= _MOST_EXCEPTIONS:
            return None
        return Told([*_names(error), _clean(message_of(error)), *self.parts(error, depth + 1)])

    def _member(self, error: BaseException, depth: int) -> Told:
        """An exception of a group, in short where it has been told of, or there are too many."""
        message, args = _clean(message_of(error)), args_of(error)
        short = args if len(args) <= _MOST_PARTS and all(type(each) in _SCALARS for each in args) else [message]
        if (told := self._linked(error, depth)) is not None:
            return told
        return Told([*_names(error), message, [self._part(each, depth) for each in short], {}, {"raised": True}])

    def _part(self, part: Any, depth: int) -> Any:
        if isinstance(part, BaseException):  # never whole: what hangs on it hangs on it at every level
            return self._linked(part, depth) or self._unsent(part)
        if type(part) in (list, tuple) and any(isinstance(each, BaseException) for each in part):
            return type(part)(self._part(each, depth) for each in part[:_MOST_PARTS])
        try:
            size = len(codec.pack(part))
        except CodecError:
            size = _PARTS_LIMIT + 1
        if size <= self._bytes:
            self._bytes -= size
            return part
        return self._unsent(part)

    def _unsent(self, part: Any) -> Unsent:
        """What stands for `part`, which takes its share of the room, too."""
        unsent = Unsent.of(part)
        size = sum(map(len, unsent.plain()))
        if size > self._bytes:
            kind = type(part).__name__[:_SHOWN]
            unsent, size = Unsent.made(kind, kind, kind, kind), 4 * len(kind)
        self._bytes -= size
        return unsent


def _names(error: BaseException) -> tuple[str, str]:
    """The module and the name of an exception's class, as they are in every process."""
    kind = type(error)
    try:
        return public_module(kind.__module__), kind.__qualname__
    except DeclarationError:  # an interactive session
        return kind.__module__, kind.__qualname__


def _is_read_only(error: BaseException) -> bool:
    """Whether it is what numpy says to who writes to an array that arrived."""
    return type(error) is ValueError and "numpy" in sys.modules and "read-only" in message_of(error)


def _is_plain_name(name: Any) -> bool:
    return isinstance(name, str) and not name.startswith("__")


def _clean(text: str) -> str:
    """Text that can be encoded: a file name that is not UTF-8 holds lone surrogates."""
    return text.encode("utf-8", "backslashreplace").decode()


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
    report.__cause__ = set_cause(original, report)
    add_note(original, f"raised for input {index} (attempt {attempt}) on replica {replica}")
    return original


def restored(data: dict[str, Any]) -> Exception:
    """An exception that no input has raised: why a run has ended."""
    return _original(data) or TaskError(f"{_text(data, 'type')}: {_text(data, 'message')}")


def _text(data: dict[str, Any], field: str) -> str:
    text = data.get(field, "")
    return text if isinstance(text, str) else ""


def _original(data: dict[str, Any]) -> Exception | None:
    """The exception as its own type, or None when that is not known here."""
    try:
        kind = loaded_object(str(data.get("module")), str(data.get("type")))
        if not issubclass(kind, Exception) or not data.get("args"):
            return None
        if issubclass(kind, (StopIteration, StopAsyncIteration)):
            return None  # raised out of a generator it would be something else
        args, state = codec.unpack_list(data["args"]), codec.unpack(data["state"])
        more = codec.unpack(data["more"]) if data.get("more") else {}
        error = build(kind, data.get("message"), args, state, more)
    except Exception:
        return None
    return error if isinstance(error, Exception) else None


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


def without_advice(text: str) -> str:
    """What `registered` was given: the advice is for RQ's tools."""
    return text.removesuffix(_REQUEUE).rstrip()


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


def end_of(returncode: int) -> str:
    """The same, as `subprocess` tells how a process has ended."""
    return exit_reason(-returncode if returncode < 0 else returncode << 8)


def stopped_for(used: int, limit: int, *, killed: bool = False) -> str:
    """Why an input was stopped, as its caller reads it."""
    return (
        f"{'killed' if killed else 'stopped'}: its replica used {size(used)} of the {size(limit)} there are; "
        "give the replica more memory or the input less work"
    )
