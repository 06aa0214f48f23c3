"""Tasks that the tests run on real replicas."""

from __future__ import annotations

import asyncio
import ctypes
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any, NoReturn

from actorq import ActorEnvironment, NonRecoverableError, TaskEnvironment, actor_cache, register

plain = ActorEnvironment("plain", replica_count=2, isolation="none", lease_seconds=2)
regular = TaskEnvironment("regular", concurrency=2)


class OwnError(Exception):
    """An exception whose constructor does not take what its args hold."""

    def __init__(self, code: int, *, hint: str) -> None:
        super().__init__(f"code {code}")
        self.code = code
        self.hint = hint


class Picky:
    """A value that is sent whatever it is, and cannot be made again of 3."""

    def __init__(self, number: int) -> None:
        self.number = number

    @classmethod
    def arrived(cls, number: int) -> Picky:
        if number == 3:
            raise ValueError("not 3")
        return cls(number)


register(Picky, lambda value: value.number, Picky.arrived, name="picky/1")


@plain.task
def number_of(value: Picky) -> int:
    return value.number


@plain.task
def double(x: int) -> int:
    return 2 * x


@plain.task
def add(a: int, b: int = 10, *, c: int = 0) -> int:
    return a + b + c


@plain.task
async def later(x: int) -> int:
    await asyncio.sleep(0.001)
    return x + 1


@plain.task
def echo(value: Any) -> Any:
    return value


@plain.task(affinity=lambda x: x % 7)
def by_key(x: int) -> int:
    return x


@plain.task
def wait(seconds: float) -> float:
    time.sleep(seconds)
    return seconds


@plain.task
def until(path: str) -> str:
    """Runs until there is a file."""
    while not Path(path).exists():
        time.sleep(0.01)
    return path


@plain.task
def note(log: str, number: int) -> int:
    """Notes that it runs, for a while."""
    with Path(log).open("a") as file:
        file.write(f"{number}\n")
    time.sleep(0.02)
    return number


@plain.task
def span(_: int) -> tuple[float, float]:
    begin = time.monotonic()
    time.sleep(0.01)
    return begin, time.monotonic()


@plain.task
def who(_: int) -> int:
    time.sleep(0.01)
    return os.getpid()


@plain.task
def fails_at(x: int, at: int = 3) -> int:
    if x == at:
        raise ValueError(f"no {x}")
    return x


@plain.task
def raises_own(x: int) -> NoReturn:
    raise OwnError(x, hint="turn it off and on")


@plain.task
def raises_unknown(_: int) -> NoReturn:
    """An exception of a class that only exists in the replica."""
    raise type("HomeMadeError", (Exception,), {"__module__": "nowhere"})("boom")


@plain.task
def exits(_: int) -> NoReturn:
    sys.exit(3)


@plain.task(retries=2)
def flaky(path: str) -> int:
    """Succeeds on the third try."""
    tries = len(Path(path).read_text()) if Path(path).exists() else 0
    Path(path).write_text("x" * (tries + 1))
    if tries < 2:
        raise RuntimeError(f"try {tries}")
    return tries


@plain.task(retries=5)
def hopeless(path: str) -> NoReturn:
    with Path(path).open("a") as file:
        file.write("x")
    raise NonRecoverableError("give up")


@plain.task(timeout=0.3)
def sleeps(seconds: float) -> float:
    time.sleep(seconds)
    return seconds


@plain.task(timeout=0.3)
def stuck_in_c(seconds: float) -> float:
    """Holds the interpreter's lock in C for the whole time: no signal handler of Python's runs."""
    if seconds > 0:
        ctypes.PyDLL(None).usleep(ctypes.c_uint(int(seconds * 1e6)))
    return seconds


@plain.task
def dies(x: int, at: int = 3, how: int = signal.SIGKILL) -> int:
    if x == at:
        os.kill(os.getpid(), how)
        time.sleep(10)
    return x


@plain.task
def dies_once(x: int, flag: str = "") -> int:
    if x == 5 and not Path(flag).exists():
        Path(flag).touch()
        os._exit(9)
    return x


@plain.task
def returns_object(_: int) -> Any:
    return object()


@plain.task
def calls_itself(x: int) -> int:
    time.sleep(0.05)  # every replica is in here before the first asks
    return double.remote(x)


@actor_cache
def loaded(name: str) -> tuple[str, int]:
    time.sleep(0.02)
    return name, os.getpid()


@actor_cache(maxsize=25)
def opened(password: str) -> bytes:
    return password.encode() * 100


@plain.task
def uses_secrets(password: str) -> int:
    return hash(opened(password))


@plain.task
def uses_cache(_: int) -> tuple[int, int]:
    loaded("model")
    return os.getpid(), loaded.cache_info().misses


