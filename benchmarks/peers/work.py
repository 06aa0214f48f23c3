"""What the workers of every system do."""

from __future__ import annotations

import time
from typing import Any


def noop(x: int) -> int:
    return x


def nap(seconds: float) -> None:
    time.sleep(seconds)


def echo(value: Any) -> Any:
    return value


def zeros(count: int) -> Any:
    import numpy as np

    return np.zeros(count)


def total(array: Any) -> int:
    """Of a large array, of which one element says that it came."""
    return int(array[0]) + len(array)


ALL = (noop, nap, echo, zeros, total)
