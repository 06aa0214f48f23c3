"""One function a row: it measures both sides in turn, round by round, and returns the median ratio.

Ratios, never seconds: both sides run in the same minute on the same noisy machine. A floor is what the row must reach.
"""

from __future__ import annotations

import heapq
import multiprocessing
import os
import random
import statistics
import subprocess
import sys
import tempfile
import textwrap
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import psutil
import redis

from actorq.runtime.program import runtime, shutdown
from benchmarks import tasks

_ROOT = Path(__file__).parents[1]


@dataclass(frozen=True, kw_only=True)
class Row:
    """One line of the table."""

    name: str
    measured: float
    floor: float
    #: True: `measured` must be at least the floor; False: at most
    at_least: bool
    unit: str
    detail: str

    @property
    def reached(self) -> bool:
        return self.measured >= self.floor if self.at_least else self.measured <= self.floor


def timed(action: Callable[[], object]) -> float:
    started = time.perf_counter()
    action()
    return time.perf_counter() - started


def medians(rounds: int, *sides: Callable[[], float]) -> tuple[list[float], list[list[float]]]:
    """The median of each side over interleaved rounds, and all values."""
    values: list[list[float]] = [[] for _ in sides]
    for _ in range(rounds):
        for side, measured in zip(sides, values, strict=True):
            measured.append(side())
    return [statistics.median(each) for each in values], values


def ratio(rounds: int, ours: Callable[[], float], other: Callable[[], float]) -> float:
    """Median over rounds of other/ours, taken pair by pair: above 1 we are faster."""
    _, (a, b) = medians(rounds, ours, other)
    return statistics.median(y / x for x, y in zip(a, b, strict=True))


@contextmanager
def process_pool(processes: int) -> Iterator[multiprocessing.pool.Pool]:
    with multiprocessing.get_context("fork").Pool(processes) as pool:
        yield pool


def server_url() -> str:
    client = runtime().pools.client
    assert client is not None
    return client.url


def noop_map(count: int = 1_000_000, rounds: int = 15) -> list[Row]:
    """A million hellos, ordered and collected, on two replicas: beside a plain loop, and beside Pool.imap."""
    list(tasks.hello.map(range(100_000)))
    with process_pool(2) as pool:
        sum(1 for _ in pool.imap(tasks.hello_plain, range(10_000), chunksize=256))
        (ours, loop, imap), _ = medians(
            rounds,
            lambda: timed(lambda: list(tasks.hello.map(range(count)))),
            lambda: timed(lambda: [tasks.hello_plain(i) for i in range(count)]),
            lambda: timed(lambda: list(pool.imap(tasks.hello_plain, range(count), chunksize=256))),
        )
    detail = f"{count / ours:,.0f} inputs/s"
    return [
        Row(name="no-op map / plain loop", measured=loop / ours, floor=0.8, at_least=True, unit="x", detail=detail),
        Row(name="no-op map / Pool.imap(256)", measured=imap / ours, floor=2.0, at_least=True, unit="x", detail=detail),
    ]


def reset_overhead(count: int = 100_000, rounds: int = 5) -> list[Row]:
    """What isolation="reset" adds to an input that changes nothing: per input and replica."""
    list(tasks.hello_reset.map(range(1000)))
    (reset, none), _ = medians(
        rounds,
        lambda: timed(lambda: list(tasks.hello_reset.map(range(count)))),
        lambda: timed(lambda: list(tasks.hello.map(range(count)))),
    )
    added = (reset - none) / count * 2  # two replicas share the inputs
    looks = added / one_look()
    detail = f"{added * 1e6:.1f} us an input, two replicas"
    return [Row(name="reset beside none", measured=looks, floor=8, at_least=False, unit="looks", detail=detail)]


def one_look(count: int = 20_000) -> float:
    """Seconds of one `os.fstat`: what a look at anything outside the interpreter takes on this machine at least."""
    with tempfile.TemporaryFile() as file:
        number = file.fileno()

        def look() -> None:
            for _ in range(count):
                os.fstat(number)

        return statistics.median(timed(look) for _ in range(5)) / count


