"""Which way a map should go, and how many replicas it is worth.

The one idea: every way is simulated with the same inputs, and what is advised follows from the numbers that are shown.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from actorq.base.amounts import counted, exact_span
from actorq.errors import DeclarationError
from actorq.planning import simulation
from actorq.planning.work import Outcome, Place, Work

#: numbers of replicas that are looked at
_STEPS = (1, 2, 3, 5, 8, 10, 15, 20, 30, 50, 80, 100, 150, 200, 300, 500, 800, 1000, 1500, 2000, 3000, 5000, 10_000)
#: more replicas are worth it while each half more of them saves at least this share of the time
_WORTH = 0.1
#: of the pods' time, below which most of it is lost
_MOST = 0.5
#: ways that differ by less than this share are as good as each other
_SAME = 0.1


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
    found = replicas or (_in_time(work, place, rows, deadline) if deadline else _worth(rows))
    if found not in dict(rows):
        rows = sorted([*rows, (found, simulation.actors(work, place, found, affinity=True))], key=lambda row: row[0])
    cold = dict(rows)[found]
    ways = [
        _way("regular tasks, as many pods as inputs", None, simulation.regular(work, place), work),
        _way("regular tasks, as many at a time", found, simulation.regular(work, place, found), work),
        _way("actors that start with the map", found, cold, work),
        _way("actors that run already", found, simulation.actors(work, place, found, warm=True, affinity=True), work),
    ]
    without = simulation.actors(work, place, found) if work.keys > 1 and work.load else None
    if without is not None:
        ways.insert(3, _way("the same without affinity", found, without, work))
    made = Plan(work=work, place=place, replicas=found, ways=ways, by_replicas=rows, advice=())
    return replace(made, advice=list(_advice(made, cold, without)))


def _steps(work: Work, replicas: int | None) -> list[int]:
    steps = {count for count in _STEPS if count <= work.inputs} | ({replicas} if replicas else set())
    return sorted(steps | {min(work.inputs, _STEPS[-1])})


def _worth(rows: Sequence[tuple[int, Outcome]]) -> int:
    """The most replicas that are worth it: beyond them half as many more would save less than a tenth of the time."""
    best, outcome = rows[0]
    for count, next_ in rows[1:]:
        if next_.seconds <= outcome.seconds * (1 - _WORTH * (count / best - 1) / 0.5):
            best, outcome = count, next_
    return best


def _in_time(work: Work, place: Place, rows: Sequence[tuple[int, Outcome]], deadline: float) -> int:
    """As few as are done in time."""
    least = next((at for at, (_, outcome) in enumerate(rows) if outcome.seconds <= deadline), None)
    if least is None:
        count, outcome = min(rows, key=lambda row: row[1].seconds)
        raise DeclarationError(
            f"No number of replicas is done in {deadline:g} s: {counted(count, 'replica')} would take "
            f"{exact_span(outcome.seconds)}. Start them before, cut the inputs, or make what each loads smaller."
        )
    few, enough = (rows[least - 1][0] if least else 0), rows[least][0]
    while enough - few > max(enough // 50, 1):
        middle = (few + enough) // 2
        in_time = simulation.actors(work, place, middle, affinity=True).seconds <= deadline
        few, enough = (few, middle) if in_time else (middle, enough)
    return enough


def _way(name: str, at_once: int | None, outcome: Outcome, work: Work) -> Way:
    busy = work.inputs * work.seconds
    return Way(name=name, at_once=at_once, outcome=outcome, share=min(busy / max(outcome.pod_seconds, 1e-9), 1.0))


def _advice(made: Plan, cold: Outcome, without: Outcome | None) -> Iterator[str]:
    """In the order in which somebody would decide.

    Args:
        made: the plan.
        cold: of its actors that start with the map.
        without: the same without affinity; None where there is nothing to hold.
    """
    work, found, regular = made.work, made.replicas, made.ways[0].outcome
    yield _which(made, regular.seconds / max(cold.seconds, 1e-9), regular.pod_seconds / max(cold.pod_seconds, 1e-9))
    if regular.seconds < (1 - _SAME) * cold.seconds:
        each = made.place.start + work.load + work.seconds
        room = min(work.inputs, max(round(made.place.pods_per_second * each), 1))
        yield (
            f"Regular tasks without a bound are done sooner ({exact_span(regular.seconds)}), if the cluster has room "
            f"for {counted(room, 'pod')} at a time."
        )
    if without is not None:
        yield from _about_keys(work, found, cold, without)
    most = simulation.most_replicas(work, made.place)
    if most < 10_000 and found > most / 4:
        yield (
            f"One server keeps about {counted(most, 'replica')} busy with such inputs. For more, give lists of inputs "
            "to one call, or split the map over environments with servers of their own."
        )


def _which(made: Plan, sooner: float, less: float) -> str:
    """Actors, or not: regular tasks take `sooner` times as long, and `less` times the pod-hours."""
    work, place, found = made.work, made.place, made.replicas
    inputs, replicas = counted(work.inputs, "input"), counted(found, "replica")
    if work.inputs <= found:
        return (
            f"Do not use actors for their speed: for {inputs}, {replicas} are as many pods as regular tasks start, or "
            "more. They pay off when the next map finds them running."
        )
    once = f"{replicas} start{'s' if found == 1 else ''} once, where {counted(work.inputs, 'pod')} would"
    if less > 1 + _SAME:
        lost = ", most of it for starts and loads" if work.load else ", most of it for starts"
        lost = lost if made.ways[0].share < _MOST else ""
        return f"Use actors: {once}. Regular tasks take {_times(less)} their pod-hours{lost}."
    if sooner > 1 + _SAME:
        cost = "about as many" if less > 1 - _SAME else f"{_times(1 / less)} the"
        return (
            f"Use actors to be done sooner: {once}. Regular tasks take {_times(sooner)} as long; actors take {cost} "
            "pod-hours."
        )
    fresh = (place.start + work.load) / max(place.start + work.load + work.seconds, 1e-9)
    return (
        f"Do not use actors for their speed: a fresh pod is {fresh:.0%} of what an input takes. Regular tasks isolate "
        "strictly, and cost about the same."
    )


def _times(ratio: float) -> str:
    return f"{ratio:,.0f} times" if ratio >= 10 else f"{ratio:.1f} times"


def _about_keys(work: Work, replicas: int, cold: Outcome, without: Outcome) -> Iterator[str]:
    if without.loads > 2 * cold.loads:
        yield f"Declare affinity=: {cold.loads:,} loads instead of {without.loads:,}."
    if work.holds is not None and replicas * work.holds < work.keys:
        needed = -(-work.keys // work.holds)
        hold = f"{counted(replicas, 'replica')} hold{'s' if replicas == 1 else ''}"
        yield f"{hold} {replicas * work.holds:,} of {work.keys:,} things: {needed:,} would hold all."
