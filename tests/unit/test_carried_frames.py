"""pandas: what arrives shows all that what left has shown, or is refused by name."""

from __future__ import annotations

import contextlib
import datetime as dt
import sys
from random import Random
from typing import Any

import msgpack
import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from actorq import CodecError
from actorq.wire import codec
from actorq.wire import extensions as ext
from actorq.wire.codec import pack, pack_list, unpack
from tests.conftest import run_script
from tests.fuzz.making import Maker
from tests.support import pandas_values
from tests.support.carried_values import same


@given(pandas_values.values)
@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_what_is_carried_arrives_with_its_type_and_content(value: Any) -> None:
    assert same(unpack(pack(value)), value)


@given(pandas_values.frames(), pandas_values.series())
@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_frames_lie_in_other_values_and_in_one_another(frame: Any, series: Any) -> None:
    held = pd.Series([frame, (series, 1), None], dtype=object)
    for whole in ([frame, {"a": (series,)}], held):
        assert same(unpack(pack(whole)), whole)


class Frame(pd.DataFrame):  # type: ignore[misc]
    pass


class Column(pd.Series):  # type: ignore[misc]
    pass


@pytest.mark.parametrize("value", [Frame({"a": [1]}), Column([1])], ids=lambda x: type(x).__name__)
def test_a_subclass_is_refused_by_name(value: Any) -> None:
    with pytest.raises(CodecError, match=rf"Thing 0 cannot be carried: \S*\.{type(value).__name__} .*Pass "):
        pack_list([value], 1 << 20, lambda i: f"Thing {i}")


def with_attribute(value: Any) -> Any:
    object.__setattr__(value, "note", 1)
    return value


def with_custom_days() -> Any:
    return pd.date_range("2020", periods=3, freq=pd.offsets.CustomBusinessDay(holidays=["2020-01-02"]))


@pytest.mark.parametrize(
    ("value", "match"),
    [
        (pd.arrays.SparseArray([0, 1]), "to_dense"),
        (pd.Series(pd.arrays.SparseArray([0, 1])), "to_dense"),
        (pd.offsets.MonthEnd(), "Pass"),
        (pd.Int64Dtype(), "Pass"),
        (pd.DataFrame({"a": [1]}).groupby("a"), "Pass"),
        (with_attribute(pd.DataFrame({"a": [1]})), "'note'"),
        (with_attribute(pd.Series([1])), "'note'"),
        (with_attribute(pd.Index([1])), "'note'"),
        (with_custom_days(), "_with_freq"),
        (pd.date_range("2020", periods=2, freq=pd.DateOffset(months=1)), "_with_freq"),
        (pd.DataFrame({"a": [object()]}), "object"),
        (pd.DataFrame({"a": [1]}, index=[object()]), "object"),
    ],
    ids=lambda x: type(x).__name__,
)
def test_what_is_not_carried_is_refused_with_what_to_do(value: Any, match: str) -> None:
    with pytest.raises(CodecError, match=match):
        pack(value)


def test_the_message_says_where_in_a_frame_the_part_is_that_cannot_be_carried() -> None:
    frame = pd.DataFrame({"a": [1, 2], "b": ["x", {"key": object()}]})
    with pytest.raises(CodecError, match=r"Thing 0 at \['b'\]\.iloc\[1\]\['key'\] cannot be carried: builtins\.object"):
        pack_list([frame], 1 << 20, lambda i: f"Thing {i}")


def test_an_accessor_that_was_used_is_no_attribute() -> None:
    series = pd.Series(["a"])
    assert series.str.upper().tolist() == ["A"]
    assert same(unpack(pack(series)), series)


def test_numbers_arrive_without_a_copy_and_read_only_or_as_copies_that_can_be_written_to() -> None:
    for frame in (pd.DataFrame(np.zeros((1000, 3))), pd.DataFrame({"a": np.zeros(1000), "b": np.zeros(1000, "i8")})):
        data = pack([frame])
        column = unpack(data)[0].iloc[:, 0].to_numpy()
        assert not column.flags.owndata
        with codec.writable_arrays():
            (back,) = unpack(data)
        back.iloc[0, 0] = 5
        assert back.iloc[0, 0] == 5
        assert same(unpack(data)[0], frame)


def test_columns_may_have_one_name() -> None:
    frame = pd.DataFrame([[1, "a"], [2, "b"]], columns=["x", "x"])
    assert same(unpack(pack(frame)), frame)


def test_a_receiver_without_pandas_is_told_to_install_it(tmp_path: Any) -> None:
    printed = run_script(
        tmp_path,
        f"""
        import sys
        import actorq
        from actorq.wire.codec import pack, unpack

        loaded = {{name.partition(".")[0] for name in sys.modules}}
        print(loaded & {{"pandas", "numpy", "pyarrow", "polars", "PIL", "torch", "actorq.wire.carried.frames"}})
        sys.modules["pandas"] = None
        try:
            unpack({pack(pd.Series([1]))!r})
        except actorq.CodecError as error:
            print(error)
        """,
    )
    assert printed == "set()\nThe data holds a value of pandas, and pandas is not installed here: install it.\n"


# -- bytes of anybody's -----------------------------------------------------------------------------------------------


def as_pandas(plain: Any) -> bytes:
    message = pack(plain)
    return bytes(msgpack.packb(msgpack.ExtType(ext.PANDAS, len(message).to_bytes(4, "little") + message)))


def array(*values: int, dtype: str = "<i8") -> list[Any]:
    made = np.array(values, dtype)
    return [dtype, [len(made)], made.tobytes(), "C", 0]


TWO_ROWS = ["RangeIndex", None, 0, 2, 1]
NUMBERS = ["numpy", array(1, 2)]


