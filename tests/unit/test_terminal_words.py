"""Bars, curves and columns of the live view."""

from __future__ import annotations

import pytest

from actorq.terminal.history import STEP_SECONDS, Births, Rates
from actorq.terminal.layout import Column, fit, heights
from actorq.terminal.words import Bar, Cell, Curve, Name, Text, last_name


def drawn(cell: Cell, width: int) -> str:
    return "".join(span.text for span in cell.spans(width))


@pytest.mark.parametrize(
    ("bar", "shown"),
    [
        (Bar(0, 0, 10), "──────────"),
        (Bar(5, 0, 10), "━━━━━─────"),
        (Bar(55, 0, 100), "━━━━━╸────"),
        (Bar(10, 0, 10), "━━━━━━━━━━"),
        (Bar(0, 0, 0), "━━━━━━━━━━"),
        (Bar(3, 0, None), "┄┄┄┄┄┄┄┄┄┄"),
        (Bar(90, 0, 10), "━━━━━━━━━━"),
    ],
)
def test_a_bar_shows_what_is_done_and_what_is_left(bar: Bar, shown: str) -> None:
    assert drawn(bar, 10) == shown


def test_one_failure_of_many_can_be_seen_in_a_bar() -> None:
    assert [(span.text, span.tone) for span in Bar(500, 1, 1000).spans(10) if span.text] == [
        ("━━━━", "good"),
        ("━", "bad"),
        ("─────", "dim"),
    ]


def test_a_curve_is_as_high_as_its_values_and_blank_where_nobody_looked() -> None:
    assert drawn(Curve([None, 0.0, 1.0, 5.0, 10.0]), 5) == " ▁▂▅█"
    assert drawn(Curve([10.0, 1.0]), 4) == "  █▂"
    assert drawn(Curve([1.0] * 50), 3) == "███"
    assert drawn(Curve([0.0, 0.0]), 2) == "▁▁"
    assert drawn(Curve([]), 3) == "   "
    assert drawn(Curve([1.0]), 0) == ""


def test_a_text_moves_no_cursor_and_keeps_its_brackets() -> None:
    assert drawn(Text("[bold]\x1b[2J\r\n"), 30) == "[bold]\\x1b[2J\\r\\n"


def test_a_name_is_cut_in_its_middle() -> None:
    name = Name("plain-vm-17586-72ef-3")
    assert [drawn(name, width) for width in (30, 21, 12, 3)] == [
        "plain-vm-17586-72ef-3", "plain-vm-17586-72ef-3", "plain-…2ef-3", "p…3",
    ]  # fmt: skip


def test_a_task_is_shown_without_its_module() -> None:
    assert (last_name("pkg.texts.embed"), last_name("embed"), last_name("")) == ("embed", "embed", "")


NAME = Column(title="NAME", least=6, most=20)
COUNT = Column(title="COUNT", least=5, most=8, rank=1, right=True)
NOTE = Column(title="NOTE", least=8, most=100, rank=2, fills=True)


def test_columns_have_what_they_want_and_the_last_fills_the_rest() -> None:
    assert fit([NAME, COUNT, NOTE], [10, 6, 5], 60) == [(0, 10), (1, 6), (2, 40)]


def test_a_narrow_terminal_drops_columns_by_their_rank() -> None:
    assert fit([NAME, COUNT, NOTE], [10, 6, 30], 26) == [(0, 8), (1, 6), (2, 8)]
    assert fit([NAME, COUNT, NOTE], [10, 6, 30], 20) == [(0, 10), (1, 6)]
    assert fit([NAME, COUNT, NOTE], [10, 6, 30], 9) == [(0, 9)]
    assert fit([NAME, COUNT, NOTE], [10, 6, 30], 2) == [(0, 6)]


def test_a_number_is_never_cut() -> None:
    assert fit([NAME, COUNT], [20, 12], 24) == [(0, 10), (1, 12)]


def test_short_tables_are_whole_and_long_ones_share_what_is_left() -> None:
    assert heights([3, 4, 5, 2], 30) == [3, 4, 5, 18]
    assert heights([3, 1000, 200, 4], 21) == [3, 7, 7, 4]
    assert heights([90, 90, 90, 90], 8) == [2, 2, 2, 2]
    assert heights([3, 3, 3, 3], 0) == [0, 0, 0, 0]


def test_rates_are_kept_by_steps_of_the_clock() -> None:
    rates = Rates()
    for second in range(20):
        if second // STEP_SECONDS != 1:  # nobody looked
            rates.add(second, {"e": float(second)})
    assert rates.of("e", 19)[-5:] == [None, 4.0, None, 14.0, 19.0]
    assert rates.of("e", 24)[-2:] == [19.0, None]
    assert set(rates.of("other", 19)) == {None}


def test_a_map_keeps_the_beginning_it_was_first_seen_to_have() -> None:
    births = Births()
    assert births.of(("e", "m"), 2.0, 10.0) == 8.0
    assert births.of(("e", "m"), 2.9, 11.0) == 8.0
    births.keep({("e", "n")})
    assert births.of(("e", "m"), 2.9, 11.0) == pytest.approx(8.1)
