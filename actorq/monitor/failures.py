"""The inputs that have failed, newest first: which, of what, why, and with what input.

The one idea: RQ's registry of failed jobs is the one place where inputs of maps, calls and regular jobs lie that failed
for good, so this reads what `rq info` reads. It is bounded, and forgets after a day; a run keeps its own failures.
"""

from __future__ import annotations

import base64
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from actorq.base.masking import masked, printable
from actorq.broker import keys
from actorq.broker.client import Client
from actorq.broker.link import Link
from actorq.errors import ActorqError, TaskError
from actorq.monitor.records import Asking, Fields, Problems, raw, shown_name, text
from actorq.runs.inputs import StoredInputs
from actorq.runs.reader import Reader
from actorq.wire import codec
from actorq.wire.failure import without_advice
from actorq.wire.lease import FAILED_INPUT
from actorq.wire.seal import unseal

#: entries of a registry that are looked at for one map
_MOST = 10_000
#: characters of an input, and of a traceback, that are shown; a longer traceback is cut in its middle
_INPUT_CHARACTERS, _TRACEBACK_CHARACTERS = 200, 20_000


@dataclass(frozen=True, kw_only=True)
class FailureView:
    """One input that failed for good."""

    #: of RQ's job, which `rq requeue` takes
    id: str
    environment: str
    #: "" for a single job
    map: str
    #: None where nobody knows
    index: int | None
    task: str
    type: str
    message: str
    #: as it was raised, or what is known of a replica that died
    traceback: str
    replica: str
    #: Unix seconds; None where it cannot be read
    at: float | None
    #: as Python shows it, cut where it is long
    input: str

    @property
    def cause(self) -> str:
        """In one line."""
        return f"{self.type}: {self.message}" if self.type else self.message


def failures(link: Link, environment: str, *, most: int = 100, map_id: str | None = None) -> list[FailureView]:
    """The last failures of an environment, or of one of its maps. Raises `BrokerError`.

    Args:
        link: a connection.
        environment: its name.
        most: how many.
        map_id: only those of this map.
    """
    asking = Asking(link, Problems())
    looked_at = most if map_id is None else _MOST
    names = [raw(name) for name in asking.ask([], "ZREVRANGE", keys.failed(environment), 0, looked_at - 1)]
    if map_id is not None:
        names = [name for name in names if (parts := FAILED_INPUT.fullmatch(name)) and parts["map"] == map_id][:most]
    told = ("description", "worker_name", "ended_at", "aq")
    jobs = asking.ask_each([["HMGET", keys.job(name), *told] for name in names])
    results = asking.ask_each([["XREVRANGE", keys.job_results(name), "+", "-", "COUNT", "1"] for name in names])
    found = zip(names, jobs, results, strict=True)
    return [_view(environment, name, job, entries) for name, job, entries in found if job and job[0] is not None]


def failure(link: Link, environment: str, job_id: str) -> FailureView | None:
    """One of them; None where there is none of that id."""
    asking = Asking(link, Problems())
    job = asking.ask(None, "HMGET", keys.job(job_id), "description", "worker_name", "ended_at", "aq", "status")
    if job is None or job[4] != b"failed":
        return None
    entries = asking.ask([], "XREVRANGE", keys.job_results(job_id), "+", "-", "COUNT", 1)
    return _view(environment, job_id, job, entries)


def failures_of_run(client: Client, run_id: str, *, most: int = _MOST) -> list[FailureView]:
    """What a run keeps itself, but for what was tried again and is well now. Raises `PoolError` where there is none."""
    reader = Reader(client, run_id)
    try:
        reader.catch_up()
        failed = list(zip(reader.failed, reader.failures, strict=False))[-most:]
        with client.lent() as link:
            inputs = StoredInputs(link, reader.environment, run_id)
            return [_of_run(reader, index, error, inputs) for index, error in reversed(failed)]
    finally:
        reader.close()


