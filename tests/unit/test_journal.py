"""What an executor leaves of its caches to the one that takes its place."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from actorq import actor_cache
from actorq.cache import loads as cache_loads
from actorq.cache.hooks import LOADS
from actorq.cache.loads import Journal, Load, read
from actorq.wire import codec


@actor_cache
def square(x: Any) -> int:
    return 0 if isinstance(x, (bytes, list)) else int(x) ** 2


@pytest.fixture(autouse=True)
def unchanged(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(LOADS, "_listeners", ())
    yield
    square.cache_clear()


def left(journal: Journal, folder: Path) -> list[tuple[str, Load]]:
    journal.write(folder / "caches")
    return read(folder / "caches")


def arguments(loads: list[tuple[str, Load]]) -> list[Any]:
    return [codec.unpack(load[2])[0][0] for _, load in loads]


def test_the_last_loads_are_left_the_oldest_first(tmp_path: Path) -> None:
    journal = Journal(3, lambda: "v1")
    for x in range(5):
        square(x)
        square(x)
    loads = left(journal, tmp_path)
    assert arguments(loads) == [2, 3, 4]
    assert {(version, load[0], load[1]) for version, load in loads} == {("v1", __name__, "square")}


def test_a_load_can_be_made_again_from_its_name_and_arguments(tmp_path: Path) -> None:
    journal = Journal(3, lambda: "")
    square(7)
    ((_, load),) = left(journal, tmp_path)
    assert cache_loads.repeat(load, asyncio.run) is False
    square.cache_clear()
    assert cache_loads.repeat(load, asyncio.run) is True
    assert square.has(7)


def test_what_is_left_is_read_once(tmp_path: Path) -> None:
    journal = Journal(3, lambda: "")
    square(7)
    journal.write(tmp_path / "caches")
    assert len(read(tmp_path / "caches")) == 1
    assert read(tmp_path / "caches") == []


def test_values_that_are_not_kept_any_more_are_not_left(tmp_path: Path) -> None:
    journal = Journal(3, lambda: "")
    square(7)
    square.cache_clear()
    square(8)
    assert arguments(left(journal, tmp_path)) == [8]


def test_what_another_process_could_not_load_is_not_left(tmp_path: Path) -> None:
    @actor_cache
    def local(x: int) -> int:
        return x

    journal = Journal(3, lambda: "")
    local(1)
    square(b"x" * (2 << 20))  # arguments as large as a model
    assert left(journal, tmp_path) == []


def test_another_listener_still_hears_of_every_load() -> None:
    heard: list[Any] = []
    LOADS.listen(lambda cached, args, kwargs: heard.append(args))
    Journal(3, lambda: "")
    square(7)
    assert heard == [(7,)]
