"""A plan as a picture: time against replicas, both in powers of ten, for light and dark pages."""

from __future__ import annotations

import math
from html import escape

from actorq.base.amounts import counted, exact_span
from actorq.planning.plan import Plan

#: of the picture, and of its margins, pixels
_WIDTH, _HEIGHT, _LEFT, _RIGHT, _TOP, _BOTTOM = 720, 400, 80, 24, 48, 72
_LEGEND = "solid: actors that start with the map; dashed: regular tasks, a pod for each input"
_STYLE = """
  .ink { fill: #1f2328 } .soft { fill: #59636e } .grid { stroke: #d1d9e0 }
  .actors { stroke: #0969da; fill: none } .regular { stroke: #bc4c00; fill: none } .dot { fill: #0969da }
  @media (prefers-color-scheme: dark) {
    .ink { fill: #f0f6fc } .soft { fill: #9198a1 } .grid { stroke: #3d444d }
    .actors { stroke: #4493f8 } .regular { stroke: #db6d28 } .dot { fill: #4493f8 }
  }
"""


class _Axes:
    """Where numbers of replicas, and times, lie in the picture."""

    def __init__(self, most: int, times: list[float]) -> None:
        self.most = max(most, 2)
        self.low = 10 ** math.floor(math.log10(max(min(times), 1e-3)))
        self.high = 10 ** math.ceil(math.log10(max(*times, 10 * self.low)))

    def x(self, count: float) -> float:
        return _LEFT + (_WIDTH - _LEFT - _RIGHT) * math.log(count) / math.log(self.most)

    def y(self, seconds: float) -> float:
        share = math.log(max(seconds, self.low) / self.low) / math.log(self.high / self.low)
        return _HEIGHT - _BOTTOM - (_HEIGHT - _TOP - _BOTTOM) * share

    def marks(self) -> list[str]:
        """Lines and words at the powers of ten."""
        parts = []
        for power in range(round(math.log10(self.low)), round(math.log10(self.high)) + 1):
            at = self.y(10.0**power)
            parts.append(f'<line class="grid" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{at:.1f}" y2="{at:.1f}"/>')
            parts.append(_text(_LEFT - 8, at + 4, f"{10**power:,} s", kind="soft", anchor="end"))
        under = _HEIGHT - _BOTTOM + 20
        counts = [10**power for power in range(int(math.log10(self.most)) + 1)]
        return parts + [_text(self.x(count), under, f"{count:,}", kind="soft", anchor="middle") for count in counts]

    def line(self, kind: str, points: list[tuple[int, float]], dash: str = "none") -> str:
        path = " ".join(f"{self.x(count):.1f},{self.y(seconds):.1f}" for count, seconds in points)
        return f'<polyline class="{kind}" stroke-width="2" stroke-dasharray="{dash}" points="{path}"/>'


def drawn(plan: Plan) -> str:
    """The picture as SVG."""
    actors = [(count, outcome.seconds) for count, outcome in plan.by_replicas]
    regular, found = plan.ways[0].outcome.seconds, dict(actors)[plan.replicas]
    axes = _Axes(actors[-1][0], [regular, *(seconds for _, seconds in actors)])
    title = f"{counted(plan.work.inputs, 'input')} of {plan.work.seconds:g} s"
    best = f"{counted(plan.replicas, 'replica')}: {exact_span(found)}"
    told = escape(f"{title}. {best}. Regular tasks: {exact_span(regular)}")
    size = f'viewBox="0 0 {_WIDTH} {_HEIGHT}" font-family="system-ui, sans-serif" font-size="13"'
    x, y = axes.x(plan.replicas), axes.y(found)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" role="img" aria-label="{told}" {size}>',
        f"<style>{_STYLE}</style>",
        _text(_LEFT, 24, title),
        *axes.marks(),
        _text(_WIDTH / 2, _HEIGHT - 28, "replicas", kind="soft", anchor="middle"),
        axes.line("regular", [(1, regular), (axes.most, regular)], dash="6 5"),
        axes.line("actors", actors),
        f'<circle class="dot" cx="{x:.1f}" cy="{y:.1f}" r="5"/>',
        _label(x, y, best, free_below=regular > found),
        _text(_LEFT, _HEIGHT - 8, _LEGEND),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def _label(x: float, y: float, text: str, *, free_below: bool) -> str:
    """Of a point of a curve that falls: to its left below it, or to its right above it, if it has room there."""
    if (free_below and x > _WIDTH / 3) or x > 2 * _WIDTH / 3:
        return _text(x - 10, y + 20, text, anchor="end")
    return _text(x + 10, y - 10, text)


def _text(x: float, y: float, text: str, *, kind: str = "ink", anchor: str = "start") -> str:
    return f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'
