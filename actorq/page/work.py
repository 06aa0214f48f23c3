"""The table of maps and runs: what goes on, what waits for a driver, and what has ended and is kept.

The one idea: a person looks for a name, whatever kind of work it is; so live maps and runs are rows of one kind.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from actorq.base.amounts import counted
from actorq.monitor.model import EnvironmentView, MapView
from actorq.monitor.runs import RunView
from actorq.page.collector import Look
from actorq.page.history import MapCourse
from actorq.page.words import percent

#: states of work that goes on
RUNNING, WAITING = "running", "waiting"


@dataclass(frozen=True, kw_only=True)
class Work:
    """One map or run."""

    id: str
    #: "map" or "run"
    kind: str
    environment: str
    task: str
    #: "running", "waiting" for a driver, "ended", or as a run has ended: "done", "failed", "cancelled"
    state: str
    done: int
    failed: int
    total: int | None
    #: inputs a second, of now where it runs
    rate: float
    #: seconds that it needs, and that it takes so far
    eta: float | None
    seconds: float
    #: on what it runs, in words
    on: str = ""
    held: str = ""
    problem: str = ""

    @property
    def live(self) -> bool:
        return self.state in (RUNNING, WAITING)

    @property
    def can_retry(self) -> bool:
        return self.kind == "run" and self.failed > 0 and self.state in ("done", "failed")

    @property
    def share(self) -> float:
        """Of inputs that have an outcome, percent."""
        return percent(self.done, self.total)

    @property
    def failed_share(self) -> float:
        return percent(self.failed, self.total)


def all_work(look: Look) -> list[Work]:
    """What runs first, by name; then what waits; then what has ended, the last one first."""
    runs = {run.id: run for run in look.runs or ()}
    live = [_of_map(m, view, runs.get(m.id)) for view in look.environments for m in view.maps]
    shown = {work.id for work in live}
    waiting = [_of_run(run) for run in runs.values() if run.state == RUNNING and run.id not in shown]
    ended = [_of_run(run) for run in runs.values() if run.state != RUNNING and run.id not in shown]
    return [*sorted(live, key=lambda work: work.id), *waiting, *ended]


def find(look: Look, name: str, gone: MapCourse | None) -> Work | None:
    """The one of that name; `gone` is what is remembered of a map that is not on the server any more."""
    for work in all_work(look):
        if work.id == name:
            return work
    return None if gone is None else _gone(gone)


def matching(rows: Sequence[Work], text: str) -> list[Work]:
    """Those in whose name, task, environment, kind or state `text` stands."""
    wanted = text.casefold().split()
    return [row for row in rows if all(word in _text(row) for word in wanted)]


def _text(row: Work) -> str:
    return f"{row.id} {row.task} {row.environment} {row.kind} {row.state}".casefold()


def _of_map(view: MapView, environment: EnvironmentView, run: RunView | None) -> Work:
    known = run is not None or view.id in environment.runs
    return Work(
        id=view.id,
        kind="run" if known else "map",
        environment=environment.name,
        task=view.task,
        state=run.state if run is not None and run.state != RUNNING else RUNNING,
        done=view.done,
        failed=view.failed,
        total=view.total if view.total is not None or run is None else run.total,
        rate=view.rate,
        eta=view.eta,
        seconds=view.seconds,
        on=counted(view.running, "pod" if view.pods else "lease"),
        held=view.held,
        problem=view.problem,
    )


def _of_run(run: RunView) -> Work:
    runs = run.state == RUNNING
    return Work(
        id=run.id,
        kind="run",
        environment=run.environment,
        task=run.task,
        state=run.state if not runs or run.driver else WAITING,
        done=run.done,
        failed=run.failed,
        total=run.total,
        rate=run.rate,
        eta=None,
        seconds=run.age_seconds,
        on=run.driver,
        problem=run.problem,
    )


def _gone(course: MapCourse) -> Work:
    view = course.view
    return Work(
        id=view.id,
        kind="run" if course.run else "map",
        environment=course.environment,
        task=view.task,
        state="ended",
        done=view.done,
        failed=view.failed,
        total=view.total,
        rate=0.0,
        eta=None,
        seconds=view.seconds,
    )