@pytest.mark.parametrize(
    "plain",
    [
        ["frame", TWO_ROWS, TWO_ROWS, ["array", array(1, 2)]],
        ["frame", TWO_ROWS, TWO_ROWS, ["array", ["<i8", [3, 2], bytes(32), "C", 0]]],
        [
            "frame",
            ["RangeIndex", None, 0, 10**12, 1],
            ["RangeIndex", None, 0, 0, 1],
            ["array", ["<i8", [0, 10**12], b"", "C", 0]],
        ],
        ["frame", TWO_ROWS, TWO_ROWS, ["columns", [NUMBERS]]],
        ["frame", TWO_ROWS, TWO_ROWS, ["columns", [NUMBERS, ["numpy", array(1)]]]],
        ["frame", TWO_ROWS, TWO_ROWS, ["columns", [NUMBERS, ["object", "ab"]]]],
        ["series", None, TWO_ROWS, ["numpy", array(1, 2, 3)]],
        ["series", [], TWO_ROWS, NUMBERS],
        ["series", None, TWO_ROWS, ["category", array(0, 9, dtype="|i1"), ["Index", None, NUMBERS], False]],
        ["series", None, TWO_ROWS, ["category", array(0, -2, dtype="|i1"), ["Index", None, NUMBERS], False]],
        ["series", None, TWO_ROWS, ["category", array(0, 1, dtype=">i2"), ["Index", None, NUMBERS], False]],
        [
            "series",
            None,
            TWO_ROWS,
            ["category", array(0, 1, dtype="|i1"), ["Index", None, ["numpy", array(1, 1)]], False],
        ],
        ["series", None, TWO_ROWS, ["masked", "Int64", array(1, 2), array(1, dtype="|b1")]],
        ["series", None, TWO_ROWS, ["masked", "Int8", array(1, 2), None]],
        ["series", None, TWO_ROWS, ["str", "python", True, [1, 2]]],
        ["series", None, TWO_ROWS, ["str", "elsewhere", True, ["a", "b"]]],
        ["series", None, TWO_ROWS, ["times", ["<M8[D]", [2], bytes(16), "C", 0], None]],
        ["series", None, TWO_ROWS, ["times", ["<M8[7s]", [2], bytes(16), "C", 0], None]],
        ["series", None, TWO_ROWS, ["periods", "__import__('os')", array(1, 2)]],
        ["series", None, TWO_ROWS, ["intervals", ["numpy", array(5, 5)], NUMBERS, "right"]],
        ["series", None, TWO_ROWS, ["arrow", 5]],
        ["index", ["DatetimeIndex", None, NUMBERS]],
        ["index", ["DatetimeIndex", None, ["numpy", ["<M8[s]", [2], bytes(16), "C", 0]], "D"]],
        ["index", ["RangeIndex", None, 0, 10**30, 1]],
        ["index", ["MultiIndex", [None], [["Index", None, NUMBERS]], [array(0, 2, dtype="|i1")], None]],
        ["index", ["MultiIndex", [None], [["Index", None, NUMBERS]], [array(0, -2, dtype="|i1")], None]],
        ["index", ["MultiIndex", [None], [["Index", None, NUMBERS]], [array(1, 0, dtype="|i1")], 1]],
        ["index", ["MultiIndex", [], [], [], None]],
        ["timestamp", 2**70, "s", None, 0],
        ["timestamp", -(2**63), "s", None, 0],
        ["timestamp", 1, "D", None, 0],
        ["timestamp", "2020", "s", None, 0],
        ["period", "a", "D"],
        ["interval", 2, 1, "right"],
        ["interval", "a", 1, "right"],
        ["array", ["plain", ["numpy", ["<i8", [1, 1], bytes(8), "C", 0]]]],
        ["read_pickle", "x"],
        5,
        [],
        [[]],
    ],
    ids=lambda plain: str(plain)[:60],
)
def test_data_of_what_is_none_is_refused(plain: Any) -> None:
    with pytest.raises(CodecError):
        unpack(as_pandas(plain))


def test_numbers_made_to_have_one_hash_in_pandas_take_no_longer_than_others() -> None:
    high = np.arange(20_000, dtype="u8")
    low = high.copy()
    for _ in range(5):  # the hash that pandas has for such numbers is the same for all of these
        low = high ^ ((low << np.uint64(11)) & np.uint64(0xFFFFFFFF))
    keys = ((high << np.uint64(33)) | low).astype("i8")
    Random(1).shuffle(shuffled := keys.tolist())
    categories = ["Index", None, ["numpy", array(*shuffled)]]
    level = ["MultiIndex", [None], [categories], [array(0, dtype="<i2")], None]
    with time_of(0.5):  # pandas itself takes 2 s
        unpack(as_pandas(["array", ["category", array(0, dtype="<i2"), categories, False]]))
        unpack(as_pandas(["index", level]))


@contextlib.contextmanager
def time_of(seconds: float) -> Any:
    start = dt.datetime.now(dt.UTC)
    yield
    assert (dt.datetime.now(dt.UTC) - start).total_seconds() < seconds


def test_objects_made_to_have_one_hash_are_refused_where_pandas_makes_a_table_of_them() -> None:
    keys = [((1 << 61) - 1) * (i + 1) for i in range(200)]
    categories = ["Index", None, ["object", keys]]
    with pytest.raises(CodecError, match="same hash"):
        unpack(as_pandas(["array", ["category", array(0, dtype="<i2"), categories, False]]))


@given(pandas_values.values, st.integers())
@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_damaged_data_is_a_value_or_an_error(value: Any, seed: int) -> None:
    damaged = Maker(Random(seed)).damaged(pack(value))
    with contextlib.suppress(CodecError):
        pack(unpack(damaged))
    assert "pandas" in sys.modules
