"""A task that begins to return large outputs does not gather those of a whole lease of what were small ones."""

from __future__ import annotations

import pytest

from actorq.maps.sizing import LeaseSizer
from actorq.replica.executor.large import MOST_HELD_BYTES
from tests.support.code import growing

SIZE, INPUTS = 3 << 20, 60


@pytest.fixture(autouse=True)
def frames(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Bytes of the outputs that come in one frame; leases are as long as those of small outputs."""
    sizes: list[int] = []
    observe = LeaseSizer.observe

    def noting(sizer: LeaseSizer, count: int, busy: float, output_bytes: int) -> None:
        sizes.append(output_bytes)
        observe(sizer, count, busy, output_bytes)

    monkeypatch.setattr(LeaseSizer, "size", lambda *_: 30)
    monkeypatch.setattr(LeaseSizer, "observe", noting)
    return sizes


@pytest.mark.parametrize("environment", ["growing", "growing-bare", "growing-fork"])
@pytest.mark.parametrize("kind", ["_blank", "_listed", "_array"])
def test_what_is_done_is_sent_before_it_is_much(environment: str, kind: str, frames: list[int]) -> None:
    task = growing.TASKS[environment, kind]
    size = SIZE // 8 if kind == "_listed" else SIZE
    assert list(map(len, task.map([1] * 900))) == [1] * 900
    handle = task.map([size] * INPUTS)
    assert list(map(len, handle)) == [size] * INPUTS
    assert max(frames) < MOST_HELD_BYTES + SIZE + 1000
    assert (handle.stats().late, handle.stats().failed) == (0, 0)


def test_only_some_may_be_large() -> None:
    task = growing.TASKS["growing-bare", "_blank"]
    sizes = [SIZE if number % 500 == 499 else 1 for number in range(5000)]
    for _ in range(2):
        assert list(map(len, task.map(sizes))) == sizes
