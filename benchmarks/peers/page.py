"""The page and the picture that `make bench-peers` writes."""

from __future__ import annotations

import datetime as dt
import math
import os
import platform
import textwrap
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import NamedTuple, Protocol


class Measured(Protocol):
    """All rounds of one system: see `__main__`."""

    name: str
    setting: str
    versions: dict[str, str]
    rows: dict[str, list[float | str]]

    def median(self, row: str) -> float | None: ...
    def error(self, row: str) -> str: ...


class Row(NamedTuple):
    """One thing that is measured."""

    title: str
    unit: str
    #: less is better
    less: bool = False
    #: measured with `--all`
    more: bool = False


ROWS = {
    "noops": Row("no-op inputs, 2 workers", "inputs/s"),
    "calls": Row("one call after the other", "µs", less=True),
    "small_maps": Row("maps of 10 no-ops", "maps/s"),
    "threads": Row("calls from 16 threads", "calls/s"),
    "many_threads": Row("calls from 64 threads", "calls/s", more=True),
    "arrays": Row("arrays of 8 MB in", "MB/s"),
    "arrays_out": Row("arrays of 8 MB out", "MB/s", more=True),
    "both_ways": Row("200 x 1 MiB in and out", "MB/s", more=True),
    "naps": Row("400 x 50 ms, 20 workers", "of the ideal"),
    "short_naps": Row("2,000 x 1 ms, 20 workers", "of the ideal", more=True),
    "start": Row("program start to first result", "s", less=True),
    "all_seen": Row("100 workers until all answer", "s", less=True, more=True),
}


def rows(*, everything: bool) -> list[str]:
    """Names of the rows that a run measures."""
    return [name for name, row in ROWS.items() if everything or not row.more]


_HEAD = """\
# Beside others

Made by `make bench-peers{asked}`, which installs each system in an environment of its own, and runs all of them in
turn, {rounds} rounds. A number is the median. Behind it stands how many times as good actorq is with the isolation that
the others have (`isolation="none"`): above 1 actorq is ahead. Its default, `isolation="reset"`, puts the process back
after each input, which none of the others does: [what one input sees of the one before](isolation.md).

{run}
"""
#: of a line of a page
_COLUMNS = 120
_TAIL = """
![The same in bars: how many times as good actorq is as each system, row by row.](images/peers.svg)

## How each was set up

{settings}

The inputs of a row are the same for all. Tiny inputs travel together where a system has a way for that; naps do not.
A row that failed, or took longer than 40 seconds, says so. Values and call styles are the simplest there are: measure
your own work before you choose by a number.
"""


def made(measured: Sequence[Measured], rounds: int) -> tuple[str, str]:
    """The page, and its picture."""
    versions: dict[str, str] = {}
    for each in measured:
        versions |= each.versions
    told = ", ".join(f"{name} {version}" for name, version in versions.items())
    day = dt.datetime.now(tz=dt.UTC).strftime("%d %B %Y").lstrip("0")
    machine = f"{os.cpu_count()} cores ({_processor()}), {platform.system()}"
    settings = "\n".join(f"- **{each.name}**: {each.setting or 'did not run'}." for each in measured)
    run = textwrap.fill(f"{day}, {machine}: {told}.", _COLUMNS)
    asked = " ALL=1" if any(row.more for row in _shown(measured).values()) else ""
    head = _HEAD.format(rounds=rounds, run=run, asked=asked)
    return f"{head}\n{_table(measured)}\n{_TAIL.format(settings=settings)}", _picture(measured)


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:  # not Linux
        return platform.machine()
    return next((line.partition(": ")[2] for line in lines if line.startswith("model name")), platform.machine())


def _shown(measured: Sequence[Measured]) -> dict[str, Row]:
    """The rows that were measured."""
    return {name: row for name, row in ROWS.items() if any(name in each.rows for each in measured)}


