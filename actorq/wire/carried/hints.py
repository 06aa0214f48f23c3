"""What to say of a type that is not carried: what would do.

The one idea: who reads the message has the value at hand, so it names the call that makes plain data of it.
"""

from __future__ import annotations

#: for values of a class that derives from it: what makes a plain value of `x`. The first that fits
_PLAIN: tuple[tuple[str, str], ...] = (
    ("builtins.str", "str(x)"),
    ("builtins.bytes", "bytes(x)"),
    ("builtins.bytearray", "bytes(x)"),
    ("builtins.int", "int(x)"),
    ("builtins.float", "float(x)"),
    ("builtins.complex", "complex(x)"),
    ("builtins.dict", "dict(x)"),
    ("builtins.list", "list(x)"),
    ("builtins.tuple", "tuple(x)"),
    ("builtins.set", "set(x)"),
    ("builtins.frozenset", "frozenset(x)"),
    ("datetime.datetime", "datetime.datetime.fromisoformat(x.isoformat())"),
    ("datetime.date", "datetime.date.fromisoformat(x.isoformat())"),
    ("datetime.timedelta", "datetime.timedelta(seconds=x.total_seconds())"),
    ("decimal.Decimal", "decimal.Decimal(x)"),
    ("uuid.UUID", "uuid.UUID(int=x.int)"),
    ("pathlib.PurePath", "str(x)"),
    ("numpy.ma.MaskedArray", "x.filled()"),
    ("numpy.ma.core.MaskedArray", "x.filled()"),
    ("numpy.ndarray", "numpy.asarray(x), or x.view(numpy.ndarray)"),
    ("pandas.DataFrame", "pandas.DataFrame(x)"),
    ("pandas.core.frame.DataFrame", "pandas.DataFrame(x)"),
    ("pandas.Series", "pandas.Series(x)"),
    ("pandas.core.series.Series", "pandas.Series(x)"),
    ("pandas.Index", "pandas.Index(x)"),
    ("pandas.offsets.BaseOffset", "x.freqstr"),
    ("pandas._libs.tslibs.offsets.BaseOffset", "x.freqstr"),
    ("pandas.arrays.SparseArray", "numpy.asarray(x)"),
    ("pandas.api.extensions.ExtensionArray", "x.astype(object)"),
    ("pandas.api.extensions.ExtensionDtype", "str(x)"),
    ("pyarrow.lib.Table", "pyarrow.Table.from_batches(x.to_batches())"),
    ("pyarrow.lib.ExtensionArray", "x.storage"),
    ("pyarrow.lib.BaseExtensionType", "x.storage_type"),
    ("pyarrow.lib.Buffer", "x.to_pybytes()"),
    ("polars.dataframe.frame.DataFrame", "polars.DataFrame(x)"),
    ("polars.series.series.Series", "polars.Series(x)"),
    ("polars.lazyframe.frame.LazyFrame", "x.collect()"),
    ("polars.expr.expr.Expr", "what it selects: frame.select(x)"),
    ("torch.Tensor", "x.as_subclass(torch.Tensor)"),
    ("torch.dtype", "str(x)"),
    ("torch.device", "str(x)"),
    ("PIL.Image.Image", "x.copy(), which is a PIL.Image.Image"),
    ("builtins.BaseException", "raise it, or pass str(x)"),
    ("collections.abc.Iterator", "list(x)"),
    ("builtins.generator", "list(x)"),
    ("builtins.memoryview", "bytes(x)"),
    ("types.MappingProxyType", "dict(x)"),
    ("builtins.mappingproxy", "dict(x)"),
    ("builtins.dict_keys", "list(x)"),
    ("builtins.dict_values", "list(x)"),
    ("builtins.dict_items", "list(x)"),
)

#: libraries whose objects have a format of their own
_FORMATS = {
    "sklearn": "skops.io.dumps(x)",
    "pandas": "the frame that it was made of",
    "polars": "the frame that it was made of",
    "torch": "dict(x.state_dict())",
}

_PLAIN_DATA = "plain data (numbers, text, bytes, lists, dicts, dates, dataclasses, enums, numpy arrays)"


def refusal(kind: type) -> str:
    """Why values of a type are not carried, and what to do."""
    name = f"{kind.__module__}.{kind.__qualname__}"
    for base in kind.__mro__:
        plain = dict(_PLAIN).get(f"{base.__module__}.{base.__qualname__}")
        if plain is None:
            continue
        if base is kind or base.__module__ != "builtins":
            return f"{name} is not a type actorq can carry. Pass {plain}, or {_register(kind)}."
        return (
            f"{name} is not a type actorq can carry: it derives from {base.__qualname__}, and may hold more. "
            f"Pass {plain}, or {_register(kind)}."
        )
    own = _FORMATS.get(kind.__module__.partition(".")[0]) if isinstance(kind.__module__, str) else None
    return (
        f"{name} is not a type actorq can carry. Pass {own or _PLAIN_DATA}, the path of a file, or {_register(kind)}."
    )


def _register(kind: type) -> str:
    return f"say how it travels with actorq.register({kind.__qualname__}, ...)"
