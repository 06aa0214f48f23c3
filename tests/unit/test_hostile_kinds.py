"""Whatever stands in an extension, it is a value or a named error: no class is changed, and nothing grows."""

from __future__ import annotations

from typing import Any

import msgpack
import numpy as np
import pytest

from actorq import CodecError
from actorq.wire.codec import pack, unpack
from tests.support.carried_values import (
    Box,
    Many,
)

#: where the classes are that data may name
CLASSES = "tests.support.carried_values"


def extension(code: int, plain: Any) -> bytes:
    return bytes(msgpack.packb(msgpack.ExtType(code, pack(plain))))


@pytest.mark.parametrize(
    "others",
    [
        {"__class__": 1},
        {"__dict__": {}},
        {"grow": 1},
        {1: 2},
        [1],
        None,
        {"__reduce__": 1},
    ],
)
def test_attributes_that_would_change_what_an_object_is_are_refused(others: Any) -> None:
    fields = {"width": 1, "height": 2, "label": ""}
    assert unpack(extension(14, [CLASSES, "Box", fields, [], {"area": 2}])) == Box(1, 2)
    with pytest.raises(CodecError):
        unpack(extension(14, [CLASSES, "Box", fields, [], others]))


@pytest.mark.parametrize(
    ("code", "plain"),
    [
        (13, [CLASSES, "Bits", -1]),
        (13, [CLASSES, "Bits", 1 << 5000]),
        (13, [CLASSES, "Perm", 64]),
        (13, [CLASSES, "Colour", 1]),
        (13, [CLASSES, "Perm", True]),
        (14, ["builtins", "dict", {}]),
        (14, [CLASSES, "DataclassOfDict", {"x": 1}]),
        (14, [CLASSES, "Box", {"width": 1, "label": ""}, ["height"]]),
        (14, [CLASSES, "Box", {"width": 1, "label": ""}, ["label"]]),
        (14, [CLASSES, "Box", {"width": 1, "height": 1, "label": ""}, ["label"]]),
        (17, [CLASSES, "Open", {"a": 1, "b": 2}, ["a"], None, None]),
        (17, [CLASSES, "Open", {"a": 1, "b": 2}, [1], {}, None]),
        (17, [CLASSES, "Private", {"a": 1}, ["a"], None, {"other": 1}]),
        (17, [CLASSES, ["Page", [["", "os", "system"]]], {"item": 1}, [], None, None]),
        (17, [CLASSES, ["Page", [["list", []]]], {"item": 1}, [], None, None]),
        (17, [CLASSES, ["Page", [["|", [None] * 100]]], {"item": 1}, [], None, None]),
        (20, [CLASSES, "Pair", ["a", "b"], [1]]),
        (20, [CLASSES, "Pair", ["a"], [1]]),
        (20, ["builtins", "tuple", [], []]),
        (20, [CLASSES, "Pair", ["a", "b"], [1, 2], {"count": 1}]),
        (21, ["posix", 5]),
        (21, ["other", "a"]),
        (18, ["2026-01-01", "../../etc/passwd", 0]),
        (18, ["2026-01-01", "a" * 1000, 0]),
        (22, "tzdata.zoneinfo"),
        (15, ["<f8", [10**12], b"", "C", 0]),
        (15, ["V0", [10**12], b"", "C", 0]),
        (15, [["struct", [], [], [], [], 0, False, False], [10**12], b"", "C", 0]),
        (15, [["sub", "<f8", [10**6, 10**6]], [0], b"", "C", 0]),
        (15, ["<f8", [1] * 100, bytes(8), "C", 0]),
        (15, ["<f8", [1], bytes(8), "A", 0]),
        (15, ["<f8", [1], bytes(8), "C", 7]),
        (15, [["ml_dtypes", "__builtins__"], [1], bytes(8), "C", 0]),
        (16, ["str", b"a"]),
        (27, ["O", 8, "little", b""]),
        (27, ["d", 8, "little", b"1"]),
        (27, ["d", 4, "little", b"1234"]),
        (28, [1, 0]),
        (28, ["1", 2]),
        (29, ["ip_address", "1.2.3.4"]),
        (29, ["IPv4Address", "x"]),
        (30, ["(", 0]),
        (30, ["a", 128]),
        (30, ["a" * 100_000, 0]),
        (30, ["(" * 9000 + ")" * 9000, 0]),
        (31, ["deque", [1], "x"]),
        (31, ["OrderedDict", [1], None]),
        (31, ["defaultdict", {}, "eval"]),
        (31, ["other", {}, None]),
        (23, [1, None, None, False]),
        (23, [np.zeros(3), np.zeros(2, bool), None, False]),
        (23, [np.zeros(3), np.zeros(3), None, False]),
    ],
)
def test_hostile_content_of_an_extension_is_a_named_error(code: int, plain: Any) -> None:
    with pytest.raises(CodecError):
        unpack(extension(code, plain))


def test_no_more_generic_models_are_made_from_data_than_a_program_has() -> None:
    def nested(depth: int, leaf: str) -> Any:
        return ["list", [nested(depth - 1, leaf)]] if depth else ["", "builtins", leaf]

    with pytest.raises(CodecError, match="no type"):
        unpack(extension(17, [CLASSES, ["Page", [nested(20, "int")]], {"item": 1}, [], None, None]))


def test_a_flag_keeps_no_more_combinations_than_a_program_has() -> None:
    def decode_all() -> None:
        for number in range(1 << 15):
            unpack(extension(13, [CLASSES, "Many", number]))

    with pytest.raises(CodecError, match="too many combinations"):
        decode_all()
    assert len(Many._value2member_map_) < 1 << 15
