"""Environments: where tasks are declared, and how many warm replicas serve them.

A misspelt or out-of-range argument is an error at declaration, never at run time. `ActorEnvironment` keeps the names
and limits that users of Union's actors know.
"""

from __future__ import annotations

import inspect
import os
import sys
from collections.abc import Callable, Coroutine, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, ParamSpec, Protocol, TypeVar, cast, overload

from actorq.base import checks, misspelt
from actorq.base.misspelt import suggests
from actorq.base.names import DECLARING, check_environment, execution
from actorq.base.settings import settings
from actorq.declare.engine import engine
from actorq.declare.hooks import Hooked
from actorq.declare.retry import Backoff
from actorq.declare.task import Task, TaskOptions
from actorq.errors import DeclarationError

if TYPE_CHECKING:
    from actorq.declare.status import PoolStatus

P = ParamSpec("P")
R = TypeVar("R")

#: levels of `isolation`; what each restores between two inputs is a table in docs/isolation.md
ISOLATION = ("none", "reset", "fork")
#: how replicas start: forked from one warmed parent, each a new interpreter, or the first where that is safe
START_METHODS = ("auto", "fork", "spawn")
#: where the code of pods comes from
CODE = ("image", "bundle", "strict")
#: Union's limits of an idle pool's life, seconds; more is allowed here, less is not
_TTL_LEAST = 30
#: inputs one replica may run at the same time; each costs a thread and two connections
_MOST_SLOTS = 256
#: 1/3 is not exact
_NEARLY = 1e-6
#: attributes for those who run tasks
_INNER = {"all", "at_exit", "at_start", "concurrency_of", "declared", "hook_modules", "modules", "of", "shared", "warm"}
#: no machine has more
_MOST_GPUS = 1000
#: of one replica's libraries
_MOST_THREADS = 4096


class Declare(Protocol):
    """What `@env.task(...)` returns: the decorator."""

    @overload
    def __call__(self, function: Callable[P, Coroutine[Any, Any, R]], /) -> Task[P, R, Coroutine[Any, Any, R]]: ...

    @overload
    def __call__(self, function: Callable[P, R], /) -> Task[P, R, R]: ...


