"""A task: a function that can also run on a replica, once or over a stream of inputs."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, Generic, Literal, ParamSpec, TypeVar, Unpack, cast, overload

from actorq.base import checks
from actorq.base.misspelt import unknown_option
from actorq.base.names import check_job_id, check_map_id, declares, new_id, public_module
from actorq.base.settings import settings
from actorq.declare.affinity_key import Affinity, check_affinity, key_reader
from actorq.declare.calling import CommonArguments, MapArguments, MapMethod, RemoteMethod
from actorq.declare.engine import JobOptions, RunOptions, engine
from actorq.declare.retry import Backoff, Rules
from actorq.errors import CodecError, DeclarationError
from actorq.wire import codec
from actorq.wire.carried.arrays import WRITING
from actorq.wire.messages import CALL, ONE, STAR, Head

if TYPE_CHECKING:
    from concurrent.futures import Future

    from actorq.declare.environment import Environment
    from actorq.maps.handle import MapHandle
    from actorq.runs.handle import Run
    from actorq.runs.job import Job

P = ParamSpec("P")
R = TypeVar("R")
#: what a plain call returns: R, or a coroutine of R
C = TypeVar("C")

#: options of `spawn_map` that `CommonArguments` does not have
_RUN_OPTIONS = ("map_id", "result_ttl", "expires", "progress", "order_outputs")
#: Unix seconds of the year 5138: larger ones are milliseconds
_LATEST = 1e11
#: options of `spawn`, where they are not given; seconds
_NO_DELAY, _DAY_SECONDS, _WEEK_SECONDS = 0.0, 86_400, 604_800
_JOB_DEFAULTS = {
    "delay": _NO_DELAY,
    "at": None,
    "job_id": None,
    "result_ttl": _DAY_SECONDS,
    "expires": _WEEK_SECONDS,
}
#: retries beyond this are a loop, not a retry
_MOST_RETRIES = 1000


@dataclass(frozen=True, kw_only=True)
class TaskOptions:
    """What `@env.task(...)` was given."""

    retries: int = 0
    retry_delay: Backoff = field(default_factory=Backoff)
    timeout: float | None = None
    affinity: Affinity | None = None
    writable: bool = False

    @classmethod
    def checked(
        cls,
        *,
        retries: int,
        retry_delay: Backoff | float,
        timeout: float | None,
        affinity: Affinity | None,
        writable: bool,
    ) -> TaskOptions:
        retries = checks.whole("retries", retries, 0, _MOST_RETRIES)
        if not isinstance(retry_delay, Backoff):
            delay = checks.number("retry_delay", retry_delay, 0, checks.MOST_SECONDS, what="a Backoff, or seconds")
            retry_delay = Backoff(base=delay, factor=1.0)
        timeout = checks.some_seconds("timeout", timeout)
        if not isinstance(writable, bool):
            raise DeclarationError(f"writable={writable!r}: True gives the task arrays that it may write to.")
        return cls(retries=retries, retry_delay=retry_delay, timeout=timeout, affinity=affinity, writable=writable)


class Task(Generic[P, R, C]):
    """A function declared on an environment. `Task[parameters, output, what a plain call returns]`.

    `task(x)` runs it here. `task.remote(x)` runs it on a replica, `task.submit(x)` returns a
    `concurrent.futures.Future`, `task.map(xs)` an iterator over ordered outputs.
    """

    def __init__(self, environment: Environment, function: Callable[P, C], options: TaskOptions) -> None:
        if not inspect.isfunction(function):
            raise DeclarationError(f"@task needs a function, not a {type(function).__name__}.")
        if "<locals>" in function.__qualname__:
            raise DeclarationError(
                f"Task {function.__qualname__!r} is defined inside a function, where a replica cannot find it: "
                "move it to the top of its module."
            )
        if function.__name__ == "<lambda>":
            raise DeclarationError("A lambda has no name a replica could find: use def.")
        if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
            raise DeclarationError(f"Task {function.__qualname__!r} is a generator: return a list instead.")
        declares(function.__globals__)
        functools.update_wrapper(self, function)
        self.environment = environment
        self.function = function
        self._signature = inspect.signature(function)
        #: positional arguments of a call that needs no look at the signature, None where there is no such call
        self._positional = _required(self._signature)
        self.options = options
        if options.writable:
            WRITING.add(function)
        self.name = f"{_module_name(function)}.{function.__qualname__}"
        if options.affinity is not None:
            if not environment.warm:
                raise DeclarationError(
                    f"affinity= of {self.name}: the fresh process of a regular task's input holds nothing. "
                    "Declare it on an ActorEnvironment."
                )
            check_affinity(options.affinity, self.name, self._signature)
        self.remote: RemoteMethod[P, R] = RemoteMethod(self)
        self.map: MapMethod[R] = MapMethod(self, ONE)
        self.starmap: MapMethod[R] = MapMethod(self, STAR)

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> C:
        return cast("C", self.function(*args, **kwargs))

    def submit(self, *args: P.args, **kwargs: P.kwargs) -> Future[R]:
        """Runs the task on a replica; returns a future at once."""
        return cast("Future[R]", engine().submit(self, args, kwargs))

    def spawn_map(
        self,
        *iterables: Iterable[Any],
        map_id: str | None = None,
        result_ttl: float = _DAY_SECONDS,
        expires: float = _WEEK_SECONDS,
        progress: bool | None = None,
        order_outputs: bool = True,
        return_exceptions: bool = False,
        **options: Unpack[CommonArguments],
    ) -> Run[R]:
        """Starts a map that outlives this program, and returns when every input is on the server.

        Workers of the environment drive it. Called again with the same `map_id`, task and inputs, it attaches to the
        run that is there, and stores what is missing: so running the same script again resumes it.

        Args:
            iterables: the inputs, as for `map`.
            map_id: name of the run; random by default, see `repr` of what is returned.
            result_ttl: seconds that outputs are kept after the end.
            expires: seconds after which a run that has not ended is dropped.
            progress: as for `map`, while inputs are stored.
            order_outputs: False has readers get outputs as they come.
            return_exceptions: readers get the exception of a failed input at its place.
            options: `kwargs`, `concurrency`, `min_success_ratio`, `min_successes`, `max_failures`, `timeout` and
                `priority`, as for `map`.

        Raises `MapConflictError` for other inputs than those of the run that is there, `CodecError` for an input that
        cannot be carried, and `BrokerError`. Runs do not look at `affinity=`.

        Example:
            run = embed.spawn_map(texts, map_id="wiki-2026-11")
            print(run.wait())
        """
        known = CommonArguments.__annotations__
        for name in options:
            if name not in known:
                raise TypeError(self.unknown_option("spawn_map", name, [*known, *_RUN_OPTIONS]))
        made = self.map.options_of(iterables, ordered=order_outputs, return_exceptions=return_exceptions, **options)
        kept = RunOptions(
            expires=int(checks.seconds("expires", expires, 60)),
            result_ttl=int(checks.seconds("result_ttl", result_ttl, 1)),
            progress=progress,
        )
        map_id = new_id() if map_id is None else check_map_id(map_id)
        return cast("Run[R]", engine().spawn_map(self, iterables, made, map_id, kept))

    def spawn(
        self,
        *args: Any,
        delay: float = _NO_DELAY,
        at: datetime | float | None = None,
        job_id: str | None = None,
        result_ttl: float = _DAY_SECONDS,
        expires: float = _WEEK_SECONDS,
        **kwargs: Any,
    ) -> Job[R]:
        """Hands one call over to the replicas, which run it whether or not this program goes on.

        Called again with the same `job_id` and arguments, it finds the job that is there.

        Args:
            args, kwargs: of the task. One of its parameters that has the name of an option is given by position.
            delay: seconds until it is to run, from now or from `at`.
            at: when it is to run: a `datetime` (local time, if it has no zone) or Unix seconds.
            job_id: its name, in RQ's tools too; random by default.
            result_ttl: seconds that its result is kept.
            expires: seconds after which it is dropped if it has not run, from when it was to run.

        Raises `MapConflictError` where a job of this name does something else, `CodecError` for an argument that cannot
        be carried, `TypeError` for a call that the task does not take, and `BrokerError`.

        Example:
            job = embed.spawn("x", delay=60)
            print(job.result(timeout=90))
        """
        given = {"delay": delay, "at": at, "job_id": job_id, "result_ttl": result_ttl, "expires": expires}
        for name in given.keys() & self._signature.parameters.keys():
            if given[name] is not _JOB_DEFAULTS[name] and name not in self._signature.bind_partial(*args).arguments:
                raise TypeError(f"{self.name}(): its parameter {name!r} is an option of spawn: give it by position.")
        options = JobOptions(
            delay=checks.number("delay", delay, 0, checks.MOST_SECONDS),
            at=_unix_seconds(at),
            expires=int(checks.seconds("expires", expires, 60)),
            result_ttl=int(checks.seconds("result_ttl", result_ttl, 1)),
        )
        job_id = new_id() if job_id is None else check_job_id(job_id)
        return cast("Job[R]", engine().spawn(self, args, kwargs, job_id, options))

    def unknown_option(self, method: str, name: str, known: Iterable[str]) -> str:
        """What is wrong with an option that `method` does not have, and what to do."""
        if name in self._signature.parameters:
            return f"{method}() has no option {name!r}; as an argument of every call, give kwargs={{{name!r}: ...}}."
        return unknown_option(method, name, [*known, "return_exceptions"])

    def pack_call(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bytes:
        """One call as the inputs of a lease. Raises `TypeError` for a call the function cannot take, and `CodecError`
        naming the argument that cannot be carried.
        """
        self.check_call(args, kwargs)
        limit = settings().max_payload_bytes
        try:
            return codec.pack_list([[list(args), kwargs]], limit, lambda i: f"The arguments of {self.name}")
        except CodecError:
            named = [(str(i + 1), value) for i, value in enumerate(args)] + [(f"{k}=", v) for k, v in kwargs.items()]
            for name, value in named:
                shown = f"Argument {name} of {self.name}"
                codec.pack_list([value], limit, functools.partial(_constant, shown))
            raise

    def check_call(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
        """Raises `TypeError` now, and not on a replica, for arguments the function does not take."""
        if self._positional is None or len(args) != self._positional or kwargs:
            try:
                self._signature.bind(*args, **kwargs)
            except TypeError as error:
                raise TypeError(f"{self.name}(): {error}") from None

    def check_arity(self, iterables: int, kwargs: Mapping[str, Any]) -> None:
        """Raises `TypeError` now for a map whose every call would lack an argument, or have one too many."""
        try:
            self._signature.bind(*(None,) * iterables, **kwargs)
        except TypeError as error:
            hint = " Argument tuples are for starmap()." if iterables == 1 else ""
            given = "1 iterable" if iterables == 1 else f"{iterables} iterables"
            raise TypeError(f"{self.name}(), mapped over {given}: {error}.{hint}") from None

    def head(self, mode: int, kwargs: Mapping[str, Any]) -> Head:
        """What a replica needs to know of a map of this task. Raises `CodecError` naming an argument."""
        try:
            self._signature.bind_partial(**kwargs)
        except TypeError as error:
            raise DeclarationError(f"kwargs= of a map over {self.name}: {error}.") from None
        for name, value in kwargs.items():
            try:
                codec.pack(value)
            except CodecError as error:
                at = codec.where(value)
                raise CodecError(f"Argument {name}= of {self.name}{at} cannot be carried: {error}") from error
        packed = codec.pack(dict(kwargs)) if kwargs else b""
        strict = self.environment.code == "strict"
        return Head(
            task=self.name,
            mode=mode,
            kwargs=packed,
            timeout=self.options.timeout,
            fingerprint=self._fingerprint(strict),
            strict=strict,
        )

    def _fingerprint(self, strict: bool) -> str:
        """Which code this is. Raises `DeclarationError` where that must be known and cannot be."""
        from actorq.code.fingerprint import FINGERPRINTS  # not before the first map: import actorq stays light

        found = FINGERPRINTS.of(self.function)
        if strict and not found.text:
            raise DeclarationError(
                f"{self.environment.name!r} is declared with code='strict', and which code {self.name} is cannot be "
                f"told: {found.unknown}, which may have changed it. Declare it in a module that is imported as it is."
            )
        return found.text

    @property
    def rules(self) -> Rules:
        """What becomes of inputs that fail."""
        return Rules(
            retries=self.options.retries,
            retry_delay=self.options.retry_delay,
            max_crashes=self.environment.max_crashes,
            shared=self.environment.shared,
            timeout=self.options.timeout,
        )

    def key_reader(self, mode: int, constants: Mapping[str, Any]) -> Callable[[Any], Any] | None:
        """What makes the affinity key of an input as a map draws it; None for a task without affinity."""
        if self.options.affinity is None:
            return None
        return key_reader(self.options.affinity, self._signature, mode, constants)

    def __dir__(self) -> list[str]:
        """What users use: the rest is for those who run it."""
        return [
            "environment",
            "function",
            "map",
            "name",
            "options",
            "remote",
            "spawn",
            "spawn_map",
            "starmap",
            "submit",
        ]

    def __repr__(self) -> str:
        return f"<task {self.name} of {self.environment.name!r}>"

    def __reduce__(self) -> str:
        return self.function.__qualname__  # a module-level name, as for functions


def _unix_seconds(at: datetime | float | None) -> float | None:
    if at is None:
        return None
    seconds: Any
    try:
        seconds = at.timestamp() if isinstance(at, datetime) else at
    except (ValueError, OverflowError, OSError):  # a year that the system's clock does not know
        seconds = at
    return checks.number("at", seconds, 0, _LATEST, what="a datetime, or Unix seconds")


def _constant(text: str, _position: int) -> str:
    return text


def _required(signature: inspect.Signature) -> int | None:
    """How many arguments every call has, if all are positional and none has a default."""
    plain = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    parameters = signature.parameters.values()
    if all(p.kind in plain and p.default is p.empty for p in parameters):
        return len(parameters)
    return None


@overload
def map_(
    target: Task[..., R, Any] | functools.partial[R],
    *iterables: Iterable[Any],
    return_exceptions: Literal[False] = ...,
    **options: Unpack[MapArguments],
) -> MapHandle[R]: ...


@overload
def map_(
    target: Task[..., R, Any] | functools.partial[R],
    *iterables: Iterable[Any],
    return_exceptions: Literal[True],
    **options: Unpack[MapArguments],
) -> MapHandle[R | Exception]: ...


def map_(target: Any, *iterables: Iterable[Any], **options: Any) -> MapHandle[Any]:
    """`target.map(*iterables, **options)`, where `target` may be a `functools.partial` of a task with keywords bound.

    Raises `DeclarationError` for anything else.
    """
    if isinstance(target, functools.partial):
        if target.args:
            raise DeclarationError("map() takes a partial with keyword arguments only: bind positions by name.")
        options["kwargs"] = {**target.keywords, **(options.get("kwargs") or {})}
        target = target.func
    if not isinstance(target, Task):
        raise DeclarationError(f"map() needs a task (@env.task), not a {type(target).__name__}.")
    return target.map(*iterables, **options)


def _module_name(function: Callable[..., Any]) -> str:
    try:
        return public_module(function.__module__)
    except DeclarationError:
        return function.__module__  # interactive: told when it is sent, a plain call works


__all__ = ["CALL", "MapMethod", "Task", "TaskOptions", "map_"]