def _of_run(reader: Reader, index: int, error: Exception, inputs: StoredInputs) -> FailureView:
    remote = error if isinstance(error, TaskError) else error.__cause__
    traceback = str(getattr(remote, "remote_traceback", ""))
    type_, message = _raised(error, traceback)
    return FailureView(
        id="",
        environment=reader.environment,
        map=reader.run_id,
        index=index,
        task=reader.task,
        type=type_,
        message=_text(message),
        traceback=printable(masked(traceback), lines=True),
        replica=str(getattr(remote, "replica", "")),
        at=None,
        input=_shown(lambda: inputs.at(index)),
    )


def _raised(error: Exception, traceback: str) -> tuple[str, str]:
    """Type and message, also of a class that is unknown here: then its traceback ends with both."""
    if type(error) is not TaskError:
        return type(error).__name__, Exception.__str__(error)
    name, colon, message = traceback.rstrip().rpartition("\n")[2].partition(": ")
    known = colon and name.replace(".", "").isidentifier()
    return (name.rpartition(".")[2], message) if known else ("TaskError", Exception.__str__(error))


def _view(environment: str, name: str, job: Sequence[Any], entries: Any) -> FailureView:
    parts = FAILED_INPUT.fullmatch(name)
    index = int(parts["first"]) + int(parts["position"]) if parts and parts["first"] else None
    traceback = _traceback(entries)
    task, type_, message = _cause((job[0] or b"").decode(errors="replace"), traceback)
    ended = Fields({"ended_at": job[2] or b""}, Problems()).moment("ended_at")
    return FailureView(
        id=shown_name(name),
        environment=shown_name(environment),
        map=shown_name(parts["map"]) if parts else "",
        index=index,
        task=task,
        type=type_,
        message=message,
        traceback=traceback,
        replica=text(job[1] or b""),
        at=ended,
        input=_input(environment, name, job[3] or b""),
    )


def _traceback(entries: Any) -> str:
    """What RQ's result of the job holds, without the advice that is for RQ's tools."""
    try:
        fields = dict(zip(entries[0][1][::2], entries[0][1][1::2], strict=True))
        packed = base64.b64decode(fields[b"exc_string"])
        found = zlib.decompressobj().decompress(packed, 4 * _TRACEBACK_CHARACTERS).decode(errors="replace")
    except (LookupError, ValueError, TypeError, zlib.error):
        return ""
    shown = without_advice(found)
    half = _TRACEBACK_CHARACTERS // 2
    cut = shown if len(shown) <= 2 * half else f"{shown[:half]}\n…\n{shown[-half:]}"
    return "\n".join(text(line.encode(errors="replace")) for line in cut.splitlines())


def _cause(description: str, traceback: str) -> tuple[str, str, str]:
    """Task, type and message: as its replica or its program has put it, in full where the traceback ends with it."""
    task, _, rest = description.partition(": ")
    type_, colon, message = rest.partition(": ")
    if not colon or not type_.isidentifier():  # why its replica died
        return _text(task), "", _text(rest)
    last = traceback.rpartition("\n")[2]
    at = last.find(f"{type_}: ")
    return _text(task), _text(type_), _text(message if at < 0 else last[at + len(type_) + 2 :])


def _input(environment: str, name: str, payload: bytes) -> str:
    if not payload:
        return "(too large to keep)"
    return _shown(lambda: codec.split_list(bytes(unseal(environment, name, payload)[1]))[0])


def _shown(packed: Callable[[], bytes]) -> str:
    """An input as Python shows it; one that cannot be shown says why."""
    try:
        shown = repr(codec.unpack(packed()))
    except (ActorqError, ValueError, LookupError) as error:
        return f"(not shown: {_text(str(error))})"
    cut = len(shown) - _INPUT_CHARACTERS
    return _text(shown if cut <= 0 else f"{shown[:_INPUT_CHARACTERS]}… ({len(shown):,} characters)")


def _text(found: str) -> str:
    return text(found.encode(errors="replace"))
