"""What is told of the caches outside: per function in metrics, per value in `actorq workers --output json`.

Arguments may be secret, so a label shows their types and a short hash. The hash has a salt that is told to nobody: it
tells the keys of one worker apart, and a guess at an argument cannot be checked with it. `ACTORQ_CACHE_LABELS` shows
plain values instead.
"""

from __future__ import annotations

import hashlib
import heapq
import json
import os
import reprlib
from dataclasses import asdict, dataclass, fields, replace
from typing import TYPE_CHECKING, Any, TypeVar

from actorq.base.masking import printable
from actorq.base.settings import settings
from actorq.cache.keys import Content, Living

if TYPE_CHECKING:
    from actorq.cache.memo import Key

T = TypeVar("T")

#: characters of a label, and values that are told one by one
_LABEL_CHARACTERS, _TOLD_VALUES = 80, 20
#: values of a function that are looked at for it, the latest: a replica collects this every second
_LOOKED_AT = 200
#: made before replicas are forked, so those of one worker agree
_SALT = os.urandom(16)


@dataclass(frozen=True, kw_only=True)
class FunctionStats:
    """One function's cache, in one replica."""

    function: str
    hits: int
    misses: int
    entries: int
    loads: int
    load_seconds: float
    bytes: int
    evictions: int


@dataclass(frozen=True, kw_only=True)
class ValueStats:
    """One value that is kept."""

    function: str
    label: str
    hits: int
    load_seconds: float
    bytes: int
    age_seconds: float


@dataclass(frozen=True, kw_only=True)
class CacheReport:
    """What one replica tells of its caches."""

    functions: tuple[FunctionStats, ...] = ()
    #: those used most
    values: tuple[ValueStats, ...] = ()

    def pack(self, most: int) -> bytes:
        """As text of at most `most` bytes: values are left out first, then functions."""
        functions, values = list(self.functions), list(self.values)
        while True:
            told = {"functions": [asdict(f) for f in functions], "values": [asdict(v) for v in values]}
            data = json.dumps(told, separators=(",", ":")).encode()
            if len(data) <= most:
                return data
            (values or functions).pop()

    @classmethod
    def unpack(cls, data: bytes | str) -> CacheReport:
        """The inverse of `pack`; nothing at all is an empty report, and what an older version does not tell is 0.

        Raises `ValueError` for what is no report.
        """
        try:
            told = json.loads(data) if data else {"functions": (), "values": ()}
            return cls(
                functions=tuple(_known(FunctionStats, stats) for stats in told["functions"]),
                values=tuple(_known(ValueStats, stats) for stats in told["values"]),
            )
        except (TypeError, KeyError, AttributeError, RecursionError) as error:
            raise ValueError(f"not a report: {error}") from error

    def printable(self) -> CacheReport:
        """The same with nothing in its texts that a terminal obeys."""
        return CacheReport(functions=tuple(map(_printable, self.functions)), values=tuple(map(_printable, self.values)))


def _known(kind: type[T], told: dict[str, Any]) -> T:
    values = {field.name: told.get(field.name, "" if field.type == "str" else 0) for field in fields(kind)}  # type: ignore[arg-type]
    for field in fields(kind):  # type: ignore[arg-type]
        value = values[field.name]
        if not (isinstance(value, str) if field.type == "str" else _is_number(value, whole=field.type == "int")):
            raise ValueError(f"{field.name} is of another kind")
    return kind(**values)


def _is_number(value: object, *, whole: bool) -> bool:
    if isinstance(value, bool) or not isinstance(value, int if whole else (int, float)):
        return False
    return 0 <= value < 1e18


def _printable(stats: T) -> T:
    texts = {name: printable(value) for name, value in vars(stats).items() if isinstance(value, str)}
    return replace(stats, **texts)  # type: ignore[type-var]


def collect() -> CacheReport:
    """The caches of this process."""
    from actorq.cache.memo import counted, every, now

    functions: dict[str, dict[str, Any]] = {}
    for name, counts, entries, size in counted():
        stats = functions.setdefault(name, dict.fromkeys(FunctionStats.__dataclass_fields__, 0) | {"function": name})
        for field in ("hits", "misses", "loads", "load_seconds", "evictions"):
            stats[field] += getattr(counts, field)
        stats["entries"] += entries
        stats["bytes"] += size
    for stats in functions.values():
        stats["load_seconds"] = round(stats["load_seconds"], 6)
    kept = [(memo, key, entry) for memo in every() for key, entry in memo.recent(_LOOKED_AT)]
    most = heapq.nlargest(_TOLD_VALUES, kept, key=lambda found: (found[2].hits, found[2].born))
    return CacheReport(
        functions=tuple(FunctionStats(**functions[name]) for name in sorted(functions) if _called(functions[name])),
        values=tuple(
            ValueStats(
                function=memo.name,
                label=label(memo.parameters, key),
                hits=entry.hits,
                load_seconds=round(entry.load_seconds, 6),
                bytes=entry.size,
                age_seconds=round(now() - entry.born, 1),
            )
            for memo, key, entry in most
        ),
    )


def _called(stats: dict[str, Any]) -> bool:
    """Whether the function was ever called: one that was not is no news."""
    return bool(stats["hits"] or stats["misses"])


def label(parameters: tuple[str, ...], key: Key) -> str:
    """The arguments behind `key`, to read."""
    shown = ", ".join(f"{name}={_shown(part)}" for name, part in zip(parameters, key, strict=True))
    return shown if len(shown) <= _LABEL_CHARACTERS else shown[: _LABEL_CHARACTERS - 1] + "…"


def _shown(part: Any) -> str:
    if isinstance(part, Living):
        return f"{part.kind}@{part.number}"
    content = part.content if isinstance(part, Content) else part
    kind = part.kind if isinstance(part, Content) else type(part).__name__
    if settings().cache_labels and kind in _READABLE:
        return reprlib.repr(float.fromhex(content) if kind == "float" else content)
    data = repr(content).encode("utf-8", "backslashreplace")
    return f"{kind}:{hashlib.blake2b(data, key=_SALT, digest_size=3).hexdigest()}"


_READABLE = frozenset({"int", "str", "bytes", "NoneType", "bool", "float"})