class Environment:
    """What both kinds of environment share: a name, and the tasks declared on it."""

    _declared: ClassVar[dict[str, Environment]] = {}
    #: replicas are warm: inputs share a process
    warm: ClassVar[bool]
    #: replicas an input may take down before it fails with `ReplicaLostError`
    max_crashes: int

    def __init__(
        self,
        name: str,
        *,
        container_image: str | None = None,
        environment: Mapping[str, str] | None = None,
        requests: Mapping[str, str | int] | None = None,
        limits: Mapping[str, str | int] | None = None,
        pod_template: Mapping[str, Any] | None = None,
        code: str | None = None,
    ) -> None:
        self.name = check_environment(name)
        #: image of its pods; unused on one machine
        self.container_image = container_image
        #: environment variables of its replicas
        self.environment = checks.texts("environment", environment)
        #: resources of its pods, as Kubernetes writes them; unused on one machine
        self.requests = dict(requests or {})
        self.limits = dict(limits or {})
        #: laid over the PodTemplateSpec of its pods; unused on one machine
        self.pod_template = _template(pod_template)
        #: "image": pods have the tasks' code; "bundle": it travels with the map; None: as it is installed or not
        self.code = None if code is None else checks.one_of("code", code, CODE)
        self.tasks: dict[str, Task[Any, Any, Any]] = {}
        self._executions: dict[str, object] = {}
        self._declared_at, self._declared_by = _caller()
        other = Environment._declared.get(name)
        if other is not None and other._declared_at != self._declared_at and not self._replaces(other):
            raise DeclarationError(
                f"An environment named {name!r} is already declared at {':'.join(map(str, other._declared_at))}: "
                "import that one, or choose another name."
            )
        Environment._declared[name] = self

    def _replaces(self, other: Environment) -> bool:
        """Whether the module that declared `other` has been reloaded, and declares this one."""
        return self._declared_at[0] == other._declared_at[0] and self._declared_by is not other._declared_by

    def _declares(self, module: str, execution: object) -> None:
        """Something is declared by `module`; if that was reloaded, what it had declared before is gone."""
        if self._executions.setdefault(module, execution) is not execution:
            self._executions[module] = execution
            self._forget(module)
        DECLARING.add(module)

    def _forget(self, module: str) -> None:
        self.tasks = {name: task for name, task in self.tasks.items() if task.function.__module__ != module}

    @property
    def shared(self) -> bool:
        """Whether inputs run at the same time in one process."""
        return False

    def concurrency_of(self, asked: int | None) -> int | None:
        """Replicas a map uses at most, when its caller asked for `asked`."""
        return asked

    @property
    def modules(self) -> set[str]:
        """The modules that declare something on it: a replica has to import them all."""
        return {task.function.__module__ for task in self.tasks.values()}

    @classmethod
    def all(cls) -> list[Environment]:
        """Every environment that the imported modules declare."""
        return list(Environment._declared.values())

    @classmethod
    def of(cls, name: str) -> list[Environment]:
        """The environment of this name, if the imported modules declare one."""
        environment = Environment._declared.get(name)
        return [] if environment is None else [environment]

    @overload
    def task(self, function: Callable[P, Coroutine[Any, Any, R]], /) -> Task[P, R, Coroutine[Any, Any, R]]: ...

    @overload
    def task(self, function: Callable[P, R], /) -> Task[P, R, R]: ...

    @overload
    def task(
        self,
        /,
        *,
        retries: int = 0,
        retry_delay: Backoff | float = 0.0,
        timeout: float | None = None,
        affinity: str | Callable[..., Any] | None = None,
        writable: bool = False,
    ) -> Declare: ...

    @suggests("task")
    def task(
        self,
        function: Callable[..., Any] | None = None,
        /,
        *,
        retries: int = 0,
        retry_delay: Backoff | float = 0.0,
        timeout: float | None = None,
        affinity: str | Callable[..., Any] | None = None,
        writable: bool = False,
    ) -> Any:
        """Declares a function as a task of this environment. Called plainly it is still just the function.

        Args:
            retries: how often an input whose body raised is tried again; `NonRecoverableError` is never retried.
            retry_delay: seconds before a retry, or a `Backoff`.
            timeout: seconds one input may take; then its body is stopped and the input fails with `TaskTimeoutError`.
            affinity: the name of a parameter, or a function of the arguments that returns a key. Inputs of a map (or of
                `submit`) with equal keys prefer the replica that ran one before, which still holds what `@actor_cache`
                loaded for it; a replica that would idle takes others. `remote` goes to whoever is free.
            writable: arrays in its inputs are copies that it may write to. They arrive read-only otherwise.
        """
        options = TaskOptions.checked(
            retries=retries, retry_delay=retry_delay, timeout=timeout, affinity=affinity, writable=writable
        )

        def declare(function: Callable[..., Any]) -> Task[Any, Any, Any]:
            self._check(function)
            task: Task[Any, Any, Any] = Task(self, function, options)
            self._declares(function.__module__, execution(function.__globals__))
            other = self.tasks.get(task.name)
            if other is not None and other.function.__code__.co_firstlineno != function.__code__.co_firstlineno:
                raise DeclarationError(f"Environment {self.name!r} already has a task {task.name!r}: rename one.")
            self.tasks[task.name] = task
            return task

        return declare if function is None else declare(function)

    def _check(self, function: Callable[..., Any]) -> None:
        """Raises `DeclarationError` for a function that cannot be a task here."""

    def __dir__(self) -> list[str]:
        """What users use: the rest is for those who run it."""
        return [name for name in super().__dir__() if not name.startswith("_") and name not in _INNER]

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name!r})"


