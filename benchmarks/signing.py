"""What signing costs: the same map, and the same call, with ACTORQ_SIGNING_KEY for both sides and without it."""

from __future__ import annotations

import os
import statistics
from collections.abc import Callable

from actorq.base.settings import settings
from benchmarks import tasks
from benchmarks.rows import Row, medians, p50, timed


def _with_key(action: Callable[[], float]) -> float:
    """`action`, in a program that has the key of the replicas of `tasks.signed`."""
    os.environ["ACTORQ_SIGNING_KEY"] = tasks.KEY
    settings.cache_clear()
    try:
        return action()
    finally:
        del os.environ["ACTORQ_SIGNING_KEY"]
        settings.cache_clear()


def signing(rounds: int = 15) -> list[Row]:
    """A million no-op inputs, 200 values of 1 MiB, and one call: signed, over the same without."""
    values = [os.urandom(1 << 20) for _ in range(200)]
    sides: list[tuple[str, float, Callable[[], float], Callable[[], float]]] = [
        (
            "no-op map",
            1.03,
            lambda: timed(lambda: list(tasks.hello_signed.map(range(1_000_000)))),
            lambda: timed(lambda: list(tasks.hello.map(range(1_000_000)))),
        ),
        (
            "one call",
            1.03,
            lambda: p50(1000, lambda: tasks.echo_signed.remote(b"x")),
            lambda: p50(1000, lambda: tasks.echo.remote(b"x")),
        ),
        # SHA-256 over each MiB four times: 0.7 ms each where the processor has instructions for it
        (
            "200 x 1 MiB",
            2.0,
            lambda: timed(lambda: list(tasks.echo_signed.map(values))),
            lambda: timed(lambda: list(tasks.echo.map(values))),
        ),
    ]
    rows = []
    for name, floor, signed, plain in sides:
        plain()
        _with_key(signed)
        _, (a, b) = medians(rounds, lambda signed=signed: _with_key(signed), plain)  # type: ignore[misc]
        ratio = statistics.median(x / y for x, y in zip(a, b, strict=True))
        rows.append(Row(name=f"{name}, signed", measured=ratio, floor=floor, at_least=False, unit="x", detail=""))
    return rows
