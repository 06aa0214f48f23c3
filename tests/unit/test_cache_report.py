"""`@actor_cache`: what is told of values, and what is not."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from actorq import actor_cache, cache
from actorq.base.settings import settings
from actorq.cache.report import CacheReport, collect
from tests.unit.test_cache_limits import bounded


@actor_cache
def secret(password: str, options: Any = None, *, deep: bool = False) -> bytes:
    return bytes(1000)


@pytest.fixture
def readable(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("ACTORQ_CACHE_LABELS", "1")
    settings.cache_clear()
    yield
    settings.cache_clear()


def test_entries_tell_of_each_value_and_show_no_argument() -> None:
    secret.cache_clear()
    secret("hunter2", ["hunter2"])
    secret("hunter2", ["hunter2"])
    secret("other", deep=True)
    latest, first = secret.cache_entries()
    assert first.hits == 1
    assert first.bytes > 1000
    assert first.load_seconds >= 0
    assert first.age_seconds >= latest.age_seconds >= 0
    assert first.label.startswith("password=str:")
    assert "options=list:" in first.label
    assert "hunter2" not in repr(first)
    assert latest.label != first.label
    told = collect().pack(100_000).decode()
    assert "hunter2" not in told
    assert "secret" in told


def test_labels_show_plain_arguments_where_that_is_wanted(readable: None) -> None:
    secret.cache_clear()
    secret("s3://model", [1], deep=True)
    (entry,) = secret.cache_entries()
    assert entry.label.startswith("password='s3://model', options=list:")
    secret.cache_clear()
    secret("x" * 10_000, "y" * 10_000, deep=True)
    (entry,) = secret.cache_entries()
    assert len(entry.label) <= 80


def test_the_report_adds_up_a_function_and_never_counts_down() -> None:
    def factory(n: int) -> Any:
        @actor_cache
        def made(x: int) -> int:
            return n

        return made

    def told() -> Any:
        return next(f for f in collect().functions if "test_the_report_adds_up" in f.function)

    one, two = factory(1), factory(2)
    one(1)
    one(1)
    two(1)
    stats = told()
    assert (stats.hits, stats.misses, stats.loads, stats.entries) == (1, 2, 2, 2)
    one.cache_clear()
    del two
    stats = told()
    assert (stats.hits, stats.misses, stats.loads, stats.entries) == (1, 2, 2, 0)


def test_totals_are_those_of_the_report() -> None:
    secret("counted")
    functions = collect().functions
    expected = tuple(sum(getattr(f, name) for f in functions) for name in ("hits", "misses", "entries"))
    assert cache.cache_totals() == expected


def test_a_report_fits_where_it_goes_and_tells_the_functions_first() -> None:
    load = bounded(maxsize=1000)
    for x in range(100):
        load(x)
    for _ in range(3):
        load(7)
    whole = collect()
    assert len(whole.values) == 20
    assert max(value.hits for value in whole.values) == whole.values[0].hits
    assert CacheReport.unpack(whole.pack(1_000_000)) == whole
    size = len(whole.pack(1_000_000))
    less = CacheReport.unpack(whole.pack(size - 1))
    assert (len(less.values), less.functions) == (19, whole.functions)
    assert CacheReport.unpack(whole.pack(30)) == CacheReport()
    assert CacheReport.unpack(b"") == CacheReport()


def test_a_report_of_another_version_is_understood() -> None:
    told = json.dumps({"functions": [{"function": "f", "hits": 3, "novel": 1}], "values": []})
    (stats,) = CacheReport.unpack(told).functions
    assert (stats.function, stats.hits, stats.bytes) == ("f", 3, 0)
