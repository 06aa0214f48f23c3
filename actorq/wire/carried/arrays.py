"""numpy: arrays, their scalars, structured ones, `matrix` and `recarray`, masked arrays, and the types of ml_dtypes.

The one idea: the bytes travel as they lie in memory, and the type of the elements as plain data from which exactly it
can be made: of a structured one the names, places and size. An array is read where it lies in the message,
copied once at most, and arrives read-only; who wants to write asks for copies, see `writable_arrays`.
"""

from __future__ import annotations

import contextlib
import re
import sys
import threading
import weakref
from collections.abc import Callable, Iterator
from typing import Any

from actorq.errors import CodecError
from actorq.wire import extensions as ext
from actorq.wire.carried.standard import Encoded, Encoder

#: characters of a message, which may quote the data
_SHOWN = 300
#: what numpy calls the types of elements; it reads more than that out of a string
_KINDS = "biufcmMSUV"
_ELEMENT = re.compile(rf"[<>|=][{_KINDS}]\d{{0,10}}(\[\w{{1,20}}\])?")
_OTHER_ELEMENT = re.compile(r"[a-z0-9_]{1,40}")
#: a copy of so few bytes takes less time than what saves it
_SMALL_BYTES = 1 << 14
#: axes of an array, and structures in one another
_MOST_AXES, _DEEPEST = 64, 32


class _OfThread(threading.local):
    writable = False


_of_thread = _OfThread()


#: functions of the tasks that write to arrays of their inputs
WRITING: weakref.WeakSet[Callable[..., Any]] = weakref.WeakSet()


@contextlib.contextmanager
def writable_arrays() -> Iterator[None]:
    """Arrays that are decoded in here are copies of their own."""
    before, _of_thread.writable = _of_thread.writable, True
    try:
        yield
    finally:
        _of_thread.writable = before


def own_bytes(data: Any) -> Any:
    """The bytes of an array that is being decoded, as memory that it may keep."""
    return bytearray(data) if _of_thread.writable else data


def _numpy() -> Any:
    try:
        import numpy as np  # a fixed name, not one from the data
    except ImportError:
        raise CodecError("The data holds a numpy array and numpy is not installed here.") from None
    return np


# -- types of elements ------------------------------------------------------------------------------------------------


def plain_dtype(dtype: Any) -> Any:
    """The type of the elements as plain data. Raises `CodecError` for one whose elements are more than bytes."""
    if dtype.isbuiltin == 1 and dtype.kind in _KINDS and dtype.metadata is None:
        return dtype.str
    if dtype.hasobject:
        raise CodecError(_why_not(dtype))
    if dtype.metadata:
        raise CodecError(f"The dtype {dtype!r:.{_SHOWN}} has metadata, which is not carried: pass it beside the array.")
    if dtype.subdtype is not None:
        base, shape = dtype.subdtype
        return ["sub", plain_dtype(base), list(shape)]
    if dtype.names is not None:
        fields = [dtype.fields[name] for name in dtype.names]
        formats = [plain_dtype(field[0]) for field in fields]
        titles = [field[2] if len(field) > 2 else None for field in fields]
        record = dtype.type is not _numpy().void
        if record and dtype.type is not _numpy().record:
            raise CodecError(f"Elements of {dtype.type!r} are not carried: pass array.view(numpy.ndarray).")
        named = [list(dtype.names), formats, [field[1] for field in fields], titles]
        plain = ["struct", *named, dtype.itemsize, bool(dtype.isalignedstruct), record]
        return plain if not dtype.isalignedstruct or _made_again(plain, dtype) else [*plain[:-2], False, record]
    if dtype.type.__module__ == "ml_dtypes":
        return ["ml_dtypes", dtype.name]
    if not (_ELEMENT.fullmatch(dtype.str) and _numpy().dtype(dtype.str) == dtype):
        raise CodecError(f"numpy's {dtype!r:.{_SHOWN}} is not carried: convert the array with astype().")
    return dtype.str


