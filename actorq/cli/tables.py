"""Tables as the commands print them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from actorq.base.masking import printable
from actorq.cli.options import say


def print_table(head: Sequence[str], rows: Sequence[Sequence[Any]], problems: Sequence[str]) -> None:
    """Columns as wide as their widest cell; numbers to the right. What is wrong with a row stands behind it."""
    cells = [[printable(str(cell)) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(head, *cells, strict=True)]
    right = [bool(rows) and all(isinstance(row[i], int) for row in rows) for i in range(len(head))]
    for line, problem in zip([list(head), *cells], ["PROBLEM" if any(problems) else "", *problems], strict=True):
        padded = [c.rjust(w) if r else c.ljust(w) for c, w, r in zip(line, widths, right, strict=True)]
        say("  ".join([*padded, printable(problem)]).rstrip())
