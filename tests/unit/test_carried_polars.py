"""polars: what arrives equals what left; a stream that is no such one is an error, and never ends the process."""

from __future__ import annotations

import contextlib
import io
from random import Random
from typing import Any

import msgpack
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from actorq import CodecError
from actorq.wire import extensions as ext
from actorq.wire.codec import pack, unpack
from tests.fuzz.making import Maker
from tests.support import polars_values
from tests.support.carried_values import same


@given(polars_values.values)
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_what_is_carried_arrives_with_its_type_and_content(value: Any) -> None:
    assert same(unpack(pack([value]))[0], value)


class Frame(pl.DataFrame):
    pass


class Column(pl.Series):
    pass


@pytest.mark.parametrize(
    ("value", "match"),
    [
        (pl.LazyFrame({"a": [1]}), "collect"),
        (pl.col("a"), "select"),
        (pl.Series([object()], dtype=pl.Object), "cast it"),
        (pl.DataFrame({"a": pl.Series([object()], dtype=pl.Object)}), "'a'.*cast it"),
        (Frame({"a": [1]}), r"Frame is not .*polars\.DataFrame"),
        (Column([1]), r"Column is not .*polars\.Series"),
        (pl.Int8(), "[Pp]ass"),
    ],
    ids=lambda x: type(x).__name__,
)
def test_what_is_not_carried_is_refused_with_what_to_do(value: Any, match: str) -> None:
    with pytest.raises(CodecError, match=match):
        pack(value)


@pytest.mark.parametrize("length", [0, 3])
def test_a_part_of_a_frame_travels_without_the_rest(length: int) -> None:
    part = pl.DataFrame({"a": ["a" * 30] * 10**5, "b": range(10**5)}).slice(7, length)
    assert len(pack(part)) < 2000
    assert same(unpack(pack(part)), part)


def test_categories_with_a_name_keep_it() -> None:
    kind = pl.Categorical(pl.Categories("fruit", "shop"))
    series = pl.Series(["p", "q"], dtype=kind)
    assert same(unpack(pack(series)), series)
    assert unpack(pack(series)).dtype == kind


# -- bytes of anybody's -----------------------------------------------------------------------------------------------


def stream(frame: Any, compression: Any = "uncompressed") -> bytes:
    sink = io.BytesIO()
    frame.write_ipc_stream(sink, compression=compression)
    return sink.getvalue()


def as_polars(kind: Any, data: Any) -> bytes:
    message = pack([kind, data])
    return bytes(msgpack.packb(msgpack.ExtType(ext.POLARS, len(message).to_bytes(4, "little") + message)))


@pytest.mark.parametrize("codec", ["lz4", "zstd"])
def test_a_compressed_stream_is_refused(codec: str) -> None:
    with pytest.raises(CodecError, match="compressed"):
        unpack(as_polars("frame", stream(pl.DataFrame({"a": ["x" * 1000] * 1000}), codec)))


def test_a_code_of_no_category_is_refused() -> None:
    good = stream(pl.DataFrame({"a": pl.Series(["p", "q"] * 8, dtype=pl.Enum(["p", "q"]))}))
    assert unpack(as_polars("frame", good))["a"].to_list() == ["p", "q"] * 8
    with pytest.raises(CodecError):
        unpack(as_polars("frame", good.replace(b"\0\1" * 8, b"\0\7" * 8)))


def test_a_panic_of_polars_is_an_error() -> None:
    good = stream(pl.DataFrame({"a": pl.Series(["p", "q"], dtype=pl.Enum(["p", "q"]))}))
    with pytest.raises(CodecError, match="none"):
        unpack(as_polars("frame", good.replace(b"1;p1;q", b"x;p1;q")))


@pytest.mark.parametrize(
    ("kind", "data"),
    [("frame", 5), ("series", stream(pl.DataFrame({"a": [1], "b": [2]}))), ("lazy", stream(pl.DataFrame())), ([], b"")],
    ids=str,
)
def test_data_of_what_is_none_is_refused(kind: Any, data: Any) -> None:
    with pytest.raises(CodecError):
        unpack(as_polars(kind, data))


@given(polars_values.values, st.integers())
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_damaged_data_is_a_value_or_an_error(value: Any, seed: int) -> None:
    damaged = Maker(Random(seed)).damaged(pack(value))
    with contextlib.suppress(CodecError):
        unpack(damaged)
