"""Which way a map should go, and how many replicas it is worth.

The one idea: every way is simulated with the same inputs, and what is advised follows from the numbers that are shown.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from actorq.base.amounts import exact_span
from actorq.errors import DeclarationError
from actorq.planning import simulation
from actorq.planning.work import Outcome, Place, Work

#: numbers of replicas that are looked at
_STEPS = (1, 2, 3, 5, 8, 10, 15, 20, 30, 50, 80, 100, 150, 200, 300, 500, 800, 1000, 1500, 2000, 3000, 5000, 10_000)
#: more replicas are worth it while each half more of them saves at least this share of the time
_WORTH = 0.1
#: ways that differ by less than this share are as good as each other
_SAME = 0.1
#: of a pod's life, below which a fresh one for each input is no matter
_LITTLE = 0.1


@dataclass(frozen=True, kw_only=True)
class Way:
    """One way to run a map, and what it takes."""

    name: str
    #: pods or replicas at a time; None: no bound
    at_once: int | None
    outcome: Outcome
    #: of the pods' time, the share in which inputs run
    share: float


@dataclass(frozen=True, kw_only=True)
class Plan:
    """All ways."""

    work: Work
    place: Place
    #: that are advised, or were asked for
    replicas: int
    ways: Sequence[Way]
    #: the time of actors that start with the map, by how many there are
    by_replicas: Sequence[tuple[int, Outcome]]
    advice: Sequence[str]


def plan(work: Work, place: Place, *, replicas: int | None = None, deadline: float | None = None) -> Plan:
    """Compares the ways to run `work`.

    Args:
        work: what is to be done.
        place: where.
        replicas: how many there are to be; None: as many as are worth it, or as `deadline` needs.
        deadline: seconds.

    Raises `DeclarationError` where no number of replicas meets the deadline.
    """
    rows = [(count, simulation.actors(work, place, count, affinity=True)) for count in _steps(work, replicas)]
    found = replicas or (_in_time(rows, deadline) if deadline else _worth(rows))
    ways = [
        _way("regular tasks, as many pods as inputs", None, simulation.regular(work, place), work),
        _way("regular tasks, as many at a time", found, simulation.regular(work, place, found), work),
        _way("actors that start with the map", found, simulation.actors(work, place, found, affinity=True), work),
        _way("actors that run already", found, simulation.actors(work, place, found, warm=True, affinity=True), work),
    ]
    if work.keys > 1 and work.load:
        ways.insert(2, _way("the same without affinity", found, simulation.actors(work, place, found), work))
        ways[2], ways[3] = ways[3], ways[2]
    made = Plan(work=work, place=place, replicas=found, ways=ways, by_replicas=rows, advice=())
    return Plan(**{**vars(made), "advice": list(_advice(made))})


def _steps(work: Work, replicas: int | None) -> list[int]:
    steps = {count for count in _STEPS if count <= work.inputs} | ({replicas} if replicas else set())
    return sorted(steps or {1})


def _worth(rows: Sequence[tuple[int, Outcome]]) -> int:
    """The most replicas that are worth it: each further half saves less than a tenth of the time."""
    best, outcome = rows[0]
    for count, next_ in rows[1:]:
        if next_.seconds <= outcome.seconds * (1 - _WORTH * (count / best - 1) / 0.5):
            best, outcome = count, next_
    return best


def _in_time(rows: Sequence[tuple[int, Outcome]], deadline: float) -> int:
    for count, outcome in rows:
        if outcome.seconds <= deadline:
            return count
    count, outcome = min(rows, key=lambda row: row[1].seconds)
    raise DeclarationError(
        f"No number of replicas is done in {exact_span(deadline)}: {count:,} take {exact_span(outcome.seconds)}. Start "
        "them before, cut the inputs, or make what each loads smaller."
    )


def _way(name: str, at_once: int | None, outcome: Outcome, work: Work) -> Way:
    busy = work.inputs * work.seconds
    return Way(name=name, at_once=at_once, outcome=outcome, share=min(busy / max(outcome.pod_seconds, 1e-9), 1.0))


def _advice(made: Plan) -> Iterator[str]:
    """In the order in which somebody would decide."""
    work, place, found = made.work, made.place, made.replicas
    regular, cold = made.ways[0].outcome, next(w for w in made.ways if w.name.startswith("actors that start")).outcome
    overhead = (place.start + work.load) / max(place.start + work.load + work.seconds, 1e-9)
    if overhead < _LITTLE:
        yield (
            f"Do not use actors for their speed: a fresh pod is {overhead:.0%} of what an input takes. Regular tasks "
            "isolate strictly, and cost about the same."
        )
    elif work.inputs <= found:
        yield (
            f"Do not use actors for their speed: {work.inputs:,} inputs on {found:,} replicas start as many pods as "
            "regular tasks do. They pay off when the next map finds them running."
        )
    else:
        less = regular.pod_seconds / cold.pod_seconds
        lost = "starts and loads" if work.load else "starts"
        yield (
            f"Use actors: {found:,} replicas start once, where {work.inputs:,} pods would. Regular tasks take "
            f"{less:,.3g} times their pod-hours, most of it for {lost}."
        )
    if regular.seconds < (1 - _SAME) * cold.seconds:
        yield (
            f"Regular tasks without a bound are done sooner ({exact_span(regular.seconds)}), if the cluster has room "
            f"for {min(work.inputs, round(place.pods_per_second * (place.start + work.load + work.seconds))):,} pods "
            "at a time."
        )
    yield from _about_keys(work, place, found)
    most = simulation.most_replicas(work, place)
    if most < 10_000:
        yield (
            f"One server keeps up to about {most:,} replicas busy with such inputs. For more, give lists of inputs to "
            "one call, or split the map over environments with servers of their own."
        )


def _about_keys(work: Work, place: Place, replicas: int) -> Iterator[str]:
    if work.keys <= 1 or not work.load:
        return
    without = simulation.actors(work, place, replicas)
    with_ = simulation.actors(work, place, replicas, affinity=True)
    if without.loads > 2 * with_.loads:
        yield f"Declare affinity=: {with_.loads:,} loads instead of {without.loads:,}."
    if work.holds is not None and replicas * work.holds < work.keys:
        needed = -(-work.keys // work.holds)
        yield (
            f"{replicas:,} replicas hold {replicas * work.holds:,} of {work.keys:,} things: {needed:,} would hold all."
        )