class ActorEnvironment(Environment, Hooked):
    """A fixed number of warm replicas that take inputs one at a time and keep what `@actor_cache` loaded.

    Args:
        name: lower-case letters, digits and '-', at most 63; the RQ queue and the Kubernetes objects carry it.
        replica_count: replicas to run (a local pool), or to create (a cluster).
        ttl_seconds: how long an idle pool on a cluster lives; None for ever. At least 30.
        isolation: what is restored between two inputs: "reset" (default), "none", or "fork": each runs in a
            child of the replica, which keeps nothing but what `@actor_cache` loads.
        lease_seconds: how soon the loss of a whole replica is noticed, 1 to 3600. A dead executor is seen at once.
        drain_seconds: how long a stopping replica may finish its input.
        start_method: "fork" starts replicas from one parent that has imported the task's module; "spawn" starts an
            interpreter for each. "auto" (default) forks unless that import has started threads or an event loop, or
            opened a GPU, none of which can be forked.
        max_crashes: replicas an input may take down before it fails with `ReplicaLostError`.
        max_tasks_per_child: inputs after which an executor is replaced.
        max_memory_per_child: bytes of resident memory above which an executor is replaced, looked at between leases.
        concurrency: inputs of `async def` tasks that a replica runs at the same time, on one event loop. With more than
            one, all tasks must be `async def` and `isolation` "none"; each input still has a context, a timeout and a
            cancellation of its own.
        max_seconds_per_child: age at which an executor is replaced, give or take a tenth, so that replicas that started
            together do not reload together. Whatever it is replaced for, the next one first loads what `@actor_cache`
            held (100 values at most).
        threads: threads that the libraries of a replica may start (BLAS, OpenMP, PyTorch, Polars, …). By default its
            share of the processors that this machine, or container, may use. A variable that is set (OMP_NUM_THREADS)
            goes before both.
        gpus: GPUs of each replica, dealt by CUDA_VISIBLE_DEVICES: 2, or 0.5 where two replicas share one.
        container_image: image of the replicas' pods; it has actorq and the tasks' code. With
            `ACTORQ_KUBERNETES_NAMESPACE` set, the first map makes them, unless a chart release serves the environment.
        environment: environment variables of the replicas.
        requests, limits: resources of the pods, as Kubernetes writes them: {"cpu": "500m", "nvidia.com/gpu": 1}.
        pod_template: piece of a PodTemplateSpec that is laid over theirs; their container is called "actorq".
        code: "image" if replicas have the tasks' code, "bundle" if the project's own files are sent with each map.
            By default a script or a project that is not installed is sent to pods made on demand. Replicas whose code
            is another one than the submitter's run it, with a warning there; "strict" makes that an error.

    Raises `DeclarationError` for a value out of range.
    """

    warm = True

    @suggests("ActorEnvironment")
    def __init__(
        self,
        name: str,
        *,
        replica_count: int = 1,
        ttl_seconds: int | None = 90,
        isolation: str = "reset",
        lease_seconds: float = 10.0,
        drain_seconds: float = 30.0,
        start_method: str = "auto",
        max_crashes: int = 2,
        max_tasks_per_child: int | None = None,
        max_memory_per_child: int | None = None,
        concurrency: int = 1,
        max_seconds_per_child: float | None = None,
        threads: int | None = None,
        gpus: float | None = None,
        container_image: str | None = None,
        environment: Mapping[str, str] | None = None,
        requests: Mapping[str, str | int] | None = None,
        limits: Mapping[str, str | int] | None = None,
        pod_template: Mapping[str, Any] | None = None,
        code: str | None = None,
    ) -> None:
        self.replica_count = checks.whole("replica_count", replica_count, 1, 10_000)
        self.ttl_seconds = None if ttl_seconds is None else checks.whole("ttl_seconds", ttl_seconds, _TTL_LEAST, 10**9)
        self.isolation = checks.one_of("isolation", isolation, ISOLATION)
        self.lease_seconds = checks.seconds("lease_seconds", lease_seconds, 1, 3600)
        self.drain_seconds = checks.seconds("drain_seconds", drain_seconds, 0, 10**6)
        self.start_method = checks.one_of("start_method", start_method, START_METHODS)
        self.max_crashes = checks.whole("max_crashes", max_crashes, 0, 1000)
        self.max_tasks_per_child = checks.optional_whole("max_tasks_per_child", max_tasks_per_child, 1)
        self.max_memory_per_child = checks.optional_whole("max_memory_per_child", max_memory_per_child, 1 << 20)
        self.concurrency = checks.whole("concurrency", concurrency, 1, _MOST_SLOTS)
        if concurrency > 1 and isolation != "none":
            raise DeclarationError(
                f"concurrency={concurrency} with isolation={isolation!r}: inputs that run at the same time in one "
                "process share its state, so declare isolation='none' and mean it."
            )
        if max_seconds_per_child is not None:
            max_seconds_per_child = checks.seconds("max_seconds_per_child", max_seconds_per_child, 1, 10**9)
        self.max_seconds_per_child = max_seconds_per_child
        self.threads = None if threads is None else checks.whole("threads", threads, 1, _MOST_THREADS)
        self.gpus = None if gpus is None else _gpus(gpus)
        Hooked.__init__(self)
        super().__init__(
            name,
            container_image=container_image,
            environment=environment,
            requests=requests,
            limits=limits,
            pod_template=pod_template,
            code=code,
        )

    @property
    def modules(self) -> set[str]:
        return super().modules | self.hook_modules

    def _forget(self, module: str) -> None:
        super()._forget(module)
        self._forget_hooks(module)

    @property
    def shared(self) -> bool:
        return self.concurrency > 1

    def _check(self, function: Callable[..., Any]) -> None:
        if self.shared and not inspect.iscoroutinefunction(function):
            raise DeclarationError(
                f"{getattr(function, '__qualname__', function)!r} is not `async def`, and {self.name!r} runs "
                f"{self.concurrency} inputs at a time on one event loop, which it would block: declare it `async def`, "
                "or in an environment without `concurrency`."
            )

    def up(self) -> None:
        """Starts the replicas, `replica_count` of them, before a map needs them.

        Raises `PoolError` where somebody else starts them, and what the cluster says when it refuses.
        """
        engine().control.up(self)

    def down(self) -> None:
        """Ends the replicas. Inputs that run finish; the next map starts them again."""
        engine().control.down(self)

    def status(self) -> PoolStatus:
        """How many replicas there should be, how many serve, and what keeps the others from it."""
        return cast("PoolStatus", engine().control.status(self))

    def scale(self, replicas: int) -> None:
        """Sets the number of replicas on a cluster; running maps follow within seconds.

        Raises `PoolError` when there is nothing to scale.
        """
        engine().control.scale(self, checks.whole("replicas", replicas, 0, 10_000))

    @classmethod
    def declared(cls, name: str) -> ActorEnvironment:
        """The environment of this name that the imported modules declare. Raises `DeclarationError` if none does."""
        environment = Environment._declared.get(name)
        if not isinstance(environment, ActorEnvironment):
            names = ", ".join(sorted(n for n, e in Environment._declared.items() if isinstance(e, ActorEnvironment)))
            raise DeclarationError(
                f"No ActorEnvironment named {name!r} is declared here (declared: {names or 'none'})."
            )
        return environment


