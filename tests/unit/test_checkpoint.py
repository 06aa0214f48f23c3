"""The output of `actorq map` is its own checkpoint."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actorq.cli.checkpoint import Checkpoint, CheckpointError
from actorq.cli.rows import Row, RowError, format_of, read_rows

MADE_BY = {"task": "m.f", "columns": [], "batch": 1}


def rows(count: int, salt: int = 0) -> Iterator[Row]:
    return read_rows(io.BytesIO(b"".join(b"%d\n" % (number + salt) for number in range(count))), "jsonl", ())


def line(value: int) -> bytes:
    return json.dumps({"value": value}).encode() + b"\n"


def written(path: Path, count: int, batch: int = 1, salt: int = 0) -> int:
    """Maps rows into `path`; returns how many were done before."""
    checkpoint = Checkpoint(path, MADE_BY, batch)
    before = checkpoint.done
    try:
        for row in checkpoint.skip(rows(count, salt)):
            checkpoint.write(line(row.value))
    finally:
        checkpoint.close()
    return before


@given(data=st.data(), count=st.integers(0, 20), batch=st.integers(1, 4))
def test_wherever_a_program_is_killed_the_next_one_goes_on(data: st.DataObject, count: int, batch: int) -> None:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "out.jsonl"
        side = Path(folder) / "out.jsonl.actorq"
        written(path, count, batch)
        whole, entries = path.read_bytes(), side.read_bytes()
        cut = data.draw(st.integers(0, len(whole)))
        path.write_bytes(whole[:cut])
        least = len(entries) - 8 * (count - whole[:cut].count(b"\n"))
        least += 8 if not whole[:cut].endswith(b"\n") and cut else 0  # an entry is written before its line
        side.write_bytes(entries[: data.draw(st.integers(least, len(entries)))])
        before = written(path, count, batch)
        assert before == whole[:cut].count(b"\n") // batch * batch
        assert path.read_bytes() == whole
        assert side.read_bytes() == entries


def test_more_rows_are_gone_on_with_and_other_ones_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    assert written(path, 10) == 0
    assert written(path, 15) == 10
    with pytest.raises(CheckpointError, match=r"Row 1 of the input is another one than line 1 of .*out\.jsonl"):
        written(path, 15, salt=1)
    with pytest.raises(CheckpointError, match=r"The input has 3 rows, and .* has 15 lines of it"):
        written(path, 3)


def test_an_output_that_was_changed_or_made_by_something_else_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    written(path, 3)
    with pytest.raises(CheckpointError, match=r"was made by .*m\.f.*, and this would be .*m\.g"):
        Checkpoint(path, {**MADE_BY, "task": "m.g"}, 1)
    path.write_bytes(path.read_bytes().replace(b"1", b"7"))
    with pytest.raises(CheckpointError, match=r"Line 2 of .* is not what was written there"):
        Checkpoint(path, MADE_BY, 1)
    (tmp_path / "out.jsonl.actorq").unlink()
    with pytest.raises(CheckpointError, match="is there, without"):
        Checkpoint(path, MADE_BY, 1)


def test_two_programs_do_not_write_the_same_output(tmp_path: Path) -> None:
    first = Checkpoint(tmp_path / "out", MADE_BY, 1)
    with pytest.raises(CheckpointError, match="Another program writes"):
        Checkpoint(tmp_path / "out", MADE_BY, 1)
    first.close()


def test_rows_of_csv_are_dicts_or_chosen_columns() -> None:
    text = 'a,b\n1,x\n2,"y, z"\n'.encode("utf-8-sig")
    assert [row.value for row in read_rows(io.BytesIO(text), "csv", ())] == [
        {"a": "1", "b": "x"},
        {"a": "2", "b": "y, z"},
    ]
    assert [row.value for row in read_rows(io.BytesIO(text), "csv", ("b", "a"))] == [("x", "1"), ("y, z", "2")]


@pytest.mark.parametrize(
    ("text", "format_", "columns", "message"),
    [
        (b"1\n{\n", "jsonl", (), "Line 2 of the input is no JSON"),
        (b'{"a": 1}\n\n{"b": 1}\n', "jsonl", ("a",), "Line 3 of the input has no 'a'"),
        (b"1\n", "jsonl", ("a",), "Line 1 of the input has no 'a'"),
        (b"a,b\n1\n", "csv", (), "Line 2 of the input has more or fewer fields"),
        (b"a,b\n1,2,3\n", "csv", (), "Line 2 of the input has more or fewer fields"),
        (b"a,b\n\xff\n", "csv", (), "is no CSV"),
    ],
)
def test_a_row_that_cannot_be_read_is_named(text: bytes, format_: str, columns: tuple[str, ...], message: str) -> None:
    with pytest.raises(RowError, match=message):
        list(read_rows(io.BytesIO(text), format_, columns))


def test_the_name_of_a_file_tells_its_format() -> None:
    assert [format_of(name) for name in ("a.csv", "b.jsonl", "-", "c.NDJSON", "d.txt")] == [
        "csv",
        "jsonl",
        "jsonl",
        "jsonl",
        "jsonl",
    ]
