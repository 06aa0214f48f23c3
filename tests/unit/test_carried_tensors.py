"""torch: a tensor arrives with its type, shape and content, as a copy of its own. Needs torch, which is 800 MB."""

from __future__ import annotations

import contextlib
from random import Random
from typing import Any

import msgpack
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from actorq import CodecError
from actorq.wire import extensions as ext
from actorq.wire.codec import pack, unpack
from tests.fuzz.making import Maker

torch: Any = pytest.importorskip("torch")

TYPES = [
    *("bool", "uint8", "uint16", "uint32", "uint64", "int8", "int16", "int32", "int64"),
    *("float16", "bfloat16", "float32", "float64", "complex64", "complex128", "float8_e4m3fn", "float8_e5m2"),
]


def tensor(name: str, shape: tuple[int, ...], seed: int, turned: bool) -> Any:
    dtype = getattr(torch, name)
    size = torch.empty(shape, dtype=dtype).numel() * dtype.itemsize
    if not size:
        return torch.empty(shape, dtype=dtype)
    data = torch.frombuffer(bytearray(Random(seed).randbytes(size)), dtype=torch.uint8)
    made = (data > 99).reshape(shape) if dtype is torch.bool else data.view(dtype).reshape(shape)
    return made.T if turned and made.dim() == 2 else made


tensors = st.builds(
    tensor,
    st.sampled_from(TYPES),
    st.sampled_from([(), (0,), (3,), (2, 3), (2, 0, 3), (40, 50)]),
    st.integers(0, 9),
    st.booleans(),
)


def same_tensor(a: Any, b: Any) -> bool:
    shown = [(type(x), x.dtype, x.shape, x.requires_grad, x.is_leaf, x.device) for x in (a, b)]
    raw = [x.detach().contiguous().reshape(-1).view(torch.uint8).tolist() if x.numel() else [] for x in (a, b)]
    return bool(shown[0] == shown[1] and raw[0] == raw[1])


@given(tensors, st.booleans(), st.booleans())
@settings(max_examples=300, deadline=None)
def test_a_tensor_arrives_as_it_was_and_can_be_written_to(value: Any, parameter: bool, gradient: bool) -> None:
    gradient = gradient and (value.is_floating_point() or value.is_complex())
    if parameter:
        value = torch.nn.Parameter(value, requires_grad=gradient)
    elif gradient:
        value.requires_grad_(True)
    data = pack([value])
    back = unpack(data)[0]
    assert same_tensor(back, value)
    with torch.no_grad():
        back.zero_()
    assert same_tensor(unpack(data)[0], value)


def test_a_view_of_the_conjugate_is_what_it_shows() -> None:
    value = torch.tensor([1 + 2j]).conj()
    assert unpack(pack(value)).tolist() == value.tolist()
    assert unpack(pack(value.imag)).tolist() == value.imag.tolist()


def test_the_state_of_a_module_travels_as_a_dict() -> None:
    state = torch.nn.Linear(2, 3).state_dict()
    back = unpack(pack(dict(state)))
    assert back.keys() == state.keys()
    assert all(same_tensor(back[name], state[name]) for name in state)


class Own(torch.Tensor):  # type: ignore[misc]
    pass


def with_note() -> Any:
    made = torch.zeros(2)
    made.note = 1
    return made


def with_gradient() -> Any:
    made = torch.zeros(2, requires_grad=True)
    made.sum().backward()
    return made


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda: torch.zeros(2, device="meta"), r"meta.*x\.cpu\(\)"),
        (lambda: torch.zeros(2, requires_grad=True) * 2, r"x\.detach\(\)"),
        (lambda: torch.zeros(2, 2).to_sparse(), r"x\.to_dense\(\)"),
        (lambda: torch.zeros(2).as_subclass(Own), "Own is not"),
        (lambda: torch.nested.as_nested_tensor([torch.zeros(2)], layout=torch.jagged), "unbind|not a type"),
        (with_note, "attributes"),
        (with_gradient, "gradient"),
        (lambda: torch.nn.Linear(1, 1), r"dict\(x\.state_dict\(\)\)"),
    ],
)
def test_what_is_not_carried_is_refused_with_what_to_do(make: Any, match: str) -> None:
    with pytest.raises(CodecError, match=match):
        pack(make())


def as_tensor(plain: Any) -> bytes:
    message = pack(plain)
    return bytes(msgpack.packb(msgpack.ExtType(ext.TENSOR, len(message).to_bytes(4, "little") + message)))


@pytest.mark.parametrize(
    "plain",
    [
        [0, "float32", [10**6, 10**6], b"abcd", False],
        [0, "float32", [0, 2**62, 2**62], b"", False],
        [0, "float32", [-1, -1], b"abcd", False],
        [0, "float32", [1.0], b"abcd", False],
        [0, "float32", [1] * 99, b"abcd", False],
        [0, "quint8", [4], b"abcd", False],
        [0, "load", [4], b"abcd", False],
        [0, ["float32"], [1], b"abcd", False],
        [0, "int32", [1], b"abcd", True],
        [2, "int32", [1], b"abcd", False],
        5,
    ],
    ids=lambda plain: str(plain)[:40],
)
def test_data_of_what_is_none_is_refused(plain: Any) -> None:
    with pytest.raises(CodecError):
        unpack(as_tensor(plain))


def test_bytes_of_a_truth_value_are_0_or_1() -> None:
    assert unpack(as_tensor([0, "bool", [3], b"\x00\x07\x01", False])).view(torch.uint8).tolist() == [0, 1, 1]


@given(tensors, st.integers())
@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_damaged_data_is_a_value_or_an_error(value: Any, seed: int) -> None:
    damaged = Maker(Random(seed)).damaged(pack(value))
    with contextlib.suppress(CodecError):
        unpack(damaged)
