"""Values and bytes to try: good ones of every kind, the same with damage, and some that were made to hurt."""

from __future__ import annotations

import array
import datetime as dt
import decimal
import pathlib
import re
import uuid
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Callable
from fractions import Fraction
from ipaddress import ip_address
from random import Random
from typing import Any
from zoneinfo import ZoneInfo

import msgpack
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
from PIL import Image

from actorq.errors import Unsent
from actorq.wire import codec
from tests.fuzz.work import Access, Box, Colour, Model, OwnError, Page, Pair, Point

#: bytes of a case, at most: what takes time or memory in proportion shows with few
MOST_BYTES = 1 << 15
#: what hashes of numbers are taken modulo
_MERSENNE = (1 << 61) - 1
#: bytes that begin something in msgpack, or nothing
_HEADERS = bytes((*range(0x80, 0xA3), *range(0xC0, 0xE0), 0x00, 0x7F, 0xFF))
_TEXTS = ("", "a", "é", "\U0001f600", "\udcff", "\x00", "\x1b[2J", "x" * 300, "__notes__", "9" * 5000, "redis://u:p@h")


class Maker:
    """Makes cases from one random generator; the same ones from the same."""

    def __init__(self, random: Random) -> None:
        self.random = random

    # -- values --------------------------------------------------------------------------------------------------------

    def value(self, depth: int = 4) -> Any:
        """A value of ours, in which others lie."""
        random = self.random
        if depth <= 0 or random.random() < 0.4:
            return self.scalar()
        count = random.choice((0, 1, 1, 2, 3, 5, 20))
        inner: list[Callable[[], Any]] = [
            lambda: [self.value(depth - 1) for _ in range(count)],
            lambda: tuple(self.value(depth - 1) for _ in range(count)),
            lambda: {self.key(): self.value(depth - 1) for _ in range(count)},
            lambda: {self.number() for _ in range(count)},
            lambda: frozenset(self.number() for _ in range(count)),
            lambda: Point(self.value(depth - 1), self.value(depth - 1)),
            lambda: Box(self.value(depth - 1)),
            lambda: Pair(self.value(depth - 1), self.value(depth - 1)),
            lambda: Model.model_construct(name=self.text(), size=self.value(depth - 1)),
            lambda: Page[int].model_construct(item=self.value(depth - 1)),
        ]
        return random.choice(inner)()

    def scalar(self) -> Any:
        random = self.random
        kinds: list[Callable[[], Any]] = [
            lambda: random.choice((None, True, False, 0, -1, 1.5, float("nan"), float("inf"), -0.0)),
            lambda: random.getrandbits(random.choice((7, 31, 63, 64, 200, 5000))) * random.choice((1, -1)),
            self.text,
            lambda: random.randbytes(random.choice((0, 1, 40, 300))),
            lambda: decimal.Decimal(random.choice(("0", "-1.50", "NaN", "sNaN", "Infinity", "1E+999999", "1E-999999"))),
            lambda: uuid.UUID(int=random.getrandbits(128)),
            lambda: pathlib.Path(self.text().replace("\x00", "") or "."),
            lambda: dt.datetime.fromtimestamp(random.randrange(1 << 32), random.choice((None, dt.UTC))),
            lambda: dt.timedelta(seconds=random.randrange(-(10**9), 10**9)),
            lambda: dt.date.fromordinal(random.randrange(1, 3_000_000)),
            lambda: dt.time(random.randrange(24), fold=random.randrange(2)),
            lambda: complex(random.random(), float("nan")),
            lambda: range(random.randrange(100), random.choice((5, 10**6, 10**30)), random.choice((1, -3, 10**20))),
            lambda: random.choice((Colour.RED, Colour.BLUE, Access.READ, Access.READ | Access.WRITE)),
            lambda: np.zeros(random.randrange(20), dtype=random.choice(("i1", "<f8", ">u4", "M8[s]", "c16"))),
            lambda: np.zeros((2, 0, 3), dtype=[("a", "i4"), ("b", "S3")]),
            lambda: np.zeros(2, dtype=np.dtype([("a", "i1"), ("b", "(2,)f8")], align=True)),
            lambda: np.ma.masked_equal([1, 2, 3], random.randrange(4)),
            lambda: random.choice((np.float32(1.5), np.str_("a"), np.bytes_(b"b\0"), np.datetime64("NaT", "ns"))),
            lambda: pathlib.PureWindowsPath(self.text()),
            lambda: random.choice((dt.timezone(dt.timedelta(hours=1), "x"), dt.time(1, tzinfo=ZoneInfo("UTC")))),
            lambda: Access(random.randrange(4)),
            lambda: random.choice((ValueError("a"), OSError(2, "no", "f"), ExceptionGroup("g", [KeyError(1)]))),
            lambda: random.choice((array.array("d", [1.5]), Fraction(1, 3), ip_address("::1"), re.compile("a(b)*"))),
            lambda: random.choice((OrderedDict(a=1), Counter("ab"), deque([1], 3), defaultdict(list))),
            lambda: Unsent.of(random.choice((object, Colour.RED, "a"))),
            lambda: UnicodeDecodeError("utf-8", b"ab", random.randrange(2), random.randrange(3), "bad"),
        ]
        return random.choice(kinds)()

    def of_library(self) -> Any:
        """A value of another library. It is in no other value: the text of some is an address."""
        return self.random.choice((self.frame, self.arrow, self.polar, self.image))()

    def image(self) -> Any:
        """An image of PIL."""
        random = self.random
        return Image.new(random.choice(("1", "P", "RGB", "I;16")), (random.randrange(40), random.randrange(40)))

    def frame(self) -> Any:
        """A value of pandas."""
        random, rows = self.random, self.random.choice((0, 1, 3, 700))
        kinds: list[Callable[[], Any]] = [
            lambda: pd.array([random.choice((1, None)) for _ in range(rows)], dtype=random.choice(("Int8", "Float64"))),
            lambda: pd.Categorical.from_codes([-1] * rows, categories=["a", "b"], ordered=True),
            lambda: pd.array(["a"] * rows, dtype=pd.StringDtype(random.choice(("python", "pyarrow")))),
            lambda: pd.Index(pd.array([1.5] * rows), dtype=object).array,
            lambda: pd.date_range("2020", periods=rows, freq="D", tz="Europe/Berlin").array,
            lambda: pd.period_range("2020", periods=rows, freq="D").array,
            lambda: pd.interval_range(0, rows).array,
        ]
        columns = {name: random.choice(kinds)() for name in "abc"}
        index = random.choice((None, pd.RangeIndex(rows), pd.date_range("2020", periods=rows, freq="h")))
        levels = pd.MultiIndex.from_product([["a", "b"], [1, 2]], names=["x", None])
        whole = pd.DataFrame(columns, index=index)
        return random.choice((whole, whole.index, whole.iloc[:, 0], levels, pd.NaT, pd.Timestamp(5, tz="UTC"), pd.NA))

    def polar(self) -> Any:
        """A value of polars."""
        random, rows = self.random, self.random.choice((1, 3, 700))
        columns = {
            "a": pl.Series([1, None, 3] * rows, dtype=random.choice((pl.Int8, pl.Float64, pl.Datetime("us", "UTC")))),
            "b": pl.Series(["a", "b" * 20, None] * rows, dtype=pl.String),
            "c": pl.Series(["a", "b", None] * rows, dtype=random.choice((pl.Categorical(), pl.Enum(["a", "b"])))),
            "d": pl.Series([[1], [], None] * rows, dtype=pl.List(pl.Int8)),
            "e": pl.Series([{"x": 1, "y": "b"}, None, {"x": None, "y": ""}] * rows),
        }
        frame = pl.DataFrame({name: columns[name] for name in random.sample(sorted(columns), 2)})
        return random.choice((frame, frame.to_series(0), pl.DataFrame()))

    def arrow_table(self) -> Any:
        random, rows = self.random, self.random.choice((0, 1, 3, 700))
        columns = {
            "a": pa.array([1, None, 3] * rows, random.choice((pa.int8(), pa.float64(), pa.timestamp("s", "UTC")))),
            "b": pa.array(
                ["a", "b" * 20, None] * rows, random.choice((pa.string(), pa.large_string(), pa.string_view()))
            ),
            "c": pa.array([[1], [], None] * rows, random.choice((pa.list_(pa.int8()), pa.list_view(pa.int8())))),
            "d": pa.array(["a", "b", None] * rows).dictionary_encode(),
            "e": pa.array([{"x": 1, "y": "b"}, None, {}] * rows, pa.struct([("x", pa.int8()), ("y", pa.string())])),
        }
        return pa.table({name: columns[name] for name in random.sample(sorted(columns), 2)}, metadata={"k": "v"})

    def arrow(self) -> Any:
        """A value of pyarrow."""
        random, table = self.random, self.arrow_table()
        return random.choice(
            (table, table.column(0), table.column(1).chunk(0), table.schema, table.schema.field(0).type)
        )

    def text(self) -> str:
        return self.random.choice(_TEXTS) + self.random.choice(("", str(self.random.randrange(100))))

    def key(self) -> Any:
        """What a dict may hold."""
        return self.random.choice((self.number, self.text, lambda: (self.number(), self.text())))()

    def number(self) -> Any:
        """What a set may hold. Its hash is the same in every process, so that the set is, too."""
        random = self.random
        kinds: list[Callable[[], Any]] = [
            lambda: random.randrange(1000),
            lambda: (random.randrange(10), 1.5),
            lambda: uuid.UUID(int=random.getrandbits(128)),
            lambda: frozenset((random.randrange(10), 7)),
            lambda: Point(random.randrange(10), 1),
            lambda: decimal.Decimal(random.randrange(100)),
        ]
        return random.choice(kinds)()

    # -- bytes ---------------------------------------------------------------------------------------------------------

    def packed(self) -> bytes:
        """A packed value, good or not."""
        return self._one_of(
            (self.good, 4),
            (lambda: self.damaged(self.good()), 4),
            (lambda: self.node(6), 3),
            (self.deep, 2),
            (self.colliding, 1),
            (lambda: self.random.randbytes(self.random.randrange(60)), 1),
        )[:MOST_BYTES]

    def packed_list(self) -> bytes:
        """A packed list, good or not."""
        return self._one_of(
            (lambda: codec.pack([self.value(2) for _ in range(self.random.randrange(5))]), 4),
            # a supervisor would cut a lease of many more, each of which may be an error of 100 KB
            (lambda: codec.pack(range(self.random.choice((0, 3, 100, 10**12)))), 1),
            (lambda: codec.join_list([self.packed() for _ in range(self.random.randrange(4))]), 3),
            (lambda: self.damaged(codec.pack([self.value(2) for _ in range(3)])), 2),
            (self.packed, 1),
        )[:MOST_BYTES]

    def good(self) -> bytes:
        if self.random.random() < 0.2:
            return codec.pack(self.random.choice((lambda each: each, lambda each: (each, [each])))(self.of_library()))
        return codec.pack(self.value())

    def node(self, depth: int) -> bytes:
        """Something that begins like msgpack. It may not be what it says it is."""
        random, parts = self.random, [bytes([self.random.choice(_HEADERS)])]
        for _ in range(random.choice((0, 0, 1, 2, 4))):
            parts.append(random.choice((b"", b"\x01", b"\xff\xff\xff\xff", random.randbytes(3))))
            if depth:
                parts.append(random.choice((self.node, self.extension))(depth - 1))
        return b"".join(parts)

    def extension(self, depth: int) -> bytes:
        inside = self.node(depth - 1) if depth > 0 and self.random.random() < 0.6 else self.good()
        return _extension(self.random.choice((*range(1, 40), 0, 127)), inside)

    def deep(self) -> bytes:
        """Levels and levels, around something that may be wrong."""
        random = self.random
        data = random.choice((b"\x01", b"\xa1\xff", b"\xa3\xed\xa0\x80", b"\xc1", b"\x91", self.good()))
        for _ in range(random.choice((3, 20, 99, 150, 400))):
            if len(data) >= MOST_BYTES:
                break
            wrapped = b"\x91" * random.choice((0, 1, 1, 2, 500)) + data
            data = _extension(random.choice((1, 1, 1, 2, 3)), b"\x91" + wrapped) if random.random() < 0.9 else wrapped
        return data

    def colliding(self) -> bytes:
        """A set or dict of many keys that have one hash, or are one."""
        random, count = self.random, self.random.choice((100, 200, 1000))
        make: Callable[[int], Any] = random.choice(
            (
                lambda i: _MERSENNE * (i + 1),
                lambda i: decimal.Decimal(_MERSENNE * (i + 1)),
                lambda i: (_MERSENNE * (i % 4), -_MERSENNE * (i // 4 % 4), _MERSENNE * (i // 16)),
                lambda i: frozenset((_MERSENNE * i,)),
                lambda i: Point(_MERSENNE * i),
                lambda i: i % 3,
                lambda i: float(2 ** (61 * (i % 16))),
            )
        )
        parts = [codec.pack(make(i)) for i in range(count)]
        if random.random() < 0.5:
            return _extension(random.choice((2, 3)), codec.join_list(parts))
        header = bytes(msgpack.Packer().pack_map_header(count))
        return header + b"".join(part + b"\xc0" for part in parts)

    def damaged(self, data: bytes) -> bytes:
        """`data` with one to four changes."""
        random = self.random
        for _ in range(random.choice((1, 1, 1, 2, 4))):
            at = random.randrange(len(data) + 1)
            end = min(len(data), at + random.choice((1, 1, 2, 8, 100)))
            data = random.choice(
                (
                    data[:at] + bytes([random.choice(_HEADERS)]) + data[at + 1 :],
                    data[:at] + random.randbytes(1) + data[at + 1 :],
                    data[:at] + data[end:],
                    data[:at] + data[at:end] * random.choice((2, 2, 50)) + data[end:],
                    data[:at],
                    data[:at] + b"\xff\xff\xff\xff" + data[at:],
                    data + data[at:end],
                )
            )
        return data[:MOST_BYTES]

    def failure(self) -> dict[Any, Any]:
        """What a frame tells of an exception."""
        random = self.random
        error = random.choice(
            (
                ValueError(self.value(2)),
                OwnError(1, hint="h"),
                OSError(2, "no", "f"),
                KeyError("k"),
                StopIteration(1),
            )
        )
        told: dict[Any, Any] = {
            "kind": random.choice(("error", "error", "error", "timeout", "lost", "cancelled", "damaged", "x")),
            "module": type(error).__module__,
            "type": type(error).__qualname__,
            "message": self.text(),
            "args": codec.pack([*error.args, *random.choice(([], [], [ValueError(self.text())]))]),
            "state": codec.pack(vars(error)),
            "more": codec.pack({"notes": [self.text()], "built_in": {"errno": self.value(1)}, "raised": True}),
            "traceback": self.text(),
            "final": random.random() < 0.5,
        }
        for name in random.sample(sorted(told), random.choice((0, 0, 1, 2))):
            told[name] = random.choice(
                (
                    None,
                    5,
                    "text",
                    b"bytes",
                    [],
                    {},
                    self.good(),
                    self.packed(),
                    self.text(),
                    codec.pack({"__notes__": 5}),
                    codec.pack({"group": ["g", [ValueError("a")]], "unicode": ["utf-8", b"a", -1, 5, self.text()]}),
                )
            )
        return told

    def odd_text(self) -> bytes:
        """A field of Redis, text most of the time."""
        return self._one_of(
            (lambda: str(self.random.randrange(10**6)).encode(), 4),
            (lambda: self.text().encode(errors="surrogateescape"), 3),
            (lambda: self.damaged(b'{"functions": [{"function": "f", "hits": 1, "entries": 2}], "values": []}'), 2),
            (lambda: b"2026-01-01T00:00:00Z", 1),
            (lambda: self.random.randbytes(10), 1),
            (lambda: b"t[%d:%d]" % (self.random.randrange(9), self.random.choice((9, 10**6, 10**20))), 2),
        )

    def _one_of(self, *choices: tuple[Callable[[], bytes], int]) -> bytes:
        makes, weights = zip(*choices, strict=True)
        make: Callable[[], bytes] = self.random.choices(makes, weights)[0]
        return make()


def _extension(code: int, data: bytes) -> bytes:
    return bytes(msgpack.packb(msgpack.ExtType(code, data)))
