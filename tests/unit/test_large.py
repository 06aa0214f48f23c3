"""How large an output is, at a glance."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from actorq.replica.executor.large import SMALL, least_size


class Odd:
    __name__ = "ndarray"
    nbytes = 1 << 40

    def __len__(self) -> int:
        raise RuntimeError("not to be asked")

    def __sizeof__(self) -> int:
        raise RuntimeError("not to be asked")


class ndarray(Odd):  # noqa: N801 - named as numpy's is
    pass


@pytest.mark.parametrize(
    ("output", "size"),
    [
        (b"x" * 100, 100),
        ("ü" * 100, 100),
        ([0] * 100, 800),
        (dict.fromkeys(range(100)), 1600),
        (np.zeros(100), 800),
        (np.zeros(100)[::2], 400),
        (b"", 0),
        (1.5, 0),
        (Odd(), 0),
        (ndarray(), 0),
    ],
)
def test_it_is_what_can_be_seen_without_a_look_into_it(output: Any, size: int) -> None:
    assert least_size(output) == size


def test_what_is_small_needs_no_look() -> None:
    assert {type(value) for value in (1, 1.5, True, None)} == SMALL
