"""The runs that a server knows: those that go on, and those that ended and are kept.

The one idea: as in `view.py`, nothing here writes, a record that cannot be read says so beside the others, and the
round trips are few, however many runs there are.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

from actorq.broker import keys, run_records
from actorq.broker.link import Link
from actorq.errors import ActorqError
from actorq.monitor.records import Asking, Fields, Problems, fields_of, queues_of, raw, shown_name, text
from actorq.runs.plan import Plan

#: what is read of the record of a run, and of what its driver last said
_OF_RUN = ("env", "plan", "state", "count", "total", "created", "done", "failed")
_OF_PROGRESS = ("done", "failed", "rate", "driver")


@dataclass(frozen=True, kw_only=True)
class RunView:
    """One run."""

    id: str
    environment: str
    #: "" where its plan cannot be read
    task: str
    #: "running", "done", "failed" or "cancelled"
    state: str
    #: inputs that have a result, or have failed
    done: int
    failed: int
    #: inputs that are stored, and all of them; None while they are being stored
    stored: int
    total: int | None
    #: inputs a second over the last ten seconds of its driver; 0 for one that has ended
    rate: float
    #: since it was started
    age_seconds: float
    #: host and process of who drives it, "" for nobody
    driver: str
    #: what the server holds of it, without large values; 0 where nobody has asked
    bytes: int
    problem: str = ""


def runs(
    link: Link,
    environment: str | None = None,
    *,
    ended: int | None = None,
    sizes: bool = True,
    problems: Problems | None = None,
) -> list[RunView]:
    """All runs, or those of one environment: the open ones first, then the ended ones. Raises `BrokerError`.

    Args:
        link: a connection.
        environment: its name; None: all.
        ended: how many of those that have ended, of each environment, the last ones; None: all.
        sizes: whether to ask what the server holds of each, which it has to count.
        problems: told of lists that cannot be read.
    """
    now = time.time()
    lists = Asking(link, problems or Problems())
    found = _named(lists, [environment] if environment else queues_of(lists), ended)
    ids = [run_id for _, run_id in found]
    told = fields_of(link, [keys.run(run_id) for run_id in ids], _OF_RUN)
    progress = fields_of(link, [keys.map_(run_id) for run_id in ids], _OF_PROGRESS)
    asking = Asking(link, Problems())
    led = asking.ask_each([["EXISTS", keys.lead(run_id)] for run_id in ids])
    held = _sizes(asking, ids) if sizes else [0] * len(ids)
    each = zip(found, told, progress, led, held, strict=True)
    views = [_view(*names, fields, said, bool(lead), size, now) for names, fields, said, lead, size in each]
    return [view for view in views if view is not None]


def _named(asking: Asking, names: Sequence[str], ended: int | None) -> list[tuple[str, str]]:
    """Environment and run, each once: the open ones first."""
    last = "-1" if ended is None else str(ended - 1)
    open_ = asking.ask_each([["ZRANGE", keys.runs(name), "0", "-1"] for name in names])
    over = asking.ask_each([["ZREVRANGE", keys.ended(name), "0", last] for name in names]) if ended != 0 else []
    lists = [*zip(names, open_, strict=True), *zip(names, over, strict=False)]
    return list(dict.fromkeys((name, raw(run_id)) for name, ids in lists for run_id in ids or ()))


def _sizes(asking: Asking, ids: Sequence[str]) -> list[int]:
    """Bytes that the server holds of each run, but for its large results."""
    kept = [run_records.kept_of_run(run_id) for run_id in ids]
    told = iter(asking.ask_each([["MEMORY", "USAGE", key] for names in kept for key in names]))
    return [sum(int(next(told) or 0) for _ in names) for names in kept]


def _view(environment: str, run_id: str, run: Fields, said: Fields, led: bool, size: int, now: float) -> RunView | None:
    if any(name not in run for name in ("env", "plan", "state")) and not str(run.problems):
        return None
    task = ""
    try:
        task = Plan.of(environment, run_id, run.data("plan")).options.head.task
    except ActorqError as error:
        run.problems.add(text(str(error).encode(errors="replace")))
    progress = said if "done" in said else run
    created = run.seconds("created") or 0.0
    return RunView(
        id=shown_name(run_id),
        environment=shown_name(environment),
        task=text(task.encode(errors="replace")),
        state=run.text("state"),
        done=progress.whole("done") or 0,
        failed=progress.whole("failed") or 0,
        stored=run.whole("count") or 0,
        total=run.whole("total"),
        rate=(said.seconds("rate") or 0.0) if led else 0.0,
        age_seconds=max(now - created, 0.0),
        driver=said.text("driver") if led else "",
        bytes=size,
        problem=_joined(run, said),
    )


def _joined(*each: Fields) -> str:
    return "; ".join(filter(None, (str(fields.problems) for fields in each)))
