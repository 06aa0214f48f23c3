"""Whatever the bytes are, decoding them takes time, memory and stack in proportion; and so does encoding."""

from __future__ import annotations

import contextlib
import dataclasses
import datetime as dt
import decimal
import sys
import threading
import uuid
from collections.abc import Callable
from typing import Any

import msgpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actorq import CodecError
from actorq.wire.codec import join_list, pack, unpack


@dataclasses.dataclass(frozen=True, slots=True)
class Point:
    x: int
    y: Any = None


def nested(levels: str, value: Any = 1) -> Any:
    """`value` in a list ("l") or a tuple ("t") for each letter, the first outermost."""
    for level in reversed(levels):
        value = [value] if level == "l" else (value,)
    return value


def nested_data(levels: str, data: bytes = b"\x01") -> bytes:
    """The same as bytes, which anybody can make."""
    for level in reversed(levels):
        data = b"\x91" + data
        if level == "t":
            data = msgpack.packb(msgpack.ExtType(1, data))
    return data


def calls_in(action: Callable[[], Any]) -> int:
    """Python functions that are called while `action` runs, which may be refused."""
    count = 0

    def tick(frame: Any, event: str, arg: Any) -> None:
        nonlocal count
        count += event == "call"

    before = sys.getprofile()
    sys.setprofile(tick)
    try:
        with contextlib.suppress(CodecError):
            action()
    finally:
        sys.setprofile(before)
    return count


@pytest.mark.parametrize("inner", [b"\xa1\xff", b"\xa3\xed\xa0\x80", b"\x92\x01", b"\xc1"])
@pytest.mark.parametrize("level", ["t", "tl"])
def test_what_is_wrong_inside_is_found_in_one_pass_however_deep_it_lies(inner: bytes, level: str) -> None:
    few, many = (calls_in(lambda n=n: unpack(nested_data(level * n, inner))) for n in (10, 20))  # type: ignore[misc]
    assert many < 4 * few


def test_text_that_is_no_unicode_is_packed_in_one_pass_however_deep_it_lies() -> None:
    def value(depth: int) -> Any:
        inner: Any = "\udcff"
        for _ in range(depth):
            inner = (inner, "\udcff")
        return inner

    few, many = (calls_in(lambda n=n: pack(value(n))) for n in (10, 20))  # type: ignore[misc]
    assert many < 4 * few
    assert unpack(pack(value(20))) == value(20)


levels = st.lists(st.tuples(st.sampled_from("lt"), st.integers(1, 600)), max_size=6).map(
    lambda runs: "".join(letter * count for letter, count in runs)
)


@given(levels | st.text("lt", max_size=220))
@settings(max_examples=200, deadline=None)
def test_what_is_nested_too_deeply_to_be_packed_is_so_to_be_unpacked(levels: str) -> None:
    data = nested_data(levels)
    try:
        assert pack(nested(levels)) == data
    except CodecError:
        with pytest.raises(CodecError, match="deep"):
            unpack(data)
        with pytest.raises(CodecError, match="deep"):
            pack(nested(levels))
    else:
        assert pack(unpack(data)) == data


def test_nothing_that_can_be_unpacked_ends_the_process_when_it_is_packed() -> None:
    with pytest.raises(CodecError, match="nested too deeply"):
        unpack(nested_data(("t" + "l" * 500) * 99))
    with pytest.raises(CodecError, match="nested too deeply"):
        pack(nested(("t" + "l" * 500) * 99))


def test_a_thread_with_a_small_stack_can_unpack_whatever_is_nested() -> None:
    done = []

    def work() -> None:
        for data in (nested_data("t" * 99), nested_data("tl" * 99), nested_data("t" * 3000)):
            with contextlib.suppress(CodecError):
                done.append(pack(unpack(data)) == data)

    before = threading.stack_size(1 << 20)
    try:
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
    finally:
        threading.stack_size(before)
    assert done == [True, True]


