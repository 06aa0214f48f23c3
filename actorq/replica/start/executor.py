"""Where an executor process begins and ends, and which kind of executor it runs."""

from __future__ import annotations

import inspect
import os
import signal
import traceback
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from actorq.base import log
from actorq.base.captured import LineWriter, pipe_in
from actorq.base.prefix import keep_lines
from actorq.code.modules import own_modules
from actorq.declare.environment import ActorEnvironment
from actorq.isolation import handlers
from actorq.isolation.fork.randomness import generators_of, reseed
from actorq.replica import context
from actorq.replica.executor.executor import Executor
from actorq.replica.executor.run import flush_streams, memory_ran_out
from actorq.replica.executor.runner import Lent, Runner
from actorq.replica.leftovers import leave_failure
from actorq.replica.pages import MAX_SLOTS, STARTING, Page, Pages
from actorq.replica.spec import NO_MEMORY, SERVE_FAILED, START_FAILED, WAKE_SIGNAL, WORN_OUT, ExecutorSpec
from actorq.replica.start import processors

if TYPE_CHECKING:
    from actorq.replica.executor.concurrent import ConcurrentExecutor


#: the random generators of the environment's modules, looked up by the zygote
_generators: list[Any] | None = None


def main(spec: ExecutorSpec, pages: Pages, index: int) -> None:
    """Runs executor `index` in this process and ends the process, without the exit handlers of its parent."""
    status = 1
    mine = [pages[index * MAX_SLOTS + slot] for slot in range(len(spec.workers))]
    try:
        handlers.install(WAKE_SIGNAL)
        if (output := pipe_in(Path(spec.scratch).parent)).exists():
            keep_lines(LineWriter(output))  # before it is noted which files are open
        processors.limit_torch()
        reseed(_generators if _generators is not None else _generators_of(ActorEnvironment.declared(spec.environment)))
        executor = _make(spec, mine)
        try:
            executor.serve()
            status = WORN_OUT if executor.worn_out else 0
        except BaseException as error:  # the process boundary
            status = _failed(spec, mine[0], error)
        finally:
            executor.end()
    except BaseException as error:  # the same
        status = _failed(spec, mine[0], error)
    finally:
        flush_streams()
        os._exit(status)


def _make(spec: ExecutorSpec, pages: list[Page]) -> Executor[Runner] | ConcurrentExecutor:
    if len(pages) > 1:
        concurrent = _concurrent()
        log.hear_tasks(concurrent.context(spec.workers, pages))
        return concurrent(spec, pages)
    log.hear_tasks(partial(context.now, spec.workers[0], pages[0]))
    executor = Executor(spec, spec.workers[0], pages[0], _runner(spec.isolation))
    signal.signal(WAKE_SIGNAL, executor.on_wake)
    return executor


def prepare(environment: ActorEnvironment, *, redis_py: bool) -> None:
    """In the zygote, before it forks: imports and looks up what every executor would, for 10 ms each.

    Args:
        environment: what they serve.
        redis_py: whether they connect through it.
    """
    global _generators
    if redis_py:
        import actorq.broker.redis_py  # noqa: F401
    hooks: list[Any] = [*environment.tasks.values(), *environment.at_start]
    if any(inspect.iscoroutinefunction(inspect.unwrap(hook.function)) for hook in hooks):
        import asyncio  # noqa: F401
    if environment.concurrency > 1:
        _concurrent()
    else:
        _runner(environment.isolation)
    if environment.isolation == "fork":
        log.prepare()
    _generators = _generators_of(environment)


def _generators_of(environment: ActorEnvironment) -> list[Any]:
    return generators_of(own_modules(environment.modules))


# What runs the leases of an environment; no other is imported.


def _concurrent() -> type[ConcurrentExecutor]:
    from actorq.replica.executor.concurrent import ConcurrentExecutor

    return ConcurrentExecutor


def _runner(isolation: str) -> Callable[[Lent], Runner]:
    if isolation == "fork":
        from actorq.replica.executor.forked import ForkRunner

        return ForkRunner
    from actorq.replica.executor.direct import DirectRunner

    return DirectRunner


def _failed(spec: ExecutorSpec, page: Page, error: BaseException) -> int:
    """Says why the executor ends; returns its exit status."""
    if page.phase == STARTING:
        leave_failure(spec.scratch, error)
        return START_FAILED
    if memory_ran_out() or isinstance(error, MemoryError):
        return NO_MEMORY  # nothing more can be said from here
    traceback.print_exception(error)
    return SERVE_FAILED