def _why_not(dtype: Any) -> str:
    """What is wrong with a type whose elements lie outside of the array, and what to do."""
    shown = "dtype object" if dtype.char == "O" else f"{dtype!r:.{_SHOWN}}"
    if dtype.kind == "T":
        return (
            f"A numpy array of {shown} keeps its text outside of the array, which is not carried: pass "
            "array.astype(str), or array.tolist()."
        )
    advice = "array.tolist()" if dtype.names is None else "array.tolist(), or the other fields"
    return f"A numpy array of {shown} holds arbitrary Python objects: pass {advice}, or give it a dtype."


def _made_again(plain: Any, dtype: Any) -> bool:
    """Whether the same type comes of it: of some numpy says that they are aligned, and refuses to align them."""
    try:
        return bool(dtype_of(plain) == dtype)
    except ValueError:
        return False


def dtype_of(plain: Any, depth: int = 0) -> Any:
    """The inverse."""
    numpy = _numpy()
    if isinstance(plain, str):
        if not _ELEMENT.fullmatch(plain):
            raise CodecError(f"The data holds a numpy array of the unknown type {plain!r:.{_SHOWN}}.")
        return numpy.dtype(plain)
    if not isinstance(plain, list) or depth > _DEEPEST:
        raise CodecError("The data holds a numpy array whose type is none.")
    kind, *rest = plain
    if kind == "sub":
        base, shape = rest
        return numpy.dtype((dtype_of(base, depth + 1), tuple(shape)))
    if kind == "ml_dtypes":
        return _ml_dtype(*rest)
    if kind != "struct":
        raise CodecError("The data holds a numpy array whose type is none.")
    names, formats, offsets, titles, itemsize, aligned, record = rest
    formats = [dtype_of(each, depth + 1) for each in formats]
    described = {"names": names, "formats": formats, "offsets": offsets, "itemsize": itemsize}
    if any(title is not None for title in titles):
        described["titles"] = titles
    dtype = numpy.dtype(described, align=bool(aligned))
    return numpy.dtype((numpy.record, dtype)) if record else dtype


def _ml_dtype(name: Any) -> Any:
    found = vars(sys.modules["ml_dtypes"]).get(name) if "ml_dtypes" in sys.modules else None
    if not (isinstance(name, str) and _OTHER_ELEMENT.fullmatch(name) and isinstance(found, type)):
        raise CodecError(f"The data holds an array of ml_dtypes.{name!s:.{_SHOWN}}: import ml_dtypes here.")
    if not issubclass(found, _numpy().generic):
        raise CodecError(f"ml_dtypes.{name} is no type of elements.")
    return _numpy().dtype(found)


# -- arrays -----------------------------------------------------------------------------------------------------------


def _content(array: Any) -> tuple[Any, str]:
    """The bytes of an array, without a copy where they lie as they are, and the order of its axes."""
    flags = array.flags
    order = "F" if flags.f_contiguous and not flags.c_contiguous else "C"
    flat = array.reshape(-1, order=order)  # a copy of most that does not lie in one piece
    if not flat.flags.c_contiguous:  # but not of what has one axis, or one stride: a column, every second element
        flat = flat.copy()
    return (memoryview(flat.view("u1")) if flat.size else b""), order


def plain_array(array: Any) -> list[Any]:
    """An array as plain data, which may hold a view of its bytes."""
    numpy = sys.modules["numpy"]
    descr = plain_dtype(array.dtype)
    if array.nbytes <= _SMALL_BYTES and type(array) is numpy.ndarray and array.flags.c_contiguous and array.itemsize:
        return [descr, list(array.shape), array.tobytes(), "C", 0]
    plain = array if type(array) is numpy.ndarray else array.view(numpy.ndarray)
    if plain.dtype.itemsize == 0:
        raise CodecError(f"An array of {array.dtype!r}, whose elements have no bytes, is not carried: pass its shape.")
    if plain.dtype.type is not numpy.void:
        plain = plain.view(numpy.dtype(f"V{plain.dtype.itemsize}"))
    data, order = _content(plain)
    return [descr, list(plain.shape), data, order, _VIEWS[type(array).__name__]]