def test_what_is_large_cannot_lie_deep() -> None:
    for value in (nested("t" * 8, b"x" * (5 << 20)), nested("t" * 8, "x" * (5 << 20))):
        with pytest.raises(CodecError, match="pass large parts further out"):
            pack(value)
    with pytest.raises(CodecError, match="pass large parts further out"):
        unpack(nested_data("t" * 8, msgpack.packb(b"x" * (5 << 20))))
    assert unpack(pack(nested("t" * 4, b"x" * (5 << 20)))) == nested("t" * 4, b"x" * (5 << 20))


MERSENNE = (1 << 61) - 1  # what hashes of numbers are taken modulo


@pytest.mark.parametrize(
    "key",
    [
        lambda i: MERSENNE * (i + 1),
        lambda i: decimal.Decimal(MERSENNE * (i + 1)),
        lambda i: uuid.UUID(int=MERSENNE * (i + 1)),
        lambda i: (MERSENNE * (i + 1), "a"),
        lambda i: (MERSENNE * (i % 4), -MERSENNE * (i // 4 % 4), MERSENNE * (i // 16 % 4), MERSENNE * (i // 64 % 4)),
        lambda i: frozenset({MERSENNE * (i + 1)}),
        lambda i: Point(MERSENNE * (i + 1)),
    ],
)
def test_keys_that_were_made_to_have_one_hash_are_refused(key: Callable[[int], Any]) -> None:
    keys = [key(i) for i in range(200)]
    assert len(set(map(hash, keys))) == 1
    inside = pack(keys)
    for code in (2, 3):
        with pytest.raises(CodecError, match="the same hash"):
            unpack(msgpack.packb(msgpack.ExtType(code, inside)))
        with pytest.raises(CodecError, match="the same hash"):
            unpack(pack([1, (2, msgpack.ExtType(code, inside))]))
    as_dict = pack(dict.fromkeys(keys))
    for name in ("OrderedDict", "Counter", "defaultdict"):
        inside_dict = join_list([pack(name), as_dict, pack(None)])
        with pytest.raises(CodecError, match="the same hash"):
            unpack(msgpack.packb(msgpack.ExtType(31, inside_dict)))
    honest = pack({i: i for i in range(300)})
    for data in (as_dict, join_list([honest, as_dict]), msgpack.packb(msgpack.ExtType(1, join_list([as_dict])))):
        with pytest.raises(CodecError, match="the same hash"):
            unpack(data)


@pytest.mark.parametrize(
    "key",
    [
        lambda i: i,
        lambda i: -i,
        float,
        lambda i: i * 2**61,
        str,
        lambda i: b"%d" % i,
        lambda i: (i, -i),
        lambda i: uuid.UUID(int=i << 64),
        lambda i: decimal.Decimal(i) / 8,
        lambda i: frozenset({i, -i - 1}),
        lambda i: dt.timedelta(seconds=i),
        lambda i: 2 ** (i % 4000),
        lambda i: Point(i, None),
    ],
)
def test_large_sets_and_dicts_come_back(key: Callable[[int], Any]) -> None:
    keys = {key(i) for i in range(5000)}
    for value in (keys, frozenset(keys), dict.fromkeys(keys, 1), [dict.fromkeys(keys, (1,)), keys]):
        assert unpack(pack(value)) == value


def test_an_error_shows_little_of_the_data() -> None:
    for data in (pack("x" * 10**6), pack(10**5000), pack(["x" * 10**6] * 3), pack(["tests", "x" * 10**6, {}])):
        for code in range(1, 20):
            with contextlib.suppress(CodecError):
                unpack(msgpack.packb(msgpack.ExtType(code, data)))
                continue
            with pytest.raises(CodecError) as caught:
                unpack(msgpack.packb(msgpack.ExtType(code, data)))
            assert len(str(caught.value)) < 2000


@pytest.mark.parametrize(
    "descr", ["i4,i4", "(1000000,1000000)u1", "V99999999999", "O", "<M8[" + "s" * 100 + "]", "d" * 99]
)
def test_numpy_reads_nothing_but_a_type_out_of_the_name_of_a_type(descr: str) -> None:
    for named in (descr, [["a", descr]], [["a", [["b", descr]]]]):
        with pytest.raises(CodecError):
            unpack(msgpack.packb(msgpack.ExtType(15, pack([named, [0], b""]))))
