"""`actorq map`: a map over the rows of a file, without a script."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT, Worker, eventually

TASKS = "tests.support.code.tasks:"


def started(*arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "actorq.cli", "map", *arguments]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True, cwd=ROOT)


def run(*arguments: str, text: str = "") -> tuple[int, str, str]:
    process = started(*arguments)
    out, err = process.communicate(text, timeout=60)
    return process.returncode, out, err


def lines(values: list[object]) -> str:
    return "".join(json.dumps(value) + "\n" for value in values)


def test_a_file_is_mapped_in_order_and_gone_on_with_after_kill_9(worker: Worker, tmp_path: Path) -> None:
    source, output, log = tmp_path / "in.jsonl", tmp_path / "out.jsonl", tmp_path / "log"
    source.write_text(lines([{"log": str(log), "number": number} for number in range(300)]))
    arguments = (TASKS + "note", "--input", str(source), "--columns", "log,number", "--output", str(output))
    for least in (30, 100):
        process = started(*arguments)
        assert eventually(lambda least=least: output.exists() and output.read_text().count("\n") > least)
        process.send_signal(signal.SIGKILL)
        process.communicate()
    status, _, err = run(*arguments)
    assert (status, output.read_text()) == (0, lines(list(range(300)))), err
    assert "300" not in err  # some were done before
    again = run(*arguments)
    assert again[2] == f"0 rows done, 300 were done before: {output}\n"
    assert len(log.read_text().split()) < 400  # what was done did not run again, but for what was on its way


def test_columns_batches_and_streams(worker: Worker, tmp_path: Path) -> None:
    source = tmp_path / "in.csv"
    source.write_text("x,y\n" + "".join(f"{n},{n + 1}\n" for n in range(5)))
    assert run(TASKS + "echo", "--input", str(source), "--output", "-", "--columns", "y")[1] == lines(
        [[str(n + 1)] for n in range(5)]
    ).replace("[", "").replace("]", "")
    status, out, err = run(TASKS + "echo", "--input", "-", "--output", "-", "--batch", "2", text="1\n2\n3\n")
    assert (status, out) == (0, "1\n2\n3\n"), err
    status, out, err = run(TASKS + "sized", "--input", "-", "--output", "-", "--batch", "2", text="1\n2\n3\n")
    assert status == 1
    assert "was given 2 rows at once and must return a list of 2 outputs" in err


def test_a_row_that_fails_is_named_and_where_it_is_wanted_passed_over(worker: Worker, tmp_path: Path) -> None:
    output = tmp_path / "out.jsonl"
    arguments = (TASKS + "fails_at", "--input", "-", "--output", str(output))
    status, _, err = run(*arguments, text=lines([1, 2, 3, 4]))
    assert (status, output.read_text()) == (1, "1\n2\n")
    assert "Error: row 3 failed with ValueError: no 3" in err
    status, _, err = run(*arguments, "--keep-going", text=lines([1, 2, 3, 4]))
    assert (status, err) == (0, f"2 rows done, 2 were done before: {output}\n")
    assert output.read_text() == lines([1, 2, {"error": "ValueError", "message": "no 3"}, 4])


@pytest.mark.parametrize(
    ("task", "columns", "told"),
    [
        ("note", "", "without --columns it is given 1 argument; missing a required argument: 'number'."),
        ("double", "a,b,c", "--columns a,b,c gives it 3 arguments; too many positional arguments."),
    ],
)
def test_a_task_that_does_not_take_a_row_is_told_before_anything_runs(task: str, columns: str, told: str) -> None:
    status, out, err = run(TASKS + task, "--input", "-", "--output", "-", "--columns", columns, text=lines([1]))
    assert (status, out) == (2, "")
    assert f"Error: tests.support.code.tasks.{task} does not take a row: {told} Name the columns" in err


def test_a_task_that_is_not_there_is_an_error_that_names_those_that_are(tmp_path: Path) -> None:
    status, _, err = run("tests.support.code.tasks:nothing", "--input", "-", "--output", "-")
    assert status == 2
    assert "Name the task, as in tests.support.code.tasks:TASK. There are: add, " in err
    assert "no_such_module:x cannot be imported" in run("no_such_module:x", "--input", "-", "--output", "-")[2]
