"""Pictures as numbers: where the lines and the stretches of an SVG lie. The templates draw them.

The one idea: a picture has no width of its own, it is as wide as its place. So all text stands beside it, and is read
by those who see no picture.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from actorq.page.history import TIMELINE_SECONDS
from actorq.page.series import Stretch

#: the height of a picture in its own units, and the room above the highest point
_HEIGHT, _HEADROOM = 100.0, 6.0
#: what the upper end of a picture stands for at least, and the largest number that is drawn
_LEAST_TOP, _MOST = 0.01, 1e15
#: points of a picture that are shown however few are known
_LEAST_POINTS = 30
#: a stretch of one look is as wide as this at least, seconds: else nobody would see it
_LEAST_STRETCH = 1.0
#: y and height by kind: who sees no colours sees these
_SHAPES = {"busy": (0.0, 10.0), "idle": (7.5, 2.5), "away": (4.0, 2.0)}


@dataclass(frozen=True)
class Chart:
    """One number over time."""

    #: in units of points
    width: int
    #: of the line, and of the area below it: the same with its ends on the ground
    lines: Sequence[str]
    areas: Sequence[str]
    #: the newest value and the highest, NaN where there is none
    now: float
    most: float
    #: what the upper end of the picture stands for
    top: float
    #: how long ago the left end is, seconds
    seconds: float

    @property
    def empty(self) -> bool:
        return not self.lines


def chart(points: Sequence[float], step: float) -> Chart:
    """A picture of means, the newest last.

    Args:
        points: NaN is a gap. Of a long one in front some is left out: who has just begun to look sees more than a dot.
        step: seconds from one to the next.
    """
    begin = next((at for at, value in enumerate(points) if not math.isnan(value)), len(points))
    points = points[max(min(begin, len(points) - _LEAST_POINTS), 0) :]
    # anybody may have written a rate into a record: what cannot be drawn is drawn at the border
    points = [value if math.isnan(value) else min(max(value, 0.0), _MOST) for value in points]
    known = [value for value in points if not math.isnan(value)]
    most = max(known, default=math.nan)
    top = _rounded(most if known else 0.0)
    scale = (_HEIGHT - _HEADROOM) / top
    lines, areas = [], []
    for first, run in _runs(points):
        xs = range(first, first + len(run)) if len(run) > 1 else range(first - 1, first + 1)
        path = [f"{x} {_HEIGHT - y * scale:.1f}" for x, y in zip(xs, run if len(run) > 1 else run * 2, strict=True)]
        lines.append("M" + "L".join(path))
        areas.append(f"M{xs[0]} {_HEIGHT}L" + "L".join(path) + f"L{xs[-1]} {_HEIGHT}Z")
    return Chart(max(len(points) - 1, 1), lines, areas, known[-1] if known else math.nan, most, top, len(points) * step)


def _runs(points: Sequence[float]) -> Iterable[tuple[int, list[float]]]:
    """Stretches without a gap, each with the place of its first point."""
    run: list[float] = []
    for at, value in enumerate([*points, math.nan]):
        if not math.isnan(value):
            run.append(value)
        elif run:
            yield at - len(run), run
            run = []


def _rounded(most: float) -> float:
    """The next of 1, 2, 5, 10, 20, 50 … from `most` up."""
    if most <= 0:
        return 1.0
    most = max(most, _LEAST_TOP)
    size = 10 ** math.floor(math.log10(most))
    return next(float(size * step) for step in (1, 2, 5, 10) if size * step >= most or step == 10)


@dataclass(frozen=True)
class Block:
    """A stretch of a timeline, in seconds from its left end."""

    x: float
    width: float
    #: from the top, of a timeline that is 10 high: work is a block, idling a low line, and an absence a thin one
    y: float
    height: float
    kind: str
    map: str
    #: a CSS class
    colour: str


def timeline(stretches: Iterable[Stretch], now: float, colour: Callable[[str], str], mine: str = "") -> list[Block]:
    """A timeline that ends now.

    Args:
        stretches: from the oldest on.
        now: the right end, of the clock of the stretches.
        colour: of a map, its class.
        mine: the map that the page is about: others are told apart from it, and not from each other.
    """
    begin = now - TIMELINE_SECONDS
    blocks = []
    for each in stretches:
        x = max(each.begin - begin, 0.0)
        width = min(max(each.end - each.begin, _LEAST_STRETCH), TIMELINE_SECONDS - x)
        place = round(x, 1), round(max(width, 0.0), 1), *_SHAPES[each.kind]
        blocks.append(Block(*place, each.kind, each.map, _class(each, colour, mine)))
    return blocks


def _class(stretch: Stretch, colour: Callable[[str], str], mine: str) -> str:
    if stretch.kind != "busy":
        return stretch.kind
    if mine and stretch.map != mine:
        return "other"
    return colour(stretch.map)


def shares(blocks: Sequence[Block], mine: str) -> dict[str, float]:
    """How much of what was seen a replica worked for `mine`, for others, idled, and was away: percent, in words."""
    seen = sum(block.width for block in blocks)
    found = dict.fromkeys(("mine", "other", "idle", "away"), 0.0)
    for block in blocks:
        found[block.kind if block.kind != "busy" else "mine" if block.map == mine else "other"] += block.width
    return {kind: 100 * width / seen if seen else 0.0 for kind, width in found.items()}