def _encode_array(array: Any) -> Encoded:
    return ext.NDARRAY, plain_array(array)


#: classes that are another view of an array, by a number
_VIEWS = {"ndarray": 0, "matrix": 1, "recarray": 2}


def array_of(value: Any) -> Any:
    """The inverse."""
    descr, shape, data, order, view = value
    numpy = _numpy()
    dtype = dtype_of(descr)
    if len(shape) > _MOST_AXES or dtype.itemsize == 0 or order not in ("C", "F"):
        raise CodecError("The data holds a numpy array that is none.")
    array = numpy.frombuffer(own_bytes(data), dtype=dtype)
    if not array.flags.aligned:  # an element is to lie on a multiple of its size; within a message it may not
        array = numpy.frombuffer(bytes(data), dtype=dtype)  # not `copy`, which leaves out what lies between fields
    array = array.reshape(shape, order=order)
    return array.view((None, numpy.matrix, numpy.recarray)[view]) if view else array


def _encode_scalar(value: Any) -> Encoded:
    numpy = _numpy()
    if type(value) is numpy.str_:
        return ext.NPSCALAR, ["str", str.__str__(value)]
    if type(value) is numpy.bytes_:
        return ext.NPSCALAR, ["bytes", bytes.__getitem__(value, slice(None))]
    if value.itemsize == 0:
        raise CodecError(f"{value!r:.{_SHOWN}}, which has no bytes, is not carried.")
    descr = plain_dtype(value.dtype)
    return ext.NPSCALAR, [descr, value.tobytes()]


def _decode_scalar(value: Any) -> Any:
    descr, data = value
    numpy = _numpy()
    if descr == "str" and isinstance(data, str):
        return numpy.str_(data)
    if descr == "bytes" and isinstance(data, bytes):
        return numpy.bytes_(data)
    return numpy.frombuffer(own_bytes(data), dtype=dtype_of(descr))[0]


# -- masked arrays ----------------------------------------------------------------------------------------------------


def _encode_masked(value: Any) -> Encoded:
    numpy = _numpy()
    if value is numpy.ma.masked:
        return ext.MASKED, None
    if type(value.data) is not numpy.ndarray:
        raise CodecError(f"A masked {type(value.data).__name__} is not carried: mask numpy.asarray(x.data).")
    mask = None if value.mask is numpy.ma.nomask else numpy.asarray(value.mask)
    fill = None if value._fill_value is None else numpy.asarray(value._fill_value)
    return ext.MASKED, [value.data, mask, fill, bool(value.hardmask)]


def _decode_masked(value: Any) -> Any:
    numpy = _numpy()
    if value is None:
        return numpy.ma.masked
    data, mask, fill, hard = value
    for part in (data, mask, fill):
        if part is not None and type(part) is not numpy.ndarray:
            raise CodecError("The data holds a masked array that is none.")
    if mask is None:
        masked = data.view(numpy.ma.MaskedArray)
    else:
        if mask.shape != data.shape or mask.dtype != numpy.ma.make_mask_descr(data.dtype):
            raise CodecError("The data holds a masked array whose mask is of another shape.")
        masked = numpy.ma.MaskedArray(data, mask=mask, copy=False)
    if fill is not None:
        masked.fill_value = fill[()]
    if hard:
        masked.harden_mask()
    return masked


def encoder(kind: type) -> Encoder | None:
    """What encodes values of exactly this type, if one of numpy's or ml_dtypes' does."""
    numpy = _numpy()
    if kind in (numpy.ndarray, numpy.matrix, numpy.recarray):
        return _encode_array
    if kind is numpy.ma.MaskedArray or kind is type(numpy.ma.masked):
        return _encode_masked
    if issubclass(kind, numpy.generic) and kind.__module__.partition(".")[0] in ("numpy", "ml_dtypes"):
        return _encode_scalar
    return None


DECODERS = {ext.NDARRAY: array_of, ext.NPSCALAR: _decode_scalar, ext.MASKED: _decode_masked}
