"""Rates, times and sizes are told in the same words everywhere."""

from __future__ import annotations

from actorq.base.amounts import counted, exact_span, rate, size, span, whole_span


def test_a_rate_has_the_digits_that_matter() -> None:
    told = [rate(value) for value in (0, 0.034, 0.3, 0.97, 5, 12.04, 12.34, 99.97, 1234.5)]
    assert told == ["0", "0.034", "0.3", "1", "5", "12", "12.3", "100", "1,234"]


def test_a_time_is_told_in_the_largest_unit_of_which_there_are_two() -> None:
    told = [span(seconds) for seconds in (None, -1, 0.04, 3.21, 9.94, 9.96, 119, 120, 7300, 200_000)]
    assert told == ["-", "0.0 s", "0.0 s", "3.2 s", "9.9 s", "10 s", "119 s", "2 min", "2 h", "2 d"]


def test_a_time_that_is_known_to_the_second_has_no_tenths() -> None:
    assert [whole_span(seconds) for seconds in (None, -1, 0.4, 3.0, 600)] == ["-", "0 s", "0 s", "3 s", "10 min"]


def test_a_time_that_was_reckoned_has_a_tenth() -> None:
    told = [exact_span(seconds) for seconds in (0.04, 3.21, 97.4, 154, 11_000, 400_000)]
    assert told == ["0.0 s", "3.2 s", "97 s", "2.6 min", "3.1 h", "4.6 d"]


def test_one_of_a_thing_is_told_as_one() -> None:
    assert [counted(count, "pod") for count in (0, 1, 2, 1234)] == ["0 pods", "1 pod", "2 pods", "1,234 pods"]


def test_bytes_are_told_in_powers_of_1024() -> None:
    told = [size(count) for count in (0, 900, 2048, 5 << 20, 10 << 20, 412 << 20, 3 << 30)]
    assert told == ["0 B", "900 B", "2.0 KiB", "5.0 MiB", "10 MiB", "412 MiB", "3.0 GiB"]