@plain.task
def mostly_quick(x: int) -> int:
    if x == 5000:
        time.sleep(1.0)
    return x


@regular.task
def fresh(x: int) -> tuple[int, int]:
    return x, os.getpid()


@regular.task
def fresh_fails(x: int) -> int:
    return 1 // x


@regular.task(timeout=1.0)
def fresh_sleeps(seconds: float) -> float:
    time.sleep(seconds)
    return seconds


@regular.task
def fresh_dies(_: int) -> None:
    os.kill(os.getpid(), signal.SIGSEGV)


@regular.task
def fresh_closes(seconds: float) -> None:
    """Closes all files that it did not open, as daemons do."""
    os.closerange(3, 65_536)
    time.sleep(seconds)


@plain.task(timeout=0.3)
async def dawdles(path: str, seconds: float) -> float:
    """Notes when it wakes, which a stopped coroutine must not."""
    await asyncio.sleep(seconds)
    if seconds:
        await asyncio.to_thread(Path(path).touch)
    return seconds


@plain.task
def exits_once(flag: str, status: int) -> int:
    if not Path(flag).exists():
        Path(flag).touch()
        os._exit(status)
    return status


@plain.task
def notes(path: str, seconds: float) -> str:
    with Path(path).open("a") as file:
        file.write("x")
    time.sleep(seconds)
    return Path(path).read_text()


short_lived = ActorEnvironment("short-lived", isolation="none", max_tasks_per_child=10, lease_seconds=2)
spawning = ActorEnvironment("spawning", replica_count=2, start_method="spawn", lease_seconds=2)


@short_lived.task
def short_lived_pid(_: int) -> int:
    time.sleep(0.003)
    return os.getpid()


@spawning.task
def spawned_double(x: int) -> int:
    return 2 * x


class _SilentError(BaseException):
    def __str__(self) -> str:
        raise RuntimeError("no text")


class _OddError(Exception):
    @property
    def args(self) -> Any:  # type: ignore[override]  # on purpose
        raise ZeroDivisionError


class _Proxy:
    @property  # type: ignore[misc]  # on purpose
    def __class__(self) -> Any:
        raise RuntimeError("working outside of a request")


proxy = _Proxy()


@plain.task
def misbehaves(x: int, what: str = "") -> Any:
    """Does something nasty on one input of many quick ones."""
    if x != 150:
        return x
    if what == "surrogate":
        raise ValueError("name \udcff")
    if what == "base":
        raise _SilentError
    if what == "property":
        raise _OddError
    if what == "stop":
        raise StopIteration("s")
    if what == "stdout":
        sys.stdout = None
    if what == "fork":
        os.fork()
    if what == "class":
        return _Proxy()
    return x


@plain.task
def sturdy(x: int) -> int:
    time.sleep(0.002)
    return x


#: of a model: dear beside an input, and beside a stall of a busy machine, or it would be right to load it twice
LOAD_SECONDS = 0.05


@actor_cache
def models() -> set[str]:
    """What this replica has loaded so far."""
    return set()


def _use(model: str, seconds: float) -> tuple[str, int, bool]:
    """The model, who used it, and whether it had to be loaded for that."""
    loads = model not in models()
    if loads:
        time.sleep(LOAD_SECONDS)
        models().add(model)
    time.sleep(seconds)
    return model, os.getpid(), loads


@plain.task(affinity="model")
def uses_model(model: str, seconds: float = 0.002) -> tuple[str, int, bool]:
    return _use(model, seconds)


@plain.task(affinity=lambda number, model: [model.upper()])
def uses_second(number: int, model: str) -> tuple[str, int, bool]:
    return _use(model, 0.002)


@plain.task(affinity="model")
def dies_with_model(model: str, flag: str) -> tuple[str, int, bool]:
    if model.endswith("3") and not Path(flag).exists():
        Path(flag).touch()
        os._exit(9)
    return _use(model, 0.002)


@plain.task(affinity=lambda x: x["key"])
def uses_mapping(x: dict[str, Any]) -> int:
    return os.getpid()


@plain.task
def hands_over(x: int) -> str:
    """A job of its own environment, which it does not wait for."""
    return double.spawn(x, job_id=f"handed-over-{x}").job_id


@plain.task
def has_an_option(x: int, delay: int = 0) -> int:
    return x + delay


@plain.task
def needs(path: str, x: int) -> int:
    """Fails for every tenth input until there is a file."""
    if x % 10 == 3 and not Path(path).exists():
        raise FileNotFoundError(path)
    return x


@plain.task
def sized(rows: list[Any]) -> int:
    return len(rows)


@plain.task(retries=1)
def needs_with_retries(path: str, x: int) -> int:
    """Fails for every second input until there is a file."""
    if x % 2 and not Path(path).exists():
        raise FileNotFoundError(path)
    return x
