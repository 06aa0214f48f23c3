"""torch: tensors in the memory of the processor, and parameters.

The one idea: a type, a shape and bytes, as of a numpy array. torch has no tensor that cannot be written to, so one
arrives as a copy that is its own. What hangs on a tensor (a gradient, what it was computed from, hooks) stays at home,
so one that has any is refused.
"""

from __future__ import annotations

import importlib
import math
from typing import Any

from actorq.errors import CodecError
from actorq.wire import extensions as ext
from actorq.wire.carried.outside import outside
from actorq.wire.carried.standard import Encoded, Encoder

_NONE = "The data holds a tensor of torch that is none."
#: names of types whose elements are bytes and nothing else; a build of torch may lack some
_ELEMENTS = frozenset(
    (
        *("bool", "uint8", "uint16", "uint32", "uint64", "int8", "int16", "int32", "int64"),
        *("float16", "bfloat16", "float32", "float64", "complex32", "complex64", "complex128"),
        *("float8_e4m3fn", "float8_e5m2", "float8_e4m3fnuz", "float8_e5m2fnuz", "float8_e8m0fnu"),
    )
)
#: axes of a tensor: torch itself has trouble with more
_MOST_AXES = 64
_SHOWN = 200


def _library() -> Any:
    try:
        return importlib.import_module("torch")  # a fixed name, not one from the data
    except ImportError:
        raise CodecError("The data holds a tensor of torch, and torch is not installed here: install it.") from None


def _refused(tensor: Any) -> str | None:
    """What to do with a tensor that is not carried as it is."""
    if tensor.is_nested:
        return "is nested: pass list(x.unbind())"
    if tensor.layout is not _library().strided:
        return f"is {tensor.layout}: pass x.to_dense()"
    if tensor.device.type != "cpu":
        return f"is on the device {tensor.device}: pass x.cpu()"
    if tensor.is_quantized:
        return "is quantized: pass x.dequantize(), or x.int_repr() and the scale"
    if tensor.requires_grad and not tensor.is_leaf:
        return "was computed with gradients: pass x.detach()"
    if tensor.grad is not None:
        return "has a gradient: pass x.detach(), and x.grad beside it"
    if vars(tensor) or tensor._backward_hooks:
        return "has attributes or hooks: pass x.detach()"
    if any(name is not None for name in getattr(tensor, "names", ())):
        return "has names of its axes: pass x.rename(None)"
    if tensor.dim() > _MOST_AXES or str(tensor.dtype).removeprefix("torch.") not in _ELEMENTS:
        return f"has {tensor.dim()} axes of {tensor.dtype}: pass x.to() of another type"
    return None


def _plain(tensor: Any) -> list[Any]:
    if (what := _refused(tensor)) is not None:
        raise CodecError(f"A {type(tensor).__qualname__} of torch that {what}.")
    plain = tensor.detach().resolve_conj().resolve_neg().contiguous()
    name = str(plain.dtype).removeprefix("torch.")
    return [name, list(plain.shape), outside(_bytes_of(plain)), bool(tensor.requires_grad)]


def _bytes_of(tensor: Any) -> Any:
    if not tensor.numel():
        return b""
    flat = tensor.reshape(-1)
    if flat.stride(0) != 1:  # one element of another tensor counts as contiguous, wherever the next one would be
        flat = flat.clone(memory_format=_library().contiguous_format)
    return memoryview(flat.view(_library().uint8).numpy())


def _tensor_of(name: Any, shape: Any, data: Any) -> Any:
    torch = _library()
    dtype = getattr(torch, name, None) if name in _ELEMENTS else None
    if dtype is None or not isinstance(data, (bytes, memoryview)) or len(shape) > _MOST_AXES:
        raise CodecError(_NONE)
    if not all(type(each) is int and each >= 0 for each in shape) or math.prod(shape) * dtype.itemsize != len(data):
        raise CodecError(_NONE)
    if not len(data):
        return torch.empty(shape, dtype=dtype)
    own = torch.frombuffer(bytearray(data), dtype=torch.uint8)
    if dtype is torch.bool:  # its elements are 0 or 1, and torch computes places with them
        return (own != 0).reshape(shape)
    return own.view(dtype).reshape(shape)


def _tensor(tensor: Any) -> Encoded:
    return ext.TENSOR, [0, *_plain(tensor)]


def _parameter(parameter: Any) -> Encoded:
    return ext.TENSOR, [1, *_plain(parameter)]


def encoder(kind: type) -> Encoder | None:
    """What encodes values of exactly this type."""
    torch = _library()
    if kind is torch.Tensor:
        return _tensor
    return _parameter if kind is torch.nn.Parameter else None


def _decode(plain: Any) -> Any:
    is_parameter, name, shape, data, with_gradient = plain
    if type(with_gradient) is not bool or is_parameter not in (0, 1):
        raise CodecError(_NONE)
    made = _tensor_of(name, shape, data)
    if is_parameter:
        return _library().nn.Parameter(made, requires_grad=with_gradient)
    return made.requires_grad_(with_gradient)


DECODERS = {ext.TENSOR: _decode}
