"""The last hour of one server, made of looks: totals, environments, maps, and the timelines of replicas.

The one idea: everything here has a limit, of time and of number. A server with more maps than that loses the pictures
of those that were seen least lately, and nothing else.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TypeVar

from actorq.monitor.model import EnvironmentView, MapView, ReplicaView
from actorq.page.series import Series, Stretch, Timeline

K = TypeVar("K")
T = TypeVar("T")

#: an hour as 360 points of the picture, and 20 minutes of a map as 240: seconds of a point, and points
HOUR, MAP = (10.0, 360), (5.0, 240)
#: colours that maps are told apart by: the next map gets the next one, so few that run together have the same
_COLOURS = 8
#: how far back timelines reach, seconds
TIMELINE_SECONDS = 300.0
#: environments, maps and replicas that have a history
_ENVIRONMENTS, _MAPS, _REPLICAS = 200, 2000, 2000
#: states in which a replica takes no work
_AWAY = frozenset({"stale", "failing", "quarantined", "starting"})


def _hour() -> Series:
    return Series(*HOUR)


@dataclass
class Course:
    """How the work of all, or of one environment, went."""

    rate: Series = field(default_factory=_hour)
    queued: Series = field(default_factory=_hour)


@dataclass
class MapCourse:
    """How one map went, and how it was seen last."""

    view: MapView
    environment: str
    #: when it was seen last, and whether it was a run
    seen: float
    run: bool = False
    colour: int = 0
    rate: Series = field(default_factory=lambda: Series(*MAP))


class History:
    """Filled by the thread that looks, read by those that draw."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._total = Course()
        self._environments: OrderedDict[str, Course] = OrderedDict()
        self._maps: OrderedDict[str, MapCourse] = OrderedDict()
        self._timelines: OrderedDict[tuple[str, str], Timeline] = OrderedDict()
        self._met = 0

    def add(self, now: float, views: Sequence[EnvironmentView]) -> None:
        """One look, at `now` of a clock that never goes back."""
        with self._lock:
            rate, queued = 0.0, 0
            for view in views:
                its_rate = sum(m.rate for m in view.maps)
                course = _touched(self._environments, view.name, Course, _ENVIRONMENTS)
                course.rate.add(now, its_rate)
                course.queued.add(now, view.queued_inputs)
                rate, queued = rate + its_rate, queued + view.queued_inputs
                self._add_maps(now, view)
                self._add_replicas(now, view)
            self._total.rate.add(now, rate)
            self._total.queued.add(now, queued)

    def _add_maps(self, now: float, view: EnvironmentView) -> None:
        for each in view.maps:
            course = _touched(self._maps, each.id, partial(self._met_map, each, view.name, now), _MAPS)
            course.view, course.environment, course.seen = each, view.name, now
            course.run = each.id in view.runs
            course.rate.add(now, each.rate)

    def _met_map(self, view: MapView, environment: str, now: float) -> MapCourse:
        self._met += 1
        return MapCourse(view, environment, now, colour=self._met % _COLOURS)

    def _add_replicas(self, now: float, view: EnvironmentView) -> None:
        for replica in view.replicas:
            timeline = _touched(
                self._timelines, (view.name, replica.name), lambda: Timeline(TIMELINE_SECONDS), _REPLICAS
            )
            timeline.add(now, kind_of(replica), replica.map)

    def total(self, now: float) -> tuple[list[float], list[float]]:
        """Inputs a second, and inputs that waited, of all environments."""
        with self._lock:
            return self._total.rate.points(now), self._total.queued.points(now)

    def rates(self, environment: str, now: float) -> list[float]:
        """Inputs a second of one environment."""
        with self._lock:
            course = self._environments.get(environment)
            return [] if course is None else course.rate.points(now)

    def rate_of_map(self, map_id: str, now: float) -> list[float]:
        with self._lock:
            course = self._maps.get(map_id)
            return [] if course is None else course.rate.points(now)

    def last_of_map(self, map_id: str) -> MapCourse | None:
        """A map as it was seen last, also when it has ended since."""
        with self._lock:
            return self._maps.get(map_id)

    def colour(self, map_id: str) -> str:
        """The class of the colour of a map, the same on every page; grey is what was never seen to run."""
        with self._lock:
            course = self._maps.get(map_id)
        return "other" if course is None else f"c{course.colour}"

    def timelines(self, environment: str, now: float) -> dict[str, list[Stretch]]:
        """Replica -> what it was seen doing, of those that were seen within the time of a timeline."""
        with self._lock:
            found = {}
            for (env, name), timeline in self._timelines.items():
                if env == environment and now - timeline.seen < TIMELINE_SECONDS:
                    found[name] = list(timeline.stretches(now))
            return found


def kind_of(replica: ReplicaView) -> str:
    """What a timeline shows of it."""
    return "away" if replica.state in _AWAY else "busy" if replica.state == "busy" else "idle"


def _touched(kept: OrderedDict[K, T], key: K, make: Callable[[], T], most: int) -> T:
    """What is kept under `key`, the newest now. The one that was longest without news goes for a new one."""
    if key not in kept:
        kept[key] = make()
        if len(kept) > most:
            kept.popitem(last=False)
    kept.move_to_end(key)
    return kept[key]
