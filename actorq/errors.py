"""Every error a user of actorq can meet, in one tree.

The docstring of a class is its default message. A message says what happened, to what, and what to do.
"""

from __future__ import annotations

from typing import Any

__all__ = [
    "ActorqError",
    "BrokerError",
    "CodecError",
    "DeclarationError",
    "MapFailedError",
    "MapTimeoutError",
    "NonRecoverableError",
    "PayloadTooLargeError",
    "PoolError",
    "ReplicaLostError",
    "TaskError",
    "TaskTimeoutError",
    "Unsent",
]

#: characters of a part of an exception that could not travel
_SHOWN_CHARACTERS = 10_000


class ActorqError(Exception):
    """Something went wrong in actorq."""

    def __init__(self, message: str | None = None) -> None:
        super().__init__(message or " ".join((type(self).__doc__ or "").split()))


class DeclarationError(ActorqError, ValueError):
    """An environment, a task or a map was declared with an argument that cannot work."""


class CodecError(ActorqError, TypeError):
    """A value cannot be carried between processes as msgpack, or bytes received are not a value of ours."""


class PayloadTooLargeError(CodecError):
    """One input or output is larger than `ACTORQ_MAX_PAYLOAD_BYTES`: pass a path or a key to the data instead."""


class BrokerError(ActorqError, ConnectionError):
    """The Redis server cannot be used: it is unreachable, refuses the login, is read-only, full, or may evict keys."""


class PoolError(ActorqError):
    """No replica can take the work: the pool failed to start, stopped, speaks another protocol, or is full of callers
    that wait for it.
    """


class NonRecoverableError(ActorqError):
    """Raise this in a task, or a subclass of it, when trying the same input again cannot help: no retry is spent."""


class TaskError(ActorqError):
    """A task failed on one input.

    Raised itself when the type of the remote exception cannot be found in this process, and otherwise the
    `__cause__` of the original exception.
    """

    def __init__(
        self,
        message: str | None = None,
        *,
        index: int = -1,
        attempt: int = 1,
        replica: str = "",
        remote_traceback: str = "",
    ) -> None:
        super().__init__(message)
        #: position of the input in its map, 0 for a single call
        self.index = index
        #: which try this was, counted from 1
        self.attempt = attempt
        #: name of the replica that ran it, as `rq info` shows it
        self.replica = replica
        #: the traceback as text, empty when the process died
        self.remote_traceback = remote_traceback

    def __str__(self) -> str:
        message = super().__str__()
        return f"{message}\n\n{self.remote_traceback.rstrip()}" if self.remote_traceback else message


class TaskTimeoutError(TaskError, TimeoutError):
    """The task ran longer than its `timeout` on this input and was stopped."""


class ReplicaLostError(TaskError):
    """Every replica that ran this input died: it crashes the process, or needs more memory than there is."""


class MapFailedError(ActorqError):
    """More inputs failed than the map allows. `failures` holds them."""

    def __init__(self, message: str | None = None, failures: tuple[BaseException, ...] = ()) -> None:
        super().__init__(message)
        self.failures = failures


class MapTimeoutError(ActorqError, TimeoutError):
    """The map did not finish within its `timeout`; its remaining inputs were cancelled."""


class MapConflictError(ActorqError):
    """A run of this `map_id` is there with another task or other inputs. Choose another id, or delete that run."""


class Unsent(str):
    """What stands for a part of an exception that could not travel: its `repr`, or its text where it is a `str`.

    It shows itself as the part did, so the message of the exception is what it was.
    """

    __slots__ = ("_shown", "_text", "type")

    #: the class of the part
    type: str
    _text: str
    _shown: str

    @classmethod
    def of(cls, value: Any) -> Unsent:
        """Stands for `value`, whatever its `repr` does."""
        kind = type(value)
        shown = _shortened(value, repr)
        text = _shortened(value, str.__str__ if issubclass(kind, str) else str)
        return cls.made(text if issubclass(kind, str) else shown, f"{kind.__module__}.{kind.__qualname__}", text, shown)

    @classmethod
    def made(cls, content: str, kind: str, text: str, shown: str) -> Unsent:
        if not all(isinstance(part, str) for part in (content, kind, text, shown)):
            raise CodecError("The data holds a part of an exception that is no text.")
        unsent = cls(content)
        unsent.type, unsent._text, unsent._shown = kind, text, shown
        return unsent

    def __str__(self) -> str:
        return self._text

    def __repr__(self) -> str:
        return self._shown

    def __format__(self, spec: str) -> str:
        return format(self._text, spec)

    def plain(self) -> list[str]:
        return [str.__str__(self), self.type, self._text, self._shown]


def _shortened(value: Any, show: Any) -> str:
    try:
        text = show(value)
    except Exception as error:
        return f"<{type(value).__qualname__}, whose text cannot be had: {type(error).__name__}>"
    return str(text) if len(text) <= _SHOWN_CHARACTERS else f"{text[:_SHOWN_CHARACTERS]}… ({len(text):,} characters)"