def remote_call(count: int = 2000, rounds: int = 9) -> list[Row]:
    """One call on one of two warm replicas: beside a redis-py echo through a second process, and beside Pool.apply on
    one of two processes.
    """
    tasks.echo.remote(b"x")
    time.sleep(0.5)  # the other replica is idle too
    url = server_url()
    echo = multiprocessing.get_context("fork").Process(target=_echo, args=(url,), daemon=True)
    echo.start()
    client = redis.Redis.from_url(url)

    def through_redis() -> None:
        client.lpush("bench-in", b"x")
        client.brpop(["bench-out"], 0)

    with process_pool(2) as pool:
        (ours, plain, apply), values = medians(
            rounds,
            lambda: p50(count, lambda: tasks.echo.remote(b"x")),
            lambda: p50(count, through_redis),
            lambda: p50(count, lambda: pool.apply(tasks.hello_plain, (1,))),
        )
    client.lpush("bench-in", b"stop")
    echo.join()
    by_pair = statistics.median(a / b for a, b in zip(values[0], values[1], strict=True))
    detail = f"{ours * 1e6:.0f} us beside {plain * 1e6:.0f} and {apply * 1e6:.0f}"
    return [
        Row(name="remote call / redis-py echo", measured=by_pair, floor=1.3, at_least=False, unit="x", detail=detail),
        Row(name="remote call / Pool.apply", measured=ours / apply, floor=1.1, at_least=False, unit="x", detail=detail),
    ]


def _echo(url: str) -> None:
    client = redis.Redis.from_url(url)
    while True:
        reply = client.brpop(["bench-in"], 0)
        assert reply is not None
        if reply[1] == b"stop":
            return
        client.lpush("bench-out", reply[1])


def p50(count: int, action: Callable[[], object]) -> float:
    return statistics.median(timed(action) for _ in range(count))


def sleeps(rounds: int = 9) -> list[Row]:
    """400 x 50 ms on 20 replicas: the ideal is one second."""
    list(tasks.nap_twenty.map([0.001] * 40))
    (ours,), _ = medians(rounds, lambda: timed(lambda: list(tasks.nap_twenty.map([0.05] * 400))))
    return [
        Row(name="400 x 50 ms, 20 replicas", measured=1 / ours, floor=0.98, at_least=True, unit="of ideal", detail="")
    ]


def lognormal(rounds: int = 9) -> list[Row]:
    """Heavy-tailed durations on 8 replicas, beside item-by-item first-come scheduling of the same durations."""
    rng = random.Random(7)
    durations = [min(rng.lognormvariate(0, 1.5) * 0.005, 1.0) for _ in range(500)]
    return [_scheduled("lognormal durations, 8 replicas", durations, 0.98, rounds)]


def jump(rounds: int = 3) -> list[Row]:
    """Inputs whose duration jumps from 10 ms to 2 s in mid-map."""
    return [_scheduled("10 ms, then 2 s, 8 replicas", [0.01] * 600 + [2.0] * 16 + [0.01] * 40, 0.9, rounds)]


def _scheduled(name: str, durations: list[float], floor: float, rounds: int) -> Row:
    list(tasks.nap.map([0.001] * 16))
    (ours,), _ = medians(rounds, lambda: timed(lambda: list(tasks.nap.map(iter(durations)))))
    ideal = first_come(durations, 8)
    return Row(
        name=name, measured=ideal / ours, floor=floor, at_least=True, unit="of ideal", detail=f"ideal {ideal:.2f} s"
    )


def first_come(durations: list[float], replicas: int) -> float:
    """How long item-by-item scheduling takes when nothing costs anything."""
    free = [0.0] * replicas
    for duration in durations:
        heapq.heappush(free, heapq.heappop(free) + duration)
    return max(free)


