"""What runs tasks, as those see it who declare them.

The one idea: *declaring needs nothing of running*. A task or an environment asks `engine()`, and the package says at
its import which one that is (`actorq.runtime.program`, which is loaded when it is first asked for). So imports point
one way: the runtime knows tasks and environments, and these know a few calls.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

if TYPE_CHECKING:
    from concurrent.futures import Future


class RunOptions(NamedTuple):
    """What `spawn_map` takes beside the options of a map."""

    #: seconds after which a run that has not ended is dropped
    expires: int
    #: seconds that results are kept after its end
    result_ttl: int
    #: a line on stderr while inputs are stored; None where that is a terminal and ACTORQ_PROGRESS is set
    progress: bool | None


class JobOptions(NamedTuple):
    """What `spawn` takes beside the arguments of the call."""

    #: seconds from now, or from `at`, until it is to run
    delay: float
    #: Unix seconds; None: now
    at: float | None
    #: seconds after which a job that has not run is dropped, from when it was to run
    expires: int
    #: seconds that its result is kept
    result_ttl: int


class PoolControl(Protocol):
    """The replicas of environments."""

    def up(self, environment: Any) -> None: ...
    def down(self, environment: Any) -> None: ...
    def scale(self, environment: Any, replicas: int) -> None: ...
    def status(self, environment: Any) -> Any: ...


class Engine(Protocol):
    """Runs tasks."""

    @property
    def control(self) -> PoolControl: ...
    def map(self, task: Any, iterables: Any, options: Any, map_id: str, progress: bool | None) -> Any: ...
    def spawn_map(self, task: Any, iterables: Any, options: Any, map_id: str, kept: RunOptions) -> Any: ...
    def spawn(self, task: Any, args: Any, kwargs: dict[str, Any], job_id: str, options: JobOptions) -> Any: ...
    def attach(self, map_id: str) -> Any: ...
    def job(self, job_id: str) -> Any: ...
    def outputs_async(self, start: Callable[[Any], Any], iterables: Any) -> AsyncIterator[Any]: ...
    def call(self, task: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any: ...
    def submit(self, task: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Future[Any]: ...


_provide: Callable[[], Engine] | None = None


def install(provide: Callable[[], Engine]) -> None:
    """Says what `engine()` is."""
    global _provide
    _provide = provide


@contextmanager
def replaced(provide: Callable[[], Engine]) -> Iterator[None]:
    """`engine()` is another one meanwhile."""
    global _provide
    before, _provide = _provide, provide
    try:
        yield
    finally:
        _provide = before


def engine() -> Engine:
    """What runs the tasks of this process."""
    assert _provide is not None  # `import actorq` has installed one
    return _provide()