class TaskEnvironment(Environment):
    """Regular tasks: a fresh process (on a cluster, a fresh pod) for every input. Strict isolation, no warm state.

    Args:
        name: as for `ActorEnvironment`.
        concurrency: inputs that run at the same time; None is the machine's processors, and on a cluster all.
        max_crashes: processes an input may take down before it fails with `ReplicaLostError`.
        container_image, environment, requests, limits, pod_template, code: of its pods, as for `ActorEnvironment`. With
            `ACTORQ_KUBERNETES_NAMESPACE` set, every input runs in a pod of its own.
    """

    warm = False

    @suggests("TaskEnvironment")
    def __init__(
        self,
        name: str,
        *,
        concurrency: int | None = None,
        max_crashes: int = 0,
        container_image: str | None = None,
        environment: Mapping[str, str] | None = None,
        requests: Mapping[str, str | int] | None = None,
        limits: Mapping[str, str | int] | None = None,
        pod_template: Mapping[str, Any] | None = None,
        code: str | None = None,
    ) -> None:
        self.concurrency = None if concurrency is None else checks.whole("concurrency", concurrency, 1, 100_000)
        self.max_crashes = checks.whole("max_crashes", max_crashes, 0, 1000)
        super().__init__(
            name,
            container_image=container_image,
            environment=environment,
            requests=requests,
            limits=limits,
            pod_template=pod_template,
            code=code,
        )

    def concurrency_of(self, asked: int | None) -> int | None:
        in_pods = settings().kubernetes_namespace is not None
        most = self.concurrency or (None if in_pods else os.cpu_count() or 1)
        return min(filter(None, (most, asked)), default=None)


def _caller() -> tuple[tuple[str, int], object]:
    """Where the environment is being declared, the first frame outside this module, and by which import of it."""
    frame = sys._getframe(1)
    while frame.f_code.co_filename in {__file__, misspelt.__file__} and frame.f_back is not None:
        frame = frame.f_back
    return (str(Path(frame.f_code.co_filename).resolve()), frame.f_lineno), execution(frame.f_globals)


def _gpus(value: object) -> float:
    """A whole number, or one part of several."""
    if not isinstance(value, bool) and isinstance(value, (int, float)) and 0 < value <= _MOST_GPUS:
        parts = value if value >= 1 else 1 / value
        if abs(parts - round(parts)) < _NEARLY:
            return float(round(value)) if value >= 1 else float(value)
    raise DeclarationError(f"gpus={value!r}: give a whole number, or a part that divides one, as 0.5 or 0.25.")


def _template(value: Mapping[str, Any] | None) -> dict[str, Any]:
    unknown = set(value or {}) - {"metadata", "spec"}
    if unknown:
        raise DeclarationError(f"pod_template has {sorted(unknown)}: give 'metadata' and 'spec', as in a Deployment.")
    return dict(value or {})


def function_of(environment: str, task: str) -> Callable[..., Any] | None:
    """What a task runs, as the imported modules declare it; None where none does."""
    for declared in Environment.of(environment):
        if (found := declared.tasks.get(task)) is not None:
            return found.function
    return None
