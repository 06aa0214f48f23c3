"""The rows of a file, as `actorq map` gives them to a task.

The one idea: a row is read as it is asked for, and has a checksum, so that a file of any size is mapped in flat memory
and one that has changed is noticed.
"""

from __future__ import annotations

import csv
import io
import json
import sys
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from actorq.errors import ActorqError

#: what a file is, by the end of its name
_FORMATS = {".csv": "csv", ".jsonl": "jsonl", ".ndjson": "jsonl", ".json": "jsonl"}


class RowError(ActorqError):
    """A row of the input cannot be read."""


class Row(NamedTuple):
    """One of them."""

    #: what the task is given: a value, or of chosen columns a tuple
    value: Any
    #: of the value
    checksum: int


def names_of(columns: str | None) -> list[str]:
    """The columns that an option names, with commas between; none where it was not given."""
    return [name.strip() for name in (columns or "").split(",") if name.strip()]


def format_of(path: str) -> str:
    """The format that a file has by its name: "jsonl", or "csv"."""
    return _FORMATS.get(Path(path).suffix.lower(), "jsonl")


@contextmanager
def opened(path: str) -> Iterator[BinaryIO]:
    """The file, or stdin for "-"."""
    if path == "-":
        yield sys.stdin.buffer
        return
    if not Path(path).is_file():
        raise RowError(f"There is no input {path}.")
    with Path(path).open("rb") as file:
        yield file


def read_rows(file: BinaryIO, format_: str, columns: Sequence[str]) -> Iterator[Row]:
    """The rows of a file, one after the other.

    Args:
        file: JSON values, a line each; or CSV with a line of names.
        format_: "jsonl" or "csv".
        columns: names of what is passed on, in the order of the task's parameters; of none, all of a row is one value.

    Raises `RowError` naming the line of a row that cannot be read.
    """
    numbered = _csv(file) if format_ == "csv" else _jsonl(file)
    for line, whole in numbered:
        value = whole
        if columns:
            if not isinstance(value, dict) or any(name not in value for name in columns):
                missing = [name for name in columns if not isinstance(value, dict) or name not in value]
                raise RowError(f"Line {line} of the input has no {missing[0]!r}.")
            value = tuple(value[name] for name in columns)
        yield Row(value, zlib.crc32(json.dumps(value).encode()))


def _jsonl(file: BinaryIO) -> Iterator[tuple[int, Any]]:
    for number, line in enumerate(file, 1):
        if line.strip():
            try:
                yield number, json.loads(line)
            except ValueError as error:
                raise RowError(f"Line {number} of the input is no JSON: {error}.") from None


def _csv(file: BinaryIO) -> Iterator[tuple[int, Any]]:
    reader = csv.DictReader(io.TextIOWrapper(file, "utf-8-sig", newline=""), strict=True)
    try:
        for row in reader:
            if None in row or None in row.values():
                raise RowError(f"Line {reader.line_num} of the input has more or fewer fields than the first one.")
            yield reader.line_num, row
    except (csv.Error, UnicodeDecodeError) as error:
        raise RowError(f"Line {reader.line_num} of the input is no CSV: {error}.") from None