def _table(measured: Sequence[Measured]) -> str:
    lines = [["", *(each.name for each in measured)], ["---"] * (len(measured) + 1)]
    for name, row in _shown(measured).items():
        lines.append([f"{row.title}, {row.unit}", *(_cell(measured, each, name) for each in measured)])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _cell(measured: Sequence[Measured], each: Measured, row: str) -> str:
    value = each.median(row)
    if value is None:
        return (each.error(row) or "not run").replace("|", "/")
    ratio = _ratio(measured, each, row)
    return _number(value) if ratio is None else f"{_number(value)} ({_number(ratio)} x)"


def _ratio(measured: Sequence[Measured], each: Measured, row: str) -> float | None:
    """How many times as good ours is."""
    ours = next((other.median(row) for other in measured if other.name == "actorq, none"), None)
    value = each.median(row)
    if ours is None or value is None or each.name.startswith("actorq"):
        return None
    return value / ours if ROWS[row].less else ours / value


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


_WIDTH, _LEFT, _BAR, _GAP = 720, 190, 13, 30
_STYLE = """
  .ink { fill: #1f2328 } .soft { fill: #59636e } .ahead { fill: #0969da } .behind { fill: #bc4c00 }
  .axis { stroke: #59636e }
  @media (prefers-color-scheme: dark) {
    .ink { fill: #f0f6fc } .soft { fill: #9198a1 } .ahead { fill: #4493f8 } .behind { fill: #db6d28 }
    .axis { stroke: #9198a1 }
  }
"""


def _picture(measured: Sequence[Measured]) -> str:
    """Bars in powers of ten, one for each system and row; to the right of the line actorq is ahead."""
    peers = [each for each in measured if not each.name.startswith("actorq")]
    shown = _shown(measured)
    ratios = {(row, each.name): _ratio(measured, each, row) for row in shown for each in peers}
    known = [abs(math.log10(ratio)) for ratio in ratios.values() if ratio]
    scale = (_WIDTH - _LEFT - 150) / 2 / max([*known, 1.0])
    middle, y, parts = _LEFT + 40 + scale * max([*known, 1.0]) * 0.35, 40, list[str]()
    for name, row in shown.items():
        parts.append(f'<text class="ink" x="16" y="{y}" font-weight="600">{escape(row.title)}</text>')
        y += 8
        for each in peers:
            ratio, y = ratios[name, each.name], y + _BAR + 3
            parts.append(f'<text class="soft" x="{_LEFT - 8}" y="{y}" text-anchor="end">{escape(each.name)}</text>')
            parts += _bar(ratio, middle, y, scale) if ratio else [
                f'<text class="soft" x="{middle + 6:.1f}" y="{y}">failed, or not run</text>'
            ]  # fmt: skip
        y += _GAP
    size = f'viewBox="0 0 {_WIDTH} {y}" font-family="system-ui, sans-serif" font-size="12"'
    label = "How many times as good actorq is as each system"
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" role="img" aria-label="{label}" {size}>\n<style>{_STYLE}</style>\n'
        f'<text class="soft" x="16" y="18">{label}; right of the line it is ahead</text>\n'
        + "\n".join(parts)
        + f'\n<line class="axis" x1="{middle:.1f}" x2="{middle:.1f}" y1="28" y2="{y - _GAP}"/>\n</svg>\n'
    )


def _bar(ratio: float, middle: float, y: int, scale: float) -> list[str]:
    length = abs(math.log10(ratio)) * scale
    left, kind = (middle, "ahead") if ratio >= 1 else (middle - length, "behind")
    bar = f'<rect class="{kind}" x="{left:.1f}" y="{y - _BAR + 2}" width="{max(length, 1):.1f}" height="{_BAR}"/>'
    at, anchor = (middle + length + 5, "start") if ratio >= 1 else (middle + 5, "start")
    return [bar, f'<text class="ink" x="{at:.1f}" y="{y}" text-anchor="{anchor}">{_number(ratio)} x</text>']
