"""Lines on their way from the process that prints them: bounded, whole, and never in the way of a task."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from actorq.base.captured import INPUT_CHARACTERS, Line, LineReader, LineWriter, pipe_in

NOW = {"replica": "r", "map": "m", "index": 3}


@pytest.fixture
def reader(tmp_path: Path) -> Iterator[LineReader]:
    made = LineReader(pipe_in(tmp_path))
    yield made
    made.close()
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def writer(reader: LineReader, tmp_path: Path) -> Iterator[LineWriter]:
    made = LineWriter(pipe_in(tmp_path))
    yield made
    made.close()


def test_a_line_arrives_with_what_ran(reader: LineReader, writer: LineWriter) -> None:
    writer(NOW, ["a", "", 'ä "\\\n\udc80'])
    writer({"replica": "r", "map": "m"}, ["b"])
    writer({"replica": "r"}, ["of no input"])
    told = [
        Line("r", "m", 3, "a"),
        Line("r", "m", 3, ""),
        Line("r", "m", 3, 'ä "\\\n\udc80'),
        Line("r", "m", None, "b"),
    ]
    assert reader.read() == told
    assert reader.read() == []


def test_a_long_line_comes_in_pieces(reader: LineReader, writer: LineWriter) -> None:
    for text in ("".join(map(chr, range(1, 2000))), "\0" * 5000, "\N{SNAKE}" * 5000, "\udcff" * 5000, '"' * 5000):
        writer(NOW, [text])
        assert "".join(line.text for line in reader.read()) == text
        writer.end()


def test_of_one_input_a_bounded_part_is_kept_and_the_next_one_begins_anew(
    reader: LineReader, writer: LineWriter
) -> None:
    lines = []
    for _ in range(200):
        writer(NOW, ["x" * 500])
        lines += reader.read()
    assert INPUT_CHARACTERS - 1000 < sum(len(line.text) for line in lines) < INPUT_CHARACTERS + 100
    assert lines[-1].text == "(more than 65,536 characters: the rest is not kept)"
    writer({**NOW, "index": 4}, ["y"])
    assert reader.read() == [Line("r", "m", 4, "y")]
    writer.end()
    writer(NOW, ["once more", "z" * INPUT_CHARACTERS])  # its next try
    again = reader.read()
    assert again[0].text == "once more"
    assert "".join(line.text for line in again[1:-1]) == "z" * (INPUT_CHARACTERS - len("once more") - 1)
    assert "is not kept" in again[-1].text


def test_who_writes_does_not_wait_for_who_reads_and_says_how_many_lines_that_cost(
    reader: LineReader, writer: LineWriter
) -> None:
    for index in range(4000):
        writer({**NOW, "index": index}, ["x" * 500])  # more than a pipe holds
    kept = 0
    while some := reader.read():
        kept += len(some)
    writer.end()
    (lost,) = reader.read()
    assert lost == Line("r", "m", 3999, f"({4000 - kept:,} lines were left out: too many came at once)")
    writer(NOW, ["y"])
    assert reader.read() == [Line("r", "m", 3, "y")]


def test_a_pipe_that_a_task_has_closed_is_opened_again(reader: LineReader, writer: LineWriter, tmp_path: Path) -> None:
    os.close(writer.fileno())
    writer(NOW, ["b"])
    assert reader.read() == [Line("r", "m", 3, "b")]
    os.close(writer.fileno())
    with (tmp_path / "other").open("wb"):  # it has the number of the pipe now
        writer(NOW, ["a"])
        assert reader.read() == [Line("r", "m", 3, "a")]
    assert (tmp_path / "other").read_bytes() == b""
    (tmp_path / "other").unlink()


def test_what_is_no_line_is_passed_over(reader: LineReader, writer: LineWriter) -> None:
    for data in (b"\n", b"[]\n", b'["r","m","3","a"]\n', b'["r","m",true,"a"]\n', b"\xff\n", b'["r",1,2,"a"]\n'):
        os.write(writer.fileno(), data)
    writer(NOW, ["a"])
    assert reader.read() == [Line("r", "m", 3, "a")]


def test_without_a_reader_nothing_is_written_and_nothing_fails(tmp_path: Path) -> None:
    writer = LineWriter(tmp_path / "nowhere")
    writer(NOW, ["a"])
    writer.close()
