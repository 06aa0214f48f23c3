"""What the page remembers is bounded and true, and what it draws lies inside the picture."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actorq.page import drawing
from actorq.page.history import TIMELINE_SECONDS
from actorq.page.series import Series, Stretch, Timeline


def test_a_series_keeps_the_means_of_its_steps_and_leaves_gaps_where_nobody_looked() -> None:
    series = Series(10, 5)
    for now, value in ((100, 2), (104, 4), (111, 7), (140, 1)):
        series.add(now, value)
    assert [*map(str, series.points(142))] == ["3.0", "7.0", "nan", "nan", "1.0"]
    assert all(math.isnan(value) for value in series.points(1000))


def test_a_step_in_which_nobody_has_looked_yet_is_no_gap_at_the_end() -> None:
    series = Series(10, 3)
    series.add(95, 1)
    series.add(105, 2)
    assert series.points(111) == pytest.approx([math.nan, 1, 2], nan_ok=True)
    assert series.points(121) == pytest.approx([2, math.nan, math.nan], nan_ok=True)


def test_a_series_never_holds_more_points_than_it_shows() -> None:
    series = Series(1, 10)
    for now in range(1000):
        series.add(now, now)
    assert series.points(999) == [*map(float, range(990, 1000))]
    assert len(series._steps) == 10


def test_a_timeline_joins_looks_at_the_same_and_shows_an_absence_as_a_gap() -> None:
    timeline = Timeline(100)
    for now in (0, 1, 2):
        timeline.add(now, "busy", "m")
    timeline.add(3, "idle")
    timeline.add(50, "busy", "n")
    assert [*timeline.stretches(50)] == [
        Stretch(0, 2, "busy", "m"),
        Stretch(2, 3, "idle"),
        Stretch(50, 50, "busy", "n"),
    ]


def test_a_timeline_forgets_what_lies_too_far_back() -> None:
    timeline = Timeline(10)
    for now in range(1000):
        timeline.add(now, "busy", f"m{now % 2}")
    assert min(each.begin for each in timeline.stretches(999)) == 989
    assert len(timeline._stretches) <= 11


@given(st.lists(st.one_of(st.just(math.nan), st.floats()), max_size=60))
def test_every_point_of_a_chart_lies_inside_it(points: list[float]) -> None:
    made = drawing.chart(points, 10)
    for path in [*made.lines, *made.areas]:
        for pair in path.strip("MZ").replace("L", "M").split("M"):
            x, y = map(float, pair.split())
            assert -1 <= x <= max(made.width, 1)
            assert 0 <= y <= 100
    assert made.empty == (not any(not math.isnan(value) for value in points))
    assert made.top >= (0 if made.empty else made.most * 0.999)


def test_a_chart_that_has_just_begun_shows_some_minutes_and_not_an_hour() -> None:
    made = drawing.chart([math.nan] * 350 + [1.0] * 10, 10)
    assert made.seconds == 300
    assert drawing.chart([1.0] * 360, 10).seconds == 3600


@given(st.lists(st.tuples(st.floats(0, 400), st.sampled_from(["busy", "idle", "away"])), max_size=50))
def test_every_block_of_a_timeline_lies_inside_it(looks: list[tuple[float, str]]) -> None:
    timeline = Timeline(TIMELINE_SECONDS)
    for now, kind in sorted(looks):
        timeline.add(now, kind, "m" if kind == "busy" else "")
    for block in drawing.timeline(timeline.stretches(400), 400, lambda _: "c3", "m"):
        assert block.x >= 0
        assert block.x + block.width <= TIMELINE_SECONDS + 0.1
        assert block.colour == ("c3" if block.kind == "busy" else block.kind)


def test_the_shares_of_a_timeline_say_for_whom_a_replica_worked() -> None:
    stretches = [Stretch(0, 50, "busy", "m"), Stretch(50, 75, "busy", "n"), Stretch(75, 100, "idle")]
    blocks = drawing.timeline(stretches, 100, lambda _: "c0", "m")
    assert drawing.shares(blocks, "m") == pytest.approx({"mine": 50, "other": 25, "idle": 25, "away": 0})
    assert [block.colour for block in blocks] == ["c0", "other", "idle"]
    assert drawing.shares([], "m")["mine"] == 0
