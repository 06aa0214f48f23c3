"""`actorq map`: a map over the rows of a file, without a script."""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from actorq.cli.checkpoint import Checkpoint, Output, Stream
from actorq.cli.options import say
from actorq.cli.rows import Row, format_of, names_of, opened, read_rows
from actorq.cli.runs import line_of, remote_traceback
from actorq.errors import ActorqError, DeclarationError, TaskError

if TYPE_CHECKING:
    from actorq.declare.task import Task


@click.command("map", short_help="Map a task over the rows of a file.")
@click.argument("target", metavar="MODULE:TASK")
@click.option("--input", "source", required=True, help="A file of JSON lines or CSV; - is stdin.")
@click.option("--output", "target_file", required=True, help="A file for a line of JSON for each row; - is stdout.")
@click.option("--format", "format_", type=click.Choice(["jsonl", "csv"]), help="Of the input.  [default: by its name]")
@click.option("--columns", help="Names of the fields that are the task's arguments, in its order, with commas between.")
@click.option(
    "--batch", type=click.IntRange(1), help="Call the task with lists of so many rows; it returns a list as long."
)
@click.option("--keep-going", is_flag=True, help="Write {error, message} for a row that fails, and go on.")
def map_(
    target: str,
    source: str,
    target_file: str,
    format_: str | None,
    columns: str | None,
    batch: int | None,
    keep_going: bool,
) -> None:
    """Map TASK over the rows of a file, and write its outputs in their order.

    Without --columns a row is the task's one argument: the value of a line of JSON, or a dict of a row of CSV, whose
    values are strings. MODULE is a module name or the path of a .py file.

    The output is its own checkpoint: the same command, started again after whatever has ended it, goes on behind the
    last whole line. What made each line lies in a file beside it, OUTPUT.actorq.
    """
    task = named_task(target)
    names = names_of(columns)
    made_by = {"task": task.name, "columns": names, "batch": batch or 1}
    _check_row(task, names if batch is None else [])
    output: Output
    output = Stream(sys.stdout.buffer) if target_file == "-" else Checkpoint(Path(target_file), made_by, batch or 1)
    try:
        with opened(source) as file:
            before = output.done
            rows = output.skip(read_rows(file, format_ or format_of(source), names))
            _run(task, rows, output, star=bool(names), batch=batch, keep_going=keep_going)
            if target_file != "-":
                say(f"{output.done - before:,} rows done, {before:,} were done before: {target_file}", err=True)
    except KeyboardInterrupt:
        if target_file != "-":
            say(f"\n{output.done:,} rows are done: the same command goes on behind them.", err=True)
        raise
    except ActorqError:
        raise
    except Exception as error:  # of the task
        row = f"row {output.done + 1}" if target_file != "-" else "a row"
        raise TaskError(
            f"{row} failed with {type(error).__name__}: {error}", remote_traceback=remote_traceback(error)
        ) from error
    finally:
        output.close()


def _run(
    task: Task[..., Any, Any], rows: Iterator[Row], output: Output, *, star: bool, batch: int | None, keep_going: bool
) -> None:
    values = (row.value for row in rows)
    call: Any = task.starmap if star and batch is None else task.map
    if batch is None:
        outputs: Iterable[Any] = call(values, return_exceptions=keep_going)
    else:
        lists = iter(lambda: list(islice(values, batch)), [])
        sizes: deque[int] = deque()
        outputs = _taken_apart(call(_noted(lists, sizes), return_exceptions=keep_going), sizes, task.name)
    for index, value in enumerate(outputs, output.done):
        output.write(line_of(index, value))


def _check_row(task: Task[..., Any, Any], columns: Sequence[str]) -> None:
    """Raises `DeclarationError` where the task does not take what a row gives it."""
    try:
        task.check_arity(len(columns) or 1, {})
    except TypeError as error:
        reason = str(error).partition(": ")[2].removesuffix(" Argument tuples are for starmap().")
        told = (
            f"--columns {','.join(columns)} gives it {len(columns)}" if columns else "without --columns it is given 1"
        )
        raise DeclarationError(
            f"{task.name} does not take a row: {told} argument{'s' if len(columns) > 1 else ''}; {reason} "
            "Name the columns in the order of its parameters, as in --columns a,b."
        ) from None


def _noted(lists: Iterator[list[Any]], sizes: deque[int]) -> Iterator[list[Any]]:
    for each in lists:
        sizes.append(len(each))
        yield each


def _taken_apart(outputs: Iterable[Any], sizes: deque[int], name: str) -> Iterator[Any]:
    """The outputs of the rows of each batch."""
    for output in outputs:
        size = sizes.popleft()
        if isinstance(output, Exception):
            yield from [output] * size
        elif isinstance(output, (str, bytes, dict)) or not hasattr(output, "__len__") or len(output) != size:
            raise TaskError(f"{name} was given {size} rows at once and must return a list of {size} outputs.")
        else:
            yield from output


def named_task(target: str) -> Task[..., Any, Any]:
    """The task that is named, imported as a worker imports it. Raises `DeclarationError`."""
    from actorq.code.importing import import_target, parse_target
    from actorq.declare.task import Task

    parsed, attribute = parse_target(target)
    sys.path.insert(0, str(Path.cwd()))
    if parsed.path is not None:
        if not Path(parsed.path).exists():
            raise DeclarationError(f"There is no file {parsed.path}.")
        sys.path.insert(0, str(Path(parsed.path).parent))  # as Python does for a script
    try:
        import_target(parsed)
    except ModuleNotFoundError as error:
        raise DeclarationError(f"{target} cannot be imported: {error}.") from error
    module = vars(sys.modules[parsed.name])
    # by its type: a proxy in the module may raise for whatever asks what it stands for
    found: dict[str, Task[..., Any, Any]] = {
        name: value for name, value in module.items() if issubclass(type(value), Task)
    }
    if attribute is None and len(found) == 1:
        return next(iter(found.values()))
    if attribute is None or attribute not in found:
        named = ", ".join(sorted(found)) or "none"
        raise DeclarationError(f"Name the task, as in {target.partition(':')[0]}:TASK. There are: {named}.")
    return found[attribute]
