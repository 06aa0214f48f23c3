"""Tasks of which some results are damaged on their way, as their inputs say."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgpack

from actorq import ActorEnvironment
from actorq.broker.blobs import REFERENCE
from actorq.wire import codec
from actorq.wire.messages import PROTOCOL, Frame, join

env = ActorEnvironment("damaging", replica_count=2, max_crashes=1, lease_seconds=2)

NOTED = {
    "kind": "error",
    "module": "builtins",
    "type": "ValueError",
    "message": "noted",
    "args": codec.pack(["noted"]),
    "state": codec.pack({"__notes__": 5}),
    "traceback": "",
    "final": True,
}


def with_errors(errors: Any) -> Callable[[Frame], bytes]:
    return lambda frame: join(msgpack.packb([PROTOCOL, 0, 1, 0.0, frame.replica, errors, b""]), b"\x91\xc0")


def with_outputs(frame: Frame, outputs: bytes) -> bytes:
    head, replica, _ = _parts(frame)
    return b"".join((head, replica, outputs))


DAMAGES: dict[str, Callable[[Frame], bytes]] = {
    "nothing": lambda frame: b"",
    "garbage": lambda frame: b"\x00\x00\x00\x05" + b"\xff" * 20,
    "errors that are no dicts": with_errors({0: "no"}),
    "errors of other inputs": with_errors({7: NOTED}),
    "an error of another kind": with_errors({0: NOTED | {"message": 5}}),
    "no list": lambda frame: with_outputs(frame, b"\x05"),
    "another number": lambda frame: with_outputs(frame, b"\x9f" + b"\x01" * 15),
    "another input": lambda frame: b"".join(_parts(replace(frame, start=5))),
    "no blob": lambda frame: REFERENCE + b"rq:queues",
    "a blob of another type": lambda frame: REFERENCE + b"aq:blob:of-another-type",
    "a blob that is gone": lambda frame: REFERENCE + b"aq:blob:gone",
}

_parts: Callable[[Frame], tuple[Any, ...]] = Frame.parts


def _damaged(frame: Frame) -> tuple[Any, ...]:
    for value in codec.unpack_each(frame.outputs)[0]:
        if isinstance(value, list) and value[0] == "damaged":
            _, kind, once = value
            if once and Path(once).exists():
                break
            if once:
                Path(once).touch()
            return (DAMAGES[kind](frame),)
    return _parts(frame)


if "ACTORQ_REPLICA_OF" in os.environ:
    setattr(Frame, "parts", _damaged)  # noqa: B010 - a method must not be assigned to


@env.task
def work(value: Any) -> Any:
    return value


@env.task(affinity=str)
def work_by_key(value: Any) -> Any:
    return value