def large_values(count: int = 200, rounds: int = 5) -> list[Row]:
    """1 MiB there and back, beside one value per message with plain redis-py and two workers."""
    values = [os.urandom(1 << 20) for _ in range(count)]
    list(tasks.echo.map(values[:4]))
    url = server_url()
    workers = [multiprocessing.get_context("fork").Process(target=_echo, args=(url,), daemon=True) for _ in range(2)]
    for worker in workers:
        worker.start()
    client = redis.Redis.from_url(url)

    def plain() -> None:
        ahead = 4  # two workers, one value waiting for each: the window actorq has
        for value in values[:ahead]:
            client.lpush("bench-in", value)
        for position in range(count):
            client.brpop(["bench-out"], 0)
            if position + ahead < count:
                client.lpush("bench-in", values[position + ahead])

    measured = ratio(rounds, lambda: timed(lambda: list(tasks.echo.map(values))), lambda: timed(plain))
    client.lpush("bench-in", b"stop", b"stop")
    for worker in workers:
        worker.join()
    return [Row(name="200 x 1 MiB / plain redis-py", measured=measured, floor=1.4, at_least=True, unit="x", detail="")]


_START = """
    import time
    from benchmarks import tasks
    import actorq.runtime.program, actorq.maps.redis_transport, actorq.runtime.embedded, actorq.runtime.local, redis
    started = time.perf_counter()
    next(iter(tasks.nap_twenty.map([0.0] * 20)))
    print(time.perf_counter() - started)
"""


def pool_start(rounds: int = 5) -> list[Row]:
    """From nothing to the first result of 20 replicas, in a program that has imported its modules, beside the start of
    an interpreter that imports as much: a zygote has to, whoever forks it.
    """
    shutdown()
    plain = "import actorq, actorq.replica.start.executor, actorq.replica.executor.direct"
    (start, bare), _ = medians(rounds, lambda: float(_python(_START)), lambda: timed(lambda: _python(plain)))
    detail = f"first result after {start:.2f} s; {bare:.2f} s"
    return [
        Row(
            name="start of 20 / of an interpreter",
            measured=start / bare,
            floor=2.5,
            at_least=False,
            unit="x",
            detail=detail,
        )
    ]


def idle_memory() -> list[Row]:
    """What each of 100 idle replicas holds for itself."""
    shutdown()
    assert tasks.idle.remote(1) == 1
    pool = runtime().pools.local[tasks.hundred.name]
    time.sleep(3)  # until all have started
    leaves = [p for p in psutil.Process(pool._process.pid).children(recursive=True) if not p.children()]
    own = statistics.median(p.memory_full_info().uss for p in leaves)
    shutdown()
    bare = int(_python("import psutil; print(psutil.Process().memory_full_info().uss)"))
    return [
        Row(
            name="own memory of an idle replica / of a bare interpreter",
            measured=own / bare,
            floor=1.25,
            at_least=False,
            unit="x",
            detail=f"{own / 2**20:.1f} MiB each of {len(leaves)}; {bare / 2**20:.1f}",
        )
    ]


def import_time(rounds: int = 7) -> list[Row]:
    """`import actorq` beside `import asyncio`, beyond the interpreter's own start."""
    code = "import time; t = time.perf_counter(); import {}; print(time.perf_counter() - t)"
    (ours, theirs), _ = medians(rounds, *(partial(_import, code.format(name)) for name in ("actorq", "asyncio")))
    detail = f"{ours:.3f} s beside {theirs:.3f}"
    return [
        Row(name="import actorq / asyncio", measured=ours / theirs, floor=2, at_least=False, unit="x", detail=detail)
    ]


def _import(code: str) -> float:
    return float(_python(code))


def _python(code: str) -> str:
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, check=True, cwd=_ROOT
    ).stdout


ALL = (
    noop_map,
    reset_overhead,
    remote_call,
    large_values,
    sleeps,
    lognormal,
    jump,
    pool_start,
    idle_memory,
    import_time,
)
