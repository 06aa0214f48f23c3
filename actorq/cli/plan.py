"""`actorq plan`: what a map will take on regular tasks and on actors, before anything is started."""

from __future__ import annotations

import inspect
import json
import math
import statistics
import textwrap
import time
from dataclasses import asdict, replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from actorq.base.amounts import counted, exact_span
from actorq.cli.options import output, say
from actorq.cli.rows import format_of, names_of, opened, read_rows
from actorq.cli.tables import print_table

if TYPE_CHECKING:
    from actorq.planning.plan import Plan
    from actorq.planning.work import Outcome


class _Number(click.FloatRange):
    """One that can be reckoned with: no NaN, and nothing infinite."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        number = float(super().convert(value, param, ctx))
        if not math.isfinite(number):
            self.fail(f"{value} is no number.", param, ctx)
        return number


_SECONDS = _Number(min=0, max=1e9)
#: rows that are called to see how long they take
_SAMPLE = 20
#: of advice
_COLUMNS = 100


@click.command(short_help="What a map will take, and on how many replicas.")
@click.argument("inputs", type=click.IntRange(1))
@click.option("--seconds", type=_SECONDS, help="Of one input, in the mean, without what it loads.")
@click.option("--sample", metavar="MODULE:TASK", help="Measure --seconds, --spread and --load: call a task here.")
@click.option("--rows", help="JSON lines or CSV for the sample: its first 20 rows; as --input of `actorq map`.")
@click.option("--columns", help="Of the sample's rows, as for `actorq map`.")
@click.option("--spread", type=_Number(min=0, max=100), help="Standard deviation of that, as a share of it.")
@click.option("--load", type=_SECONDS, help="Seconds to load what @actor_cache keeps.")
@click.option("--keys", default=1, type=click.IntRange(1), help="Things of which each input needs one (affinity).")
@click.option("--holds", type=click.IntRange(1), help="How many of them a replica holds.  [default: all]")
@click.option("--replicas", type=click.IntRange(1, 100_000), help="[default: as many as are worth it]")
@click.option(
    "--deadline",
    type=_Number(min=0, min_open=True, max=1e12),
    help="Seconds it may take: as few replicas as that needs.",
)
@click.option("--start", type=_SECONDS, help="Seconds from the wish for a pod until its code runs.  [default: 10]")
@click.option("--between", type=_SECONDS, help="Seconds until a pod that ended is replaced.  [default: 2]")
@click.option("--pods-per-second", type=_Number(min=0.001, max=1e6), help="That the cluster makes.  [default: 10]")
@click.option("--local", is_flag=True, help="Replicas are processes of one machine.")
@click.option("--price", type=_SECONDS, help="Of an hour of one pod.")
@click.option("--picture", type=click.Path(dir_okay=False, path_type=Path), help="An SVG file to draw.")
@output
def plan(
    inputs: int,
    seconds: float | None,
    sample: str | None,
    rows: str | None,
    columns: str | None,
    spread: float | None,
    load: float | None,
    keys: int,
    holds: int | None,
    replicas: int | None,
    deadline: float | None,
    price: float | None,
    picture: Path | None,
    output: str,
    *,
    local: bool,
    **given: float | None,
) -> None:
    """Compare regular tasks with actors for a map of INPUTS inputs, and say how many replicas it is worth.

    Nothing is started: the map is simulated with the sizes that real leases have. How long pods take to start differs
    between clusters; measure yours, and give --start, --between and --pods-per-second.
    """
    from actorq.planning.picture import drawn
    from actorq.planning.plan import plan as planned
    from actorq.planning.work import HERE, Place, Work

    if replicas is not None and deadline is not None:
        raise click.UsageError("--deadline says how many replicas there are to be: give that, or --replicas.")
    measured = {} if sample is None else _measured(sample, rows, columns)
    asked = {"seconds": seconds, "spread": spread, "load": load}
    known = measured | {name: value for name, value in asked.items() if value is not None}
    if "seconds" not in known:
        raise click.UsageError("How long does an input take? Give --seconds, or --sample and --rows.")
    work = Work(inputs=inputs, keys=keys, holds=holds, **known)
    place = replace(HERE if local else Place(), **{name: value for name, value in given.items() if value is not None})
    made = planned(work, place, replicas=replicas, deadline=deadline)
    if picture is not None:
        try:
            picture.write_text(drawn(made), encoding="utf-8")
        except OSError as error:
            told = f"{picture} cannot be written: {error.strerror}."
            raise click.BadParameter(told, param_hint="--picture") from None
    if output == "json":
        say(json.dumps(_told(made, price), indent=2))
        return
    _print(made, price)


def _measured(target: str, rows: str | None, columns: str | None) -> dict[str, float]:
    """How long a task takes for the first rows of a file, called in this process; what it loads, the first call does.

    Raises `UsageError` for fewer than two rows.
    """
    import asyncio

    from actorq.cli.map import named_task
    from actorq.cli.runs import remote_traceback
    from actorq.errors import TaskError

    task = named_task(target)
    names = names_of(columns)
    if rows is None:
        raise click.UsageError("--sample needs --rows: what to call the task with.")
    with opened(rows) as file:
        values = [row.value for row in islice(read_rows(file, format_of(rows), names), _SAMPLE)]
    if len(values) < 2:
        raise click.UsageError(f"{rows} has fewer than two rows: the first call loads, and the others tell the rest.")
    took = []
    for number, value in enumerate(values, 1):
        begun = time.perf_counter()
        try:
            output = task(*value) if names else task(value)
            if inspect.iscoroutine(output):
                asyncio.run(output)
        except SystemExit as error:
            raise TaskError(f"The sample wanted to end the program at row {number} of {rows}: {error}.") from error
        except Exception as error:
            told = f"The sample failed at row {number} of {rows} with {type(error).__name__}: {error}"
            raise TaskError(told, remote_traceback=remote_traceback(error)) from error
        took.append(time.perf_counter() - begun)
    first, rest = took[0], took[1:]
    mean = statistics.mean(rest)
    say(f"{task.name}, called {len(values)} times here: {first:.3g} s at first, then {mean:.3g} s.", err=True)
    return {"seconds": mean, "spread": statistics.pstdev(rest) / mean, "load": max(first - max(rest), 0.0)}


def _print(made: Plan, price: float | None) -> None:
    work, place = made.work, made.place
    loads = f", {_seconds(work.load)} to load what they need" if work.load else ""
    say(f"{counted(work.inputs, 'input')} of {_seconds(work.seconds)} each{loads}.")
    say(f"A pod starts in {place.start:g} s, and the cluster makes {place.pods_per_second:g} a second.\n")
    head = ["WAY", "AT A TIME", "PODS", "TIME", "POD-HOURS", "AT WORK", *(["COST"] if price is not None else [])]
    rows = []
    for way in made.ways:
        at_once = "no bound" if way.at_once is None else f"{way.at_once:,}"
        hours = f"{way.outcome.pod_hours:,.2f}"
        cells = [way.name, at_once, f"{way.outcome.pods:,}", exact_span(way.outcome.seconds), hours, f"{way.share:.1%}"]
        rows.append([*cells, *_cost(way.outcome, price)])
    print_table(head, rows, [""] * len(rows))
    say("\nActors that start with the map:\n")
    head = ["REPLICAS", "TIME", "POD-HOURS", *(["COST"] if price is not None else [])]
    near = _near(made)
    counts = [[n, exact_span(found.seconds), f"{found.pod_hours:,.2f}", *_cost(found, price)] for n, found in near]
    print_table(head, counts, ["" for _ in counts])
    say("")
    for sentence in made.advice:
        say(textwrap.fill(sentence, _COLUMNS, initial_indent="- ", subsequent_indent="  "))


def _seconds(seconds: float) -> str:
    return f"{seconds:.3g} s" if seconds >= 0.1 or seconds == 0 else f"{1000 * seconds:.3g} ms"


def _near(made: Plan) -> list[tuple[int, Outcome]]:
    """Numbers of replicas around the one that is advised."""
    at = next(i for i, (count, _) in enumerate(made.by_replicas) if count >= made.replicas)
    return list(made.by_replicas[max(at - 3, 0) : at + 4])


def _cost(outcome: Outcome, price: float | None) -> list[str]:
    return [] if price is None else [f"{price * outcome.pod_hours:,.2f}"]


def _told(made: Plan, price: float | None) -> dict[str, Any]:
    def outcome(found: Outcome) -> dict[str, Any]:
        told = {**asdict(found), "pod_hours": found.pod_hours}
        return told if price is None else {**told, "cost": price * found.pod_hours}

    return {
        "work": asdict(made.work),
        "place": asdict(made.place),
        "replicas": made.replicas,
        "ways": [
            {"name": way.name, "at_once": way.at_once, "share_at_work": way.share, **outcome(way.outcome)}
            for way in made.ways
        ],
        "by_replicas": [{"replicas": count, **outcome(found)} for count, found in made.by_replicas],
        "advice": list(made.advice),
    }
