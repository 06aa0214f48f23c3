"""Tells the submitter that a replica has other code than its own: old code is never run in silence.

A lease says which code its submitter has, as a hash. A replica that finds another one of its own sends what it has,
name by name, with the next results; the submitter knows its own names, and says which differ. A name that only one of
the two has is no difference: what uses it differs, too, and a package may be installed here and lie beside there.
"""

from __future__ import annotations

from typing import Any

import msgpack

from actorq.base.settings import settings
from actorq.base.warned import warn
from actorq.code.fingerprint import FINGERPRINTS, PYTHON, is_comparable
from actorq.errors import PoolError
from actorq.wire.messages import Head

#: what a replica tells at most, bytes: it travels with the results, and not beside them
_MOST_BYTES = 24_000
#: of a name, beside its characters: a hash, and what msgpack adds
_PART_BYTES = 16
#: names that a warning shows
_SHOWN = 5

_LOCALLY = (
    "Replicas import the files as they are now: what has changed there since this program imported them, or in its "
    "memory, is not theirs. Reload the module, or start the program anew."
)
_ELSEWHERE = (
    "Start the workers anew with the present code (pods: build their image anew), or declare code='bundle', and start "
    "workers with --bundles, and the code travels with the map. With code='strict' this is an error."
)

#: what was told already: the task, and which names differ
_told: set[tuple[str, tuple[str, ...]]] = set()


def compared(head: Head, function: Any) -> bytes:
    """What the submitter of `head` is to be told of the code of `function` here; b"" for nothing.

    Raises `PoolError` for other code where the head says that it may not run.
    """
    if head.strict:
        _refuse_other(head.task, function, head.fingerprint)
    if not is_comparable(head.fingerprint):
        return b""
    own = FINGERPRINTS.of(function)
    if not own.digest or own.text == head.fingerprint:
        return b""
    told, size = {}, 0
    for name in sorted(own.parts):
        size += len(name) + _PART_BYTES
        if size > _MOST_BYTES:
            break
        told[name] = own.parts[name]
    return bytes(msgpack.packb(told))


def _refuse_other(task: str, function: Any, fingerprint: str) -> None:
    if not is_comparable(fingerprint):
        there = fingerprint.partition(":")[0] or "unknown"
        raise PoolError(
            f"The code of {task} cannot be compared: it is of {there} at its submitter, and of {PYTHON} here. Use the "
            "same Python, or declare another code= than 'strict'."
        )
    own = FINGERPRINTS.of(function)
    if own.text != fingerprint:
        why = own.unknown or "somebody has changed it since one of the two was started"
        raise PoolError(
            f"This replica's code of {task} is not its submitter's ({why}), and the environment is declared with "
            "code='strict': start the replica anew with the present code."
        )


def tell(task: str, function: Any, packed: bytes) -> None:
    """Warns, once, of the names that differ from those of `packed`, which a replica has sent.

    Args:
        task: its name.
        function: that of the task here, None where it is not declared any more.
        packed: what `compared` has made.
    """
    try:
        theirs = msgpack.unpackb(packed)
    except Exception:  # a replica that sends anything
        return
    if not isinstance(theirs, dict) or function is None:
        return
    own = FINGERPRINTS.of(function).parts
    differ = tuple(sorted(name for name in own.keys() & theirs.keys() if own[name] != theirs[name]))
    if not differ or (task, differ) in _told:
        return
    _told.add((task, differ))
    more = f" and {len(differ) - _SHOWN} more" if len(differ) > _SHOWN else ""
    warn(
        f"The replicas run other code of {task} than this program has: {', '.join(differ[:_SHOWN])}{more} "
        f"{'differ' if len(differ) > 1 else 'differs'}. {_LOCALLY if settings().redis_url is None else _ELSEWHERE}"
    )
