"""Texts, bars and curves as a terminal shows them.

The one idea: what is drawn is text first. A bar and a curve can be read without colours; a tone only helps.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from actorq.base.masking import printable

#: from the least to the most
_BLOCKS = "▁▂▃▄▅▆▇█"


class Span(NamedTuple):
    """Some characters of one tone: "", "dim", "good", "warn", "bad" or "strong"."""

    text: str
    tone: str = ""


class Cell(Protocol):
    """What a table shows in one place."""

    @property
    def wanted(self) -> int:
        """Columns of the terminal that it would like, 0 for what takes any."""

    def spans(self, width: int) -> Sequence[Span]:
        """What it shows in so many columns; what is too long is cut by who draws it."""


class Text:
    """A text. Nothing in it moves the cursor, and brackets are brackets.

    Args:
        text: what is shown.
        tone: see `Span`.
    """

    __slots__ = ("text", "tone")

    def __init__(self, text: object, tone: str = "") -> None:
        self.text = printable(str(text))
        self.tone = tone

    @property
    def wanted(self) -> int:
        return len(self.text)

    def spans(self, width: int) -> Sequence[Span]:
        return (Span(self.text, self.tone),)

    def __repr__(self) -> str:
        return self.text


class Name(Text):
    """A text whose beginning and end tell it from others, so it is cut in its middle."""

    __slots__ = ()

    def spans(self, width: int) -> Sequence[Span]:
        if len(self.text) <= width or width < 3:
            return super().spans(width)
        tail = (width - 1) // 2
        return (Span(f"{self.text[: width - 1 - tail]}…{self.text[-tail:]}", self.tone),)


class Bar(NamedTuple):
    """How far a map is: what is done, what of it has failed, what is left."""

    done: int
    failed: int
    #: None where nobody knows
    total: int | None

    @property
    def wanted(self) -> int:
        return 0

    def spans(self, width: int) -> Sequence[Span]:
        if self.total is None:
            return (Span("┄" * width, "dim"),)
        if self.total <= 0:
            return (Span("━" * width, "good"),)
        full = min(max(width * self.done // self.total, 0), width)
        bad = min(max(-(-width * self.failed // self.total), 0), full)  # one failure of many can be seen
        half = full < width and 2 * (width * self.done % self.total) >= self.total
        rest = width - full - half
        return (
            Span("━" * (full - bad), "good"),
            Span("━" * bad, "bad"),
            Span("╸" * half, "bad" if bad else "good"),
            Span("─" * rest, "dim"),
        )


class Curve(NamedTuple):
    """What a number was, one value a column, the last one to the right. None for nobody looked."""

    values: Sequence[float | None]

    @property
    def wanted(self) -> int:
        return 0

    def spans(self, width: int) -> Sequence[Span]:
        shown = self.values[-width:] if width > 0 else ()
        most = max((value for value in shown if value is not None), default=0.0)
        drawn = "".join(" " if value is None else _block(value, most) for value in shown)
        return (Span(drawn.rjust(width), "good" if most > 0 else "dim"),)


def _block(value: float, most: float) -> str:
    if value <= 0 or most <= 0:
        return _BLOCKS[0]
    return _BLOCKS[min(1 + int(value / most * (len(_BLOCKS) - 1)), len(_BLOCKS) - 1)]


def last_name(task: str) -> str:
    """A task without its module, which is the same for most rows."""
    return task.rpartition(".")[2] or task
