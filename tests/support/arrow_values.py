"""Values of pyarrow, and whether two are the same."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
from hypothesis import strategies as st

TYPES: list[tuple[Any, st.SearchStrategy[Any]]] = [
    (pa.int8(), st.integers(-5, 5)),
    (pa.uint64(), st.integers(0, 2**64 - 1)),
    (pa.float32(), st.floats(width=32)),
    (pa.float64(), st.floats()),
    (pa.bool_(), st.booleans()),
    (pa.string(), st.text("aé\0", max_size=4)),
    (pa.large_string(), st.text("aé\0", max_size=4)),
    (pa.string_view(), st.text("aé\0", max_size=20)),
    (pa.binary(), st.binary(max_size=4)),
    (pa.binary(2), st.binary(min_size=2, max_size=2)),
    (pa.timestamp("us", "Europe/Berlin"), st.integers(0, 2**40)),
    (pa.timestamp("s"), st.integers(0, 2**30)),
    (pa.duration("ms"), st.integers(0, 2**40)),
    (pa.date32(), st.integers(0, 20_000)),
    (pa.time64("ns"), st.integers(0, 86_399)),
    (pa.decimal128(5, 2), st.decimals(-99, 99, places=2)),
    (pa.decimal256(40, 1), st.decimals(-99, 99, places=1)),
    (pa.month_day_nano_interval(), st.just(pa.MonthDayNano([1, 2, 3]))),
    (pa.null(), st.none()),
    (pa.dictionary(pa.int8(), pa.string()), st.sampled_from("abc")),
]


def inside(held: tuple[Any, st.SearchStrategy[Any]], how: int) -> tuple[Any, st.SearchStrategy[Any]]:
    """A type that holds another, and its values."""
    kind, values = held
    several = st.lists(values | st.none(), max_size=3)
    field = pa.field("item", kind)
    return [
        (pa.list_(field), several),
        (pa.large_list(field), several),
        (pa.list_view(field), several),
        (pa.list_(field, 2), st.lists(values | st.none(), min_size=2, max_size=2)),
        (pa.struct([("a", kind), ("b", pa.int8())]), st.fixed_dictionaries({"a": values, "b": st.integers(0, 9)})),
        (pa.map_(pa.string(), kind), st.lists(st.tuples(st.text("ab", max_size=2), values), max_size=2)),
    ][how]


kinds = st.sampled_from(TYPES) | st.builds(
    inside,
    st.sampled_from(TYPES) | st.builds(inside, st.sampled_from(TYPES[:10]), st.integers(0, 5)),
    st.integers(0, 5),
)


@st.composite
def arrays(draw: st.DrawFn, length: int | None = None) -> Any:
    kind, values = draw(kinds)
    listed = draw(st.lists(st.none() | values, min_size=length or 0, max_size=5 if length is None else length))
    made = pa.array(listed, type=kind)
    if length is None and draw(st.booleans()):
        return made.slice(draw(st.integers(0, 2)), draw(st.integers(0, 3)))
    return made


metadata = st.none() | st.dictionaries(st.text("ab", max_size=2), st.text("é", max_size=2), min_size=1, max_size=2)
names = st.lists(st.text("abc", max_size=2), max_size=3)


@st.composite
def batches(draw: st.DrawFn) -> Any:
    rows, each = draw(st.integers(0, 4)), draw(names)
    columns = [draw(arrays(rows)) for _ in each]
    fields = [pa.field(name, held.type, metadata=draw(metadata)) for name, held in zip(each, columns, strict=True)]
    return pa.RecordBatch.from_arrays(columns, schema=pa.schema(fields, metadata=draw(metadata)))


@st.composite
def chunks(draw: st.DrawFn) -> Any:
    kind, values = draw(kinds)
    parts = draw(st.lists(st.lists(st.none() | values, max_size=3), max_size=3))
    return pa.chunked_array([pa.array(part, type=kind) for part in parts], type=kind)


tables = batches().map(
    lambda batch: pa.Table.from_batches([batch, batch.slice(1)] if batch.num_columns else [], batch.schema)
)


def valid(value: Any) -> bool:
    """Whether pyarrow takes its own work for good: not a missing struct with an index into an empty dictionary."""
    held = pa.repeat(value, 1) if isinstance(value, pa.Scalar) else value
    try:
        getattr(held, "validate", lambda full: None)(full=True)
    except pa.ArrowInvalid:
        return False
    return True


values: st.SearchStrategy[Any] = st.one_of(
    arrays(),
    batches(),
    tables,
    chunks(),
    kinds.map(lambda kind: kind[0]),
    batches().map(lambda batch: batch.schema),
    st.builds(
        lambda kind, null, more: pa.field("a", kind[0], null or kind[0] == pa.null(), more),
        kinds,
        st.booleans(),
        metadata,
    ),
    arrays().filter(len).map(lambda array: array[0]),
    st.sampled_from(
        [
            pa.RunEndEncodedArray.from_arrays([2, 5], ["a", None]).slice(1, 3),
            pa.UnionArray.from_sparse(pa.array([0, 1], pa.int8()), [pa.array([1, 2]), pa.array(["a", "b"])]),
            pa.UnionArray.from_dense(pa.array([0], pa.int8()), pa.array([0], pa.int32()), [pa.array([1])]),
        ]
    ),
).filter(valid)


def same_arrow(a: Any, b: Any) -> bool:
    """Whether two values of one type of pyarrow are the same, as their own bytes and texts say."""
    if isinstance(a, (pa.Schema, pa.Field)):
        return bool(a.equals(b, check_metadata=True))
    if isinstance(a, pa.DataType):
        return bool(a.equals(b))
    if isinstance(a, (pa.Table, pa.RecordBatch)):
        shapes = a.shape == b.shape and a.schema.equals(b.schema, check_metadata=True)
        return shapes and repr(list_of(a)) == repr(list_of(b))
    if isinstance(a, pa.ChunkedArray) and [len(chunk) for chunk in a.chunks] != [len(chunk) for chunk in b.chunks]:
        return False
    return bool(a.type == b.type) and repr(list_of(a)) == repr(list_of(b))


def list_of(value: Any) -> Any:
    if isinstance(value, (pa.Table, pa.RecordBatch)):  # names may be twice there
        return [column.to_pylist() for column in value.columns]
    return value.as_py() if isinstance(value, pa.Scalar) else value.to_pylist()
