"""A table that is drawn line by line: of thousands of rows only those in sight cost anything.

The one idea: rows are replaced as a whole, and the cursor stays with the key of its row. No text is markup.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from rich.cells import cell_len, set_cell_size
from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.binding import Binding, BindingType
from textual.geometry import Region, Size
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.strip import Strip

from actorq.terminal.layout import GAP, Column, fit
from actorq.terminal.rows import Row
from actorq.terminal.words import Cell, Span

#: stands before the row that is selected, so that it can be told without colours
_CURSOR, _MARGIN = "▸", 2


class Panel(ScrollView):
    """One of the four tables, its head included.

    Args:
        columns: of the table.
        name: by which it is found.
    """

    can_focus = True
    COMPONENT_CLASSES: ClassVar[set[str]] = {
        "panel--head",
        "panel--cursor",
        "panel--dim",
        "panel--good",
        "panel--warn",
        "panel--bad",
        "panel--strong",
    }
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up,k", "move(-1)", "up", show=False),
        Binding("down,j", "move(1)", "down", show=False),
        Binding("pageup", "page(-1)", "page up", show=False),
        Binding("pagedown", "page(1)", "page down", show=False),
        Binding("home", "move(-1000000000)", "first", show=False),
        Binding("end", "move(1000000000)", "last", show=False),
        Binding("enter", "choose", "open", show=False),
    ]
    DEFAULT_CSS = """
    Panel {
        overflow-x: hidden;
        scrollbar-size-vertical: 1;
        scrollbar-background: $surface;
        background: $surface;
        & > .panel--head { background: $panel; color: $text-muted; }
        & > .panel--cursor { background: $surface-lighten-1; }
        & > .panel--dim { color: #8b949e; }
        & > .panel--good { color: $text-success; }
        & > .panel--warn { color: $text-warning; text-style: bold; }
        & > .panel--bad { color: $text-error; }
        & > .panel--strong { text-style: bold; }
        &:focus > .panel--head { background: $primary; color: $text; text-style: bold; }
        &:focus > .panel--cursor { background: $primary-muted; text-style: bold; }
    }
    """

    class Chosen(Message):
        """Enter was pressed on a row."""

        def __init__(self, panel: Panel) -> None:
            super().__init__()
            self.panel = panel

    class Moved(Message):
        """Another row is selected, or what it says has changed."""

    def __init__(self, columns: Sequence[Column], name: str) -> None:
        super().__init__(id=name)
        self._columns = columns
        self._wanted = [1] * len(columns)
        self._fit: list[tuple[int, int]] = []
        self._empty: Sequence[str] = ()
        self._note = ""
        self._at = 0
        self.rows: Sequence[Row] = ()

    @property
    def selected(self) -> Row | None:
        """The row of the cursor."""
        return self.rows[self._at] if self.rows else None

    @property
    def wanted_lines(self) -> int:
        """With its head."""
        return 1 + max(len(self.rows), len(self._empty), 1)

    def show(self, rows: Sequence[Row], *, empty: Sequence[str] = (), note: str = "") -> None:
        """Other rows.

        Args:
            rows: all of them.
            empty: lines in place of none.
            note: behind the title of the last column.
        """
        key = self.rows[self._at].key if self.rows else None
        self.rows, self._empty, self._note = rows, empty, note
        places = {row.key: at for at, row in enumerate(rows)}
        self._at = places.get(key or (), min(self._at, max(len(rows) - 1, 0)))
        self._measure()
        if key in places:
            self._keep_in_sight()
        self.post_message(self.Moved())

    def forget_widths(self) -> None:
        """Columns are only made wider by what they show, so that they stand still, until this."""
        self._wanted = [1] * len(self._columns)

    def _measure(self) -> None:
        for i in range(len(self._columns)):
            widest = max((row.cells[i].wanted for row in self.rows), default=1)
            self._wanted[i] = 0 if widest == 0 and self.rows else max(self._wanted[i], widest)
        self._wanted[0] = max(self._wanted[0], len(self._title))
        self._fit = fit(self._columns, self._wanted, self.size.width - _MARGIN - 1)
        self.virtual_size = Size(self.size.width, self.wanted_lines)
        self.refresh()

    def on_resize(self, _: events.Resize) -> None:
        self._measure()
        self._keep_in_sight()

    # -- the cursor ----------------------------------------------------------------------------------------------------

    def action_move(self, by: int) -> None:
        """Selects a row further up or down."""
        self._select(self._at + by)

    def action_page(self, by: int) -> None:
        self._select(self._at + by * max(self.size.height - 2, 1))

    def action_choose(self) -> None:
        self.post_message(self.Chosen(self))

    def on_click(self, event: events.Click) -> None:
        if event.y > 0:
            self._select(event.y - 1 + self.scroll_offset.y)

    def _select(self, at: int) -> None:
        self._at = min(max(at, 0), max(len(self.rows) - 1, 0))
        self._keep_in_sight()
        self.refresh()
        self.post_message(self.Moved())

    def _keep_in_sight(self) -> None:
        """Scrolls no further than it takes."""
        shown = max(self.size.height - 1, 1)
        top = min(max(self.scroll_offset.y, self._at - shown + 1), self._at)
        if top != self.scroll_offset.y:
            self.scroll_to(y=top, animate=False)

    # -- drawing -------------------------------------------------------------------------------------------------------

    def render_line(self, y: int) -> Strip:
        """One line of what is in sight; the head stays."""
        width = self.size.width
        if y == 0:
            return self._head(width)
        at = y - 1 + self.scroll_offset.y
        if self.rows:
            return self._line(at, width) if at < len(self.rows) else self._blank(width)
        if at < len(self._empty):
            return self._drawn([Span(" " * _MARGIN), Span(self._empty[at], "dim")], width, self.rich_style)
        return self._blank(width)

    def _head(self, width: int) -> Strip:
        titles = [column.title for column in self._columns]
        titles[0] = self._title
        spans = [Span(" " * _MARGIN)]
        for i, wide in self._fit:
            spans.append(Span(titles[i].rjust(wide) if self._columns[i].right else titles[i].ljust(wide)))
            spans.append(Span(" " * GAP))
        if self._note:
            spans[-2:] = [Span(f"{titles[self._fit[-1][0]]}  {self._note}".strip(), "strong")]
        return self._drawn(spans, width, self.get_component_rich_style("panel--head"))

    @property
    def _title(self) -> str:
        """Of the table: the first column's, and how many rows there are."""
        return f"{self._columns[0].title} {len(self.rows):,}" if self.rows else self._columns[0].title

    def _line(self, at: int, width: int) -> Strip:
        row = self.rows[at]
        base = self.get_component_rich_style("panel--cursor") if at == self._at else self.rich_style
        spans = [Span((_CURSOR if at == self._at and self.has_focus else "").ljust(_MARGIN))]
        for i, wide in self._fit:
            spans += [*_cut(row.cells[i], wide, right=self._columns[i].right), Span(" " * GAP)]
        return self._drawn(spans, width, base)

    def _drawn(self, spans: Sequence[Span], width: int, base: Style) -> Strip:
        segments = [Segment(text, self._style(tone, base)) for text, tone in spans if text]
        return Strip(segments).adjust_cell_length(width, base).crop(0, width)

    def _style(self, tone: str, base: Style) -> Style:
        if not tone:
            return base
        return base + self.get_component_rich_style(f"panel--{tone}", partial=True)

    def _blank(self, width: int) -> Strip:
        return Strip.blank(width, self.rich_style)

    def get_content_height(self, container: Size, viewport: Size, width: int) -> int:
        return self.wanted_lines

    def select_key(self, key: tuple[str, ...]) -> None:
        """Moves the cursor to a row, where it is there."""
        for at, row in enumerate(self.rows):
            if row.key == key:
                self._select(at)

    def text_of_line(self, y: int) -> str:
        """What a line shows, without its styles."""
        return self.render_line(y).text

    def watch_has_focus(self, has_focus: bool) -> None:
        super().watch_has_focus(has_focus)
        self.refresh(Region(0, 0, self.size.width, self.size.height))
        self.post_message(self.Moved())


def _cut(cell: Cell, width: int, *, right: bool) -> list[Span]:
    """What a cell shows in exactly so many columns of a terminal, of which some characters take two."""
    spans = list(cell.spans(width))
    left = width - sum(cell_len(span.text) for span in spans)
    if left >= 0:
        room = Span(" " * left)
        return [room, *spans] if right else [*spans, room]
    if len(spans) != 1:
        return [Span(set_cell_size("".join(span.text for span in spans), width))]
    return [Span(set_cell_size(spans[0].text, width - 1) + "…", spans[0].tone)]
