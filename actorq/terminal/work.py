"""The rows of the table of maps and runs.

The one idea: a run that is driven is a map on the server as well, and is one row here. What its driver says is newer;
what is stored of it says what a driver does not know yet.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from actorq.base.amounts import counted, rate, span
from actorq.monitor.model import MapView
from actorq.monitor.runs import RunView
from actorq.terminal.history import Births
from actorq.terminal.layout import Column
from actorq.terminal.picture import Picture
from actorq.terminal.rows import Row
from actorq.terminal.words import Bar, Name, Text, last_name

_RUN_TONES = {"done": "good", "failed": "bad", "cancelled": "warn"}


@dataclass(frozen=True, kw_only=True)
class Work:
    """A map or a run."""

    id: str
    environment: str
    #: None where only its run is known: nobody drives it, or it has ended
    map: MapView | None
    #: None for a map that ends with its program
    run: RunView | None

    @property
    def state(self) -> str:
        """That of its run; "map" for one that ends with its program."""
        return "map" if self.run is None else self.run.state

    @property
    def age_seconds(self) -> float:
        """Since it began."""
        return self.run.age_seconds if self.run is not None else self.map.seconds if self.map is not None else 0.0

    @property
    def total(self) -> int | None:
        """None where nobody knows. A run knows it once all are stored, its driver once all are read."""
        totals = (view.total for view in (self.map, self.run) if view is not None)
        return next((total for total in totals if total is not None), None)

    @property
    def left_seconds(self) -> float | None:
        """At its present rate; None where nobody can tell."""
        return None if self.map is None else replace(self.map, total=self.total).eta

    @property
    def live(self) -> bool:
        """Whether it goes on."""
        return self.state in ("map", "running")


WORK = (
    Column(title="MAPS AND RUNS", least=12, most=34),
    Column(title="TASK", least=6, most=20, rank=5),
    Column(title="", least=8, most=16, rank=1),
    Column(title="DONE", least=7, most=21, right=True),
    Column(title="", least=4, most=5, rank=4, right=True),
    Column(title="RATE", least=6, most=10, rank=1, right=True),
    Column(title="LEFT", least=6, most=8, rank=2, right=True),
    Column(title="FAILED", least=6, most=8, right=True),
    Column(title="STATE", least=9, most=200, rank=3, fills=True),
)


def work_of(picture: Picture) -> list[Work]:
    """Maps and runs that go on, and runs that have ended."""
    runs = {(run.environment, run.id): run for run in picture.runs}
    found = [
        Work(id=each.id, environment=view.name, map=each, run=runs.pop((view.name, each.id), None))
        for view in picture.chosen()
        for each in view.maps
    ]
    return found + [Work(id=run.id, environment=run.environment, map=None, run=run) for run in runs.values()]


def work_rows(picture: Picture, births: Births) -> list[Row]:
    """A row for each map and run: what goes on, the newest first, and then what has ended."""

    def place(work: Work) -> tuple[bool, float, str]:
        began = births.of((work.environment, work.id), work.age_seconds, picture.taken)
        return not work.live, -began, work.id

    works = sorted(work_of(picture), key=place)
    births.keep({(work.environment, work.id) for work in works})
    return [_work(work) for work in works]


def _work(work: Work) -> Row:
    source, total = work.map or work.run, work.total
    assert source is not None
    fast = source.rate if work.map or not work.live else 0.0  # what nobody drives has no rate of now
    left = work.left_seconds if work.live else None
    told = _told(work)
    begun = f"began {span(work.age_seconds)} ago"
    return Row(
        (work.environment, work.id),
        (
            Name(work.id, "strong" if work.live else ""),
            Text(last_name(source.task), "dim"),
            Bar(source.done, source.failed, total),
            Text(f"{source.done:,}/{'?' if total is None else f'{total:,}'}"),
            Text(f"{100 * source.done // total}%" if total else "", "dim"),
            Text(f"{rate(fast)}/s", "" if work.live and fast else "dim"),
            Text("" if left is None else span(left)),
            Text(f"{source.failed:,}", "bad" if source.failed else "dim"),
            told,
        ),
        " · ".join(filter(None, (work.id, source.task, begun, told.text, source.problem))),
        work,
    )


def _told(work: Work) -> Text:
    """What it does, or what keeps it."""
    run, live = work.run, work.map
    if live is not None and live.held:
        return Text(f"held up: {live.held}", "warn")
    for view in (live, run):
        if view is not None and view.problem:
            return Text(f"cannot be read in full: {view.problem}", "bad")
    if run is not None and run.state != "running":
        return Text(run.state, _RUN_TONES.get(run.state, ""))
    if run is not None and not run.driver:
        return Text("nobody drives it: start a worker", "warn")
    kind = "run, " if run is not None else ""
    if live is None:
        return Text(f"{kind}begins")
    return Text(f"{kind}{counted(live.running, 'pod' if live.pods else 'lease')}", "" if live.running else "dim")
