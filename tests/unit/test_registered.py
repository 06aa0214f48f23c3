"""What a program registers travels by the name it gave it."""

from __future__ import annotations

import sys
import types
from typing import Any

import msgpack
import numpy as np
import pytest

import actorq
from actorq import CodecError, DeclarationError
from actorq.wire import codec
from actorq.wire.carried import registered
from actorq.wire.codec import pack, unpack


class Estimator:
    def __init__(self, weights: Any) -> None:
        self.weights = weights

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Estimator) and other.weights == self.weights

    __hash__ = None  # type: ignore[assignment]


class Special(Estimator):
    pass


def weights_of(value: Estimator) -> Any:
    return value.weights


@pytest.fixture(autouse=True)
def clean(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registered, "_by_name", {})
    monkeypatch.setattr(registered, "_by_type", {})


def test_a_registered_type_travels_wherever_it_lies() -> None:
    actorq.register(Estimator, weights_of, Estimator)
    value = [Estimator([1, (2, Estimator({3}))])]
    assert unpack(pack(value)) == value


def test_a_subclass_of_a_registered_type_is_registered_for_itself() -> None:
    actorq.register(Estimator, weights_of, Estimator)
    with pytest.raises(CodecError, match="Special is not a type"):
        pack(Special(1))


def test_under_another_name_a_type_is_packed_anew_and_what_was_packed_before_is_read() -> None:
    actorq.register(Estimator, weights_of, Estimator, name="estimator/1")
    old = pack(Estimator(1))
    actorq.register(Estimator, lambda v: [v.weights], lambda plain: Estimator(plain[0]), name="estimator/2")
    assert pack(Estimator(1)) != old
    assert b"estimator/2" in pack(Estimator(1))
    assert unpack(old) == Estimator(1)
    assert unpack(pack(Estimator(1))) == Estimator(1)


def test_a_module_that_is_loaded_again_registers_in_its_own_place() -> None:
    for number in range(100):
        actorq.register(Estimator, weights_of, lambda plain, n=number: Estimator([n, plain]), name="e")  # type: ignore[misc]
    assert len(registered._by_name["e"]) == 1
    assert unpack(pack(Estimator(1))) == Estimator([99, 1])


def test_of_several_versions_of_the_code_the_one_in_place_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    source = """
import actorq
class Thing:
    pass
def decode(plain):
    return Thing()
actorq.register(Thing, lambda v: VERSION, decode, name="thing")
"""
    versions = []
    for version in (1, 2):
        module = types.ModuleType("registering")
        vars(module)["VERSION"] = version
        monkeypatch.setitem(sys.modules, "registering", module)
        exec(source, vars(module))
        versions.append(module)
    for module in versions:
        monkeypatch.setitem(sys.modules, "registering", module)
        thing = vars(module)["Thing"]
        assert type(unpack(pack(thing()))) is thing


@pytest.mark.parametrize(
    ("arguments", "options"),
    [
        ((int, str, int), {}),
        ((tuple, list, tuple), {}),
        (("no", str, int), {}),
        ((Estimator, None, Estimator), {}),
        ((Estimator, weights_of, Estimator), {"name": ""}),
        ((Estimator, weights_of, Estimator), {"name": 5}),
    ],
)
def test_what_cannot_be_registered_is_told_at_once(arguments: Any, options: Any) -> None:
    with pytest.raises(DeclarationError, match="register"):
        actorq.register(*arguments, **options)


def test_what_goes_wrong_in_it_is_a_named_error() -> None:
    def fails(_: Any) -> Any:
        raise KeyError("why")

    actorq.register(Estimator, fails, Estimator, name="e")
    with pytest.raises(CodecError, match=r"encode of 'e'.*KeyError: 'why'"):
        pack(Estimator(1))
    actorq.register(Estimator, lambda _: object(), Estimator, name="e")
    with pytest.raises(CodecError, match=r"builtins\.object"):
        pack(Estimator(1))
    actorq.register(Estimator, weights_of, fails, name="f")
    data = pack(Estimator(1))
    with pytest.raises(CodecError, match=r"decode of 'f' raised KeyError"):
        unpack(data)
    actorq.register(Estimator, weights_of, lambda plain: plain, name="f")
    with pytest.raises(CodecError, match="made a int"):
        unpack(data)


@pytest.mark.parametrize("plain", [["nothing", 1], [5, 1], ["x" * 10**6, 1], [["a"], 1], 5, ["e"]])
def test_data_of_what_is_not_registered_is_a_named_error(plain: Any) -> None:
    actorq.register(Estimator, weights_of, Estimator, name="e")
    with pytest.raises(CodecError) as caught:
        unpack(bytes(msgpack.packb(msgpack.ExtType(26, pack(plain)))))
    assert len(str(caught.value)) < 1000


def test_registered_objects_nest_no_deeper_than_others() -> None:
    actorq.register(Estimator, weights_of, Estimator)
    value: Any = 1
    for _ in range(150):
        value = Estimator(value)
    with pytest.raises(CodecError, match="deep"):
        pack(value)
    hidden: Any = 1
    for _ in range(90):
        for _ in range(300):
            hidden = [hidden]
        hidden = Estimator(hidden)
    with pytest.raises(CodecError, match="nested too deeply"):
        pack(hidden)


def test_arrays_can_be_decoded_to_be_written_to() -> None:
    data = pack([np.arange(3), {"a": (np.ma.masked_equal([1, 2], 1), np.zeros((2, 2), order="F"))}])
    with codec.writable_arrays():
        first, rest = unpack(data)
    first[0] = 5
    rest["a"][0][1] = 7
    rest["a"][1][0, 0] = 1
    assert first.tolist() == [5, 1, 2]
    assert not unpack(data)[0].flags.writeable
