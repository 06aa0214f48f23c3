"""The inputs of regular tasks that run in pods, and what becomes of them.

    aq:pod:<map>:<job>:<index>   LIST   one message: the lease's id, 0, its payload

The one idea: a pod takes its input without removing it, so one that is started again finds it.
"""

from __future__ import annotations

from collections.abc import Iterable

from actorq.broker import blobs, keys
from actorq.broker.commands import Argument
from actorq.broker.link import Link
from actorq.wire.messages import Parts

#: an input that nobody fetched is gone after this, seconds
INPUT_TTL = 86_400
#: what a map that ended meanwhile leaves is gone after this, seconds
_OUT_TTL = 60
#: commands written to the server at once
_PIPELINED = 256


def _key(map_id: str, job: int | str, index: int | str) -> str:
    return f"{keys.pod_inputs(map_id)}:{job}:{index}"


# -- the submitter -----------------------------------------------------------------------------------------------------


def write(link: Link, map_id: str, job: int, inputs: Iterable[tuple[int, str, Parts]]) -> None:
    """Puts inputs there: index, lease and payload each. Safe to repeat."""
    commands: list[list[Argument]] = []
    for index, lease, parts in inputs:
        key = _key(map_id, job, index)
        # DEL first: sent again after a lost reply, it must not be there twice
        message = lease.encode() + b"\0" + b"".join(parts)
        commands += [["DEL", key], ["RPUSH", key, message], ["EXPIRE", key, INPUT_TTL]]
        if len(commands) >= 3 * _PIPELINED:
            link.pipeline(commands)
            commands = []
    if commands:
        link.pipeline(commands)


def keep(link: Link, map_id: str, job: int, indexes: Iterable[int]) -> None:
    """They must not expire before their pods come."""
    names = [_key(map_id, job, index) for index in indexes]
    for begin in range(0, len(names), _PIPELINED):
        link.pipeline([["EXPIRE", name, INPUT_TTL] for name in names[begin : begin + _PIPELINED]])


def forget(link: Link, map_id: str, job: int, count: int) -> None:
    """Removes those of a Job of `count` inputs."""
    names = [_key(map_id, job, index) for index in range(count)]
    for begin in range(0, len(names), _PIPELINED):
        link.command("UNLINK", *names[begin : begin + _PIPELINED])


# -- the pod -----------------------------------------------------------------------------------------------------------


def take(link: Link, map_id: str, job: str, index: str, wait: float) -> tuple[str, bytes] | None:
    """The lease and the payload of a pod's input, waited for `wait` seconds. It stays there."""
    key = _key(map_id, job, index)
    message = link.command("BLMOVE", key, key, "LEFT", "LEFT", wait)
    if message is None:
        return None
    lease, _, payload = message.partition(b"\0")
    return lease.decode(), payload


def report_results(link: Link, map_id: str, lease: str, parts: Parts) -> None:
    """The frame of an input's result."""
    message, stores = blobs.send(parts, lease, 1, 0)
    for store in stores:
        link.command("SET", store.key, b"".join(store.parts), "EX", store.seconds)
    _report(link, map_id, ["l", lease, "f", message])


def report_loss(link: Link, map_id: str, lease: str, reason: str, pod: str) -> None:
    """Why an input has no result."""
    _report(link, map_id, ["l", lease, "x", reason, "p", 0, "w", pod])


def _report(link: Link, map_id: str, entry: list[Argument]) -> None:
    link.command("XADD", keys.out(map_id), "*", *entry)
    link.command("EXPIRE", keys.out(map_id), _OUT_TTL)
