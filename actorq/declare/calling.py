"""How a task is called: `task.remote`, `task.map` and `task.starmap`."""

from __future__ import annotations

import functools
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Generic, Literal, ParamSpec, TypedDict, TypeVar, Unpack, cast, overload

from actorq.base import checks
from actorq.base.names import check_map_id, new_id
from actorq.declare.engine import engine
from actorq.declare.map_options import MapOptions
from actorq.errors import DeclarationError
from actorq.wire.messages import ONE, STAR

if TYPE_CHECKING:
    from actorq.declare.task import Task
    from actorq.maps.handle import MapHandle

P = ParamSpec("P")
R = TypeVar("R")
#: what a plain call returns: R, or a coroutine of R
C = TypeVar("C")


class CommonArguments(TypedDict, total=False):
    """Options that `Task.map` and `Task.spawn_map` share. `Task.map` says what they mean."""

    kwargs: Mapping[str, Any] | None
    concurrency: int | None
    min_success_ratio: float
    min_successes: int | None
    max_failures: int | None
    timeout: float | None
    priority: int


class MapArguments(CommonArguments, total=False):
    """Options of `Task.map`."""

    order_outputs: bool
    max_outstanding: int | None
    map_id: str | None
    progress: bool | None


class RemoteMethod(Generic[P, R]):
    """`task.remote`: call it, or its `aio`."""

    def __init__(self, task: Task[P, R, Any]) -> None:
        self._task = task

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Runs the task on a replica and returns its output. Raises what the task raised."""
        return cast("R", engine().call(self._task, args, kwargs))

    async def aio(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """The same, without blocking the event loop. Cancelled while it waits for a replica, it is not run."""
        import asyncio  # takes 30 ms to import, which only those pay who await

        submit = functools.partial(self._task.submit, *args, **kwargs)
        future = await asyncio.get_running_loop().run_in_executor(None, submit)  # may start a server and replicas
        return await asyncio.wrap_future(future)


class MapMethod(Generic[R]):
    """`task.map` and `task.starmap`: call it, or its `aio`."""

    def __init__(self, task: Task[Any, R, Any], mode: int) -> None:
        self._task = task
        self._mode = mode

    @overload
    def __call__(
        self, *iterables: Iterable[Any], return_exceptions: Literal[False] = ..., **options: Unpack[MapArguments]
    ) -> MapHandle[R]: ...

    @overload
    def __call__(
        self, *iterables: Iterable[Any], return_exceptions: Literal[True], **options: Unpack[MapArguments]
    ) -> MapHandle[R | Exception]: ...

    def __call__(
        self,
        *iterables: Iterable[Any],
        kwargs: Mapping[str, Any] | None = None,
        concurrency: int | None = None,
        order_outputs: bool = True,
        return_exceptions: bool = False,
        min_success_ratio: float = 1.0,
        min_successes: int | None = None,
        max_failures: int | None = None,
        max_outstanding: int | None = None,
        timeout: float | None = None,
        priority: int = 0,
        map_id: str | None = None,
        progress: bool | None = None,
        **unknown: Any,
    ) -> MapHandle[Any]:
        """Runs the task over inputs on the replicas, lazily on both sides, and yields the outputs in order.

        Work starts at once. Inputs are drawn in a thread of their own, as far ahead as the replicas and the bound on
        finished outputs need. By default the first input that fails for good stops the map, and its exception is
        raised at its place in the order. With any of the options that tolerate failures the map goes on, and a failed
        input yields None.

        Args:
            iterables: the inputs; several advance together (`f(a, b)`) and must be of equal length.
            kwargs: constant keyword arguments of every call.
            concurrency: replicas to use at most.
            order_outputs: False yields outputs as they come.
            return_exceptions: a failed input yields its exception.
            min_success_ratio: fail with `MapFailedError` when fewer succeed; below 1.0 failures are tolerated.
            min_successes: the same as a number.
            max_failures: fail with `MapFailedError` when more inputs fail.
            max_outstanding: inputs drawn and not yet yielded, at most. Default: 24 windows of leases, and 32 MiB; with
                affinity 96 windows, of which at least 256 inputs wait for each replica.
            timeout: seconds the whole map may take; then `MapTimeoutError`.
            priority: -9 to 9. While maps wait for the same replicas, one has ten times the time of another whose
                priority is one lower; at the same priority, the one that had least of it lately is next.
            map_id: name of the map; random by default.
            progress: True shows a line on stderr, None does where stderr is a terminal and
                ACTORQ_PROGRESS is set.
        """
        if unknown:
            method = "starmap" if self._mode == STAR else "map"
            raise TypeError(self._task.unknown_option(method, next(iter(unknown)), MapArguments.__annotations__))
        options = self.options_of(
            iterables,
            kwargs=kwargs,
            concurrency=concurrency,
            ordered=order_outputs,
            return_exceptions=return_exceptions,
            min_success_ratio=min_success_ratio,
            min_successes=min_successes,
            max_failures=max_failures,
            max_outstanding=max_outstanding,
            timeout=timeout,
            priority=priority,
        )
        map_id = new_id() if map_id is None else check_map_id(map_id)
        return cast("MapHandle[Any]", engine().map(self._task, iterables, options, map_id, progress))

    def options_of(
        self,
        iterables: tuple[Iterable[Any], ...],
        *,
        kwargs: Mapping[str, Any] | None = None,
        concurrency: int | None = None,
        **options: Any,
    ) -> MapOptions:
        """What a map over `iterables` is to do. Raises what `map` raises for arguments that make none."""
        task, mode, kwargs = self._task, self._mode, kwargs or {}
        if mode == ONE and len(iterables) > 1:
            mode = STAR
        if self._mode == STAR and len(iterables) != 1:
            raise DeclarationError("starmap() takes one iterable of argument tuples.")
        head = task.head(mode, kwargs)
        if self._mode == ONE and iterables:
            task.check_arity(len(iterables), kwargs)
        return MapOptions(
            environment=task.environment.name,
            head=head,
            rules=task.rules,
            single=not task.environment.warm,
            concurrency=task.environment.concurrency_of(checks.optional_whole("concurrency", concurrency, 1)),
            affinity=task.key_reader(mode, kwargs),
            **options,
        )

    @overload
    def aio(
        self,
        *iterables: Iterable[Any] | AsyncIterable[Any],
        return_exceptions: Literal[False] = ...,
        **options: Unpack[MapArguments],
    ) -> AsyncIterator[R]: ...

    @overload
    def aio(
        self,
        *iterables: Iterable[Any] | AsyncIterable[Any],
        return_exceptions: Literal[True],
        **options: Unpack[MapArguments],
    ) -> AsyncIterator[R | Exception]: ...

    def aio(self, *iterables: Iterable[Any] | AsyncIterable[Any], **options: Any) -> AsyncIterator[Any]:
        """The same, for `async for`. Takes the options of `map`, and async iterables beside plain ones."""
        return engine().outputs_async(lambda inputs: self(*inputs, **options), iterables)
