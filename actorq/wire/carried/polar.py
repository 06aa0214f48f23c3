"""polars: frames and series, as the stream that Arrow defines, with polars' own marks for what Arrow has no type for.

The one idea: polars' own format, uncompressed, and looked at before polars reads it, see `stream.py`. Of what is wrong
in the values polars tells by an error or a panic, and both are errors here. It copies them: what arrives is its own.
Where chunks begin, and what polars knows of the order of a column, is found out anew.
"""

from __future__ import annotations

import importlib
import io
from collections.abc import Iterator
from typing import Any

from actorq.errors import CodecError
from actorq.wire import extensions as ext
from actorq.wire.carried.outside import outside
from actorq.wire.carried.standard import Encoded, Encoder
from actorq.wire.carried.stream import check_stream

_NONE = "The data holds a value of polars that is none."
#: types of columns that hold more than data, or run code
_NOT_CARRIED = ("Object", "Unknown", "BaseExtension", "Extension")
_SHOWN = 200
#: types in one another; the guard of the stream allows as many
_DEEPEST = 64


def _library() -> Any:
    try:
        return importlib.import_module("polars")  # a fixed name, not one from the data
    except ImportError:
        raise CodecError("The data holds a value of polars, and polars is not installed here: install it.") from None


def _inside(dtype: Any, depth: int = 0) -> Iterator[Any]:
    """A type, and those in it."""
    if depth > _DEEPEST:
        raise CodecError("A column of polars whose types lie too deep in one another is not carried.")
    yield dtype
    held = [getattr(dtype, "inner", None), getattr(dtype, "key", None), getattr(dtype, "value", None)]
    for each in (*held, *(field.dtype for field in getattr(dtype, "fields", None) or ())):
        if each is not None:
            yield from _inside(each, depth + 1)


def _written(frame: Any) -> Any:
    polars = _library()
    if not frame.width and frame.height:
        raise CodecError("A polars.DataFrame of rows without columns is not carried: pass x.height.")
    bad = tuple(found for name in _NOT_CARRIED if (found := getattr(polars, name, None)) is not None)
    for name, dtype in frame.schema.items():
        if any(isinstance(each, bad) for each in _inside(dtype)):
            raise CodecError(
                f"The column {name!r:.{_SHOWN}} of polars has the type {dtype!r:.{_SHOWN}}, which is not carried: "
                "cast it, or pass its to_list()."
            )
    sink = io.BytesIO()
    frame.write_ipc_stream(sink, compression="uncompressed")
    data = sink.getbuffer()
    check_stream(data)
    return outside(data)


def _read(data: Any) -> Any:
    if not isinstance(data, (bytes, memoryview)):
        raise CodecError(_NONE)
    check_stream(memoryview(data))
    polars = _library()
    try:
        return polars.read_ipc_stream(bytes(data))
    except (polars.exceptions.PanicException, polars.exceptions.PolarsError, ValueError, OSError) as error:
        raise CodecError(f"The data holds a frame of polars that is none: {error!s:.{_SHOWN}}") from None


def _frame(frame: Any) -> Encoded:
    return ext.POLARS, ["frame", _written(frame)]


def _series(series: Any) -> Encoded:
    return ext.POLARS, ["series", _written(series.to_frame())]


def encoder(kind: type) -> Encoder | None:
    """What encodes values of exactly this type."""
    polars = _library()
    if kind is polars.DataFrame:
        return _frame
    return _series if kind is polars.Series else None


def _decode(plain: Any) -> Any:
    kind, data = plain
    frame = _read(data)
    if kind == "frame":
        return frame
    if kind != "series" or frame.width != 1:
        raise CodecError(_NONE)
    return frame.to_series()


DECODERS = {ext.POLARS: _decode}
