"""What fits into a terminal: which columns of a table, how wide each is, and how many lines each table has.

The one idea: a column has a rank. In a narrow terminal those of the highest rank go first; what is left over goes to
the one that fills. Lines are shared so that a short table is whole, and the long ones have equal parts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

#: between two columns
GAP = 2


@dataclass(frozen=True, kw_only=True)
class Column:
    """One of a table."""

    title: str
    #: columns of the terminal that it needs to be worth anything, and that it has at most
    least: int
    most: int
    #: 0 stays in any terminal
    rank: int = 0
    #: numbers: they are never cut
    right: bool = False
    #: it takes what the others leave
    fills: bool = False


def fit(columns: Sequence[Column], wanted: Sequence[int], width: int) -> list[tuple[int, int]]:
    """Index and width of each column that is shown.

    Args:
        columns: all of the table.
        wanted: how wide the widest cell of each is; 0 for what takes any.
        width: of the terminal.
    """
    limits = [_limits(column, wish) for column, wish in zip(columns, wanted, strict=True)]
    kept = list(range(len(columns)))
    while _sum([limits[i][0] for i in kept]) > width:
        last = max(kept, key=lambda i: (columns[i].rank, i))
        if columns[last].rank == 0:
            break
        kept.remove(last)
    widths = {i: limits[i][0] for i in kept}
    left = width - _sum(list(widths.values()))
    for i in sorted(kept, key=lambda i: (columns[i].fills, columns[i].rank, i)):
        more = min(max(left, 0), limits[i][1] - widths[i])
        widths[i] += more
        left -= more
    fills = [i for i in kept if columns[i].fills]
    if fills:
        widths[fills[0]] += max(left, 0)
    return [(i, widths[i]) for i in kept]


def _limits(column: Column, wanted: int) -> tuple[int, int]:
    """The least and the most that it takes, with what it has to show."""
    if not wanted:  # of any width: as narrow as it may be where there is no room
        return max(column.least, len(column.title)), max(column.most, len(column.title))
    wish = max(wanted, len(column.title))
    if column.right:  # half a number is another number
        return wish, wish
    return min(max(column.least, len(column.title)), wish), min(wish, max(column.most, len(column.title)))


def _sum(widths: Sequence[int]) -> int:
    return sum(widths) + GAP * max(len(widths) - 1, 0)


def heights(wanted: Sequence[int], room: int) -> list[int]:
    """Lines of each table: what it wants where there is room, else its fair part. The last one has what is left."""
    given = [0] * len(wanted)
    left, waiting = max(room, 0), sorted(range(len(wanted)), key=lambda i: wanted[i])
    while waiting:
        part = left // len(waiting)
        first = waiting.pop(0)
        given[first] = min(wanted[first], part)
        left -= given[first]
    given[-1] += left
    return given
