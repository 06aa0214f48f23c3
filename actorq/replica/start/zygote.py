"""The parent of all executors: imports once, forks often.

It has one thread, no connection to Redis and has run no task, so forking it is safe, and an executor starts in
milliseconds with the task's module already imported. It speaks with its supervisor in lines of JSON:

    supervisor -> {"fork": {index and executor spec}}          zygote -> {"ready": […tasks]} or {"failed": traceback}
                                                                       {"forked": index, "pid": p}, {"exited": index, …}
When the supervisor's end closes, every executor is killed.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import json
import os
import signal
import socket
import sys
import traceback
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from actorq.base.log import run_tasks
from actorq.base.settings import settings
from actorq.base.waiting import Waker, ready
from actorq.code import guarded
from actorq.code.importing import import_target
from actorq.errors import DeclarationError
from actorq.isolation import handlers
from actorq.isolation.fork.forkable import why_not_forkable
from actorq.isolation.orphans import adopt_orphans, children
from actorq.replica.pages import MAX_SLOTS, Pages
from actorq.replica.spec import WAKE_SIGNAL, ExecutorSpec, Served, SupervisorSpec, ZygoteSpec
from actorq.replica.start import gpus, hugepages, processors

if TYPE_CHECKING:
    from actorq.declare.environment import ActorEnvironment

_PR_SET_PDEATHSIG = 1
#: from glibc's malloc.h
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
#: blocks above it are mapped one by one, as glibc itself does at most
_LARGEST_HEAP_BLOCK = 32 * 1024 * 1024
#: a replica may hold this much more than it uses
_KEPT_BYTES = 64 * 1024 * 1024
#: objects of a chain that is longer than any recursion in C
_DEEP = 20_000
#: longest wait; a signal or a message ends it
_LOOK_SECONDS = 60.0


class Channel:
    """Lines of JSON over a socket, read without blocking."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self._buffer = b""
        self.closed = False

    def fileno(self) -> int:
        return self.sock.fileno()

    def send(self, message: dict[str, Any]) -> None:
        try:
            self.sock.sendall(json.dumps(message).encode() + b"\n")
        except OSError:  # the other side is gone; its end of file says so to the reader
            self.closed = True

    def receive(self) -> list[dict[str, Any]]:
        """Messages that have arrived; call when readable. Sets `closed` at the end of file."""
        try:
            data = self.sock.recv(65536)
        except OSError:
            data = b""
        if not data:
            self.closed = True
        *lines, self._buffer = (self._buffer + data).split(b"\n")
        return [json.loads(line) for line in lines if line]


@dataclass(frozen=True, kw_only=True)
class StartedZygote:
    """The zygote of a supervisor."""

    pid: int
    channel: Channel
    #: the pages of its executors
    pages: Pages


def start_zygote(spec: SupervisorSpec, lifeline: int | None = None) -> StartedZygote:
    """Forks the zygote of a supervisor, which is to be made by this process.

    Before that, so that it imports the tasks while this process imports what a supervisor needs; while there is one
    thread; and before this process has read its settings, since those of the zygote are others.
    """
    pages = Pages(spec.replicas * MAX_SLOTS)
    ours, theirs = socket.socketpair()
    parent = os.getpid()
    pid = os.fork()
    if pid == 0:
        ours.close()
        if lifeline is not None:
            os.close(lifeline)
        run_zygote(spec.zygote, pages, Channel(theirs), parent)
    theirs.close()
    return StartedZygote(pid=pid, channel=Channel(ours), pages=pages)


def spawn_zygote(spec: SupervisorSpec, pages: Pages) -> StartedZygote:
    """Starts a zygote in place of one that has died, in a new interpreter: this process has threads by now."""
    ours, theirs = socket.socketpair()
    with theirs:
        os.set_inheritable(theirs.fileno(), True)
        variables = {**os.environ, **_job(spec.zygote, pages, channel=theirs.fileno(), parent=os.getpid())}
        pid = os.posix_spawn(sys.executable, _INTERPRETER, variables)
    return StartedZygote(pid=pid, channel=Channel(ours), pages=pages)


def die_with(parent: int) -> None:
    """Asks the kernel to kill this process when its parent dies, and ends it where that has died already.

    Args:
        parent: who has started it, as that knows itself: a child that asks for its parent may be told of another one,
            which has adopted it.
    """
    if sys.platform == "linux":  # elsewhere an end of file does it
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


def keep_freed_memory() -> None:
    """Asks glibc to keep up to `_KEPT_BYTES` it could return to the kernel. Linux with glibc only.

    A replica allocates values of the same size again and again. By default each of a few hundred KiB goes back to the
    kernel when it is freed and comes anew, zeroed, page by page: 1.5 ms a MiB on a virtual machine, where copying it
    takes 0.05. Setting one of the two stops glibc from adapting the other, so both are set.
    """
    if sys.platform == "linux" and hasattr(libc := ctypes.CDLL(None), "mallopt"):
        libc.mallopt(_M_MMAP_THRESHOLD, _LARGEST_HEAP_BLOCK)
        libc.mallopt(_M_TRIM_THRESHOLD, _KEPT_BYTES)


def grow_stack() -> None:
    """Has this thread's stack, and those that are forked from it, as large as the end of a deep structure needs it.

    Since Python 3.13 a chain of objects ends by a recursion in C of up to 10,000 levels, 1 MB of stack. Where an input
    has taken all memory of its process (RLIMIT_AS), the stack cannot grow any more, and letting go of what the input
    has made would be a SIGSEGV.
    """
    chain: Any = None
    if sys.version_info >= (3, 13):
        for _ in range(_DEEP):
            chain = (chain,)


def run_zygote(spec: ZygoteSpec, pages: Pages, channel: Channel, supervisor: int) -> None:
    """Serves the supervisor, a process of that id, until its end closes. Never returns."""
    die_with(supervisor)
    run_tasks(prefix=spec.prefix, capture=spec.capture)
    hugepages.take_note()
    keep_freed_memory()
    grow_stack()
    status = 1
    try:
        handlers.install(WAKE_SIGNAL)
        signal.signal(WAKE_SIGNAL, signal.SIG_IGN)  # until an executor is ready for it
        served = _import(spec, pages, channel)
        if served is not None:
            zygote = Zygote(spec, pages, channel, served)
            if served.isolation == "fork":
                adopt_orphans()
            zygote.adopts = served.isolation == "fork"
            zygote.serve()
        status = 0
    except BaseException:  # the process boundary
        traceback.print_exc()
    finally:
        os._exit(status)


def _import(spec: ZygoteSpec, pages: Pages, channel: Channel) -> Served | None:
    """Imports the targets and reports. None when that failed."""
    try:
        prepare_process(spec)

        declare(spec)
        threads = spec.threads or (spec.declared or {}).get("threads")
        limited = processors.limit(threads or processors.share(spec.replicas))
        for target in spec.targets:
            import_target(target)
        environment = _served(spec)
        if spec.name is not None and spec.name != environment.name:
            raise DeclarationError(
                f"The worker is to serve {spec.name!r}, and its target declares {environment.name!r}."
            )
        if environment.isolation == "fork":
            _check_forkable(environment.name)
        _check_gpus(environment, spec.replicas)
        variables = _other_variables(environment)
        if (variables or environment.threads != threads) and not spec.adjusted:
            for name in limited:
                os.environ.pop(name, None)
            _exec(replace(spec, threads=environment.threads, adjusted=True), pages, variables, channel)
        os.environ["ACTORQ_REPLICA_OF"] = environment.name
        os.environ.update(environment.environment)
        from actorq.replica.start import executor as entry

        entry.prepare(environment, redis_py=spec.redis_py)
    except BaseException as error:
        channel.send({"failed": _explain(error, spec)})
        return None
    if environment.isolation == "reset":
        from actorq.isolation.reset import leaks

        leaks.take_baseline()
    drain_seconds = settings().drain_seconds
    served = Served(
        environment=environment.name,
        tasks=sorted(environment.tasks),
        isolation=environment.isolation,
        start_method=_start_method(environment),
        concurrency=environment.concurrency,
        lease_seconds=environment.lease_seconds,
        drain_seconds=environment.drain_seconds if drain_seconds is None else drain_seconds,
    )
    channel.send({"ready": asdict(served)})
    return served


def _start_method(environment: ActorEnvironment) -> str:
    """How executors start, "fork" or "spawn": what was asked for, or what the import of the tasks allows."""
    if environment.start_method == "spawn" or environment.isolation == "fork":  # that one can be forked, or is refused
        return "spawn" if environment.start_method == "spawn" else "fork"
    cause = why_not_forkable()
    if cause is None:
        return "fork"
    from actorq.base.log import logger

    if environment.start_method == "auto":
        logger().info("replicas_spawned", environment=environment.name, cause=cause)
        return "spawn"
    logger().warning("fork_unsafe", environment=environment.name, cause=cause, advice='leave start_method at "auto"')
    return "fork"


def _check_forkable(environment: str) -> None:
    cause = why_not_forkable()
    if cause is not None:
        raise DeclarationError(
            f"Environment {environment!r} cannot have isolation='fork': after the import of its modules this process "
            f"cannot be forked, since {cause}. Do that in an @actor_cache or in the task, or declare isolation='reset'."
        )


def _other_variables(environment: ActorEnvironment) -> dict[str, str]:
    """What libraries read when they are imported, and should have found otherwise than they did."""
    declared = environment.environment
    variables = {name: declared[name] for name in processors.VARIABLES & declared.keys()}
    variables = {name: value for name, value in variables.items() if os.environ.get(name) != value}
    return variables | (hugepages.missing() if environment.isolation == "fork" else {})


def _check_gpus(environment: ActorEnvironment, replicas: int) -> None:
    each = environment.gpus
    if each is not None and (found := len(gpus.there())) < gpus.needed(each, replicas):
        raise DeclarationError(
            f"{replicas} replicas of environment {environment.name!r} with gpus={each:g} need "
            f"{gpus.needed(each, replicas)} GPUs, and here are {found}: run fewer replicas, or give each less."
        )


def _explain(error: BaseException, spec: ZygoteSpec) -> str:
    """Why the code cannot be served: one line where that says it all, and the traceback otherwise."""
    frames = traceback.extract_tb(error.__traceback__)
    if isinstance(error, DeclarationError) and all(frame.filename == __file__ for frame in frames):
        return str(error)
    for target in spec.targets:
        if isinstance(error, ModuleNotFoundError) and f"{target.name}.".startswith(f"{error.name}."):
            return f"No module named {error.name!r} in {Path.cwd()} or on the Python path."
        if isinstance(error, FileNotFoundError) and target.path == error.filename:
            return f"There is no file {target.path}."
    return traceback.format_exc()


def _served(spec: ZygoteSpec) -> ActorEnvironment:
    """The environment to serve, which the targets declare."""
    from actorq.declare.environment import ActorEnvironment

    name = spec.environment or _named(spec)
    try:
        return ActorEnvironment.declared(name)
    except DeclarationError as error:
        hint = guarded.hint([target.name for target in spec.targets], name)
        raise DeclarationError(f"{error}{hint}") from None


def _named(spec: ZygoteSpec) -> str:
    """The name of the environment that the command line names by its variable, or the only one there is."""
    from actorq.declare.environment import ActorEnvironment, Environment

    if spec.name is not None:
        return spec.name
    if spec.attribute is None:
        names = [e.name for e in Environment.all() if isinstance(e, ActorEnvironment)]
        if len(names) != 1:
            last = spec.targets[-1].name
            if not names:
                raise DeclarationError(f"{last} declares no ActorEnvironment.{guarded.hint([last])}")
            raise DeclarationError(f"{last} declares {names}: name one, by -e NAME or as MODULE:VARIABLE.")
        return names[0]
    module = sys.modules[spec.targets[-1].name]
    found = getattr(module, spec.attribute, None)
    if found is None:
        names = [name for name, value in vars(module).items() if issubclass(type(value), ActorEnvironment)]
        raise DeclarationError(f"{module.__name__} has no {spec.attribute!r}; its environments are: {names or 'none'}.")
    if not isinstance(found, ActorEnvironment):
        raise DeclarationError(
            f"{spec.targets[-1].name}:{spec.attribute} is not an ActorEnvironment, which is what a worker serves."
        )
    return found.name


def declare(spec: ZygoteSpec) -> None:
    """Declares the environment of a replica that gets all its code with the maps."""
    if spec.declared is not None:
        from actorq.declare.environment import ActorEnvironment

        ActorEnvironment(str(spec.name), **spec.declared)


def prepare_process(spec: ZygoteSpec) -> None:
    """The interpreter state of the submitter: where modules are found, and the arguments they may look at."""
    if spec.path:
        sys.path[:] = spec.path
    sys.argv[:] = spec.argv or [""]
    if spec.environment is not None:
        os.environ["ACTORQ_REPLICA_OF"] = spec.environment


class Zygote:
    """Forks executors on request and reports how they ended."""

    def __init__(self, spec: ZygoteSpec, pages: Pages, channel: Channel, served: Served) -> None:
        from actorq.declare.environment import ActorEnvironment

        self._spec = spec
        self._start_method = served.start_method
        self._gpus = ActorEnvironment.declared(served.environment).gpus
        self._pages = pages
        self._channel = channel
        self._children: dict[int, int] = {}  # pid -> index
        #: what an executor leaves behind becomes ours when it ends, and is ended
        self.adopts = False

    def serve(self) -> None:
        gc.collect()
        gc.freeze()  # the collector must not write to pages that executors share with us
        waker = Waker()
        signal.set_wakeup_fd(waker.write_fd, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        while not self._channel.closed:
            found = ready([self._channel, waker], _LOOK_SECONDS)
            if waker.fileno() in found:
                waker.clear()
            self._reap()
            if self._channel.fileno() in found:
                for message in self._channel.receive():
                    self._fork(message["index"], message["executor"], waker)
        for pid in self._children:
            _kill_group(pid)

    def _fork(self, index: int, executor: dict[str, Any], waker: Waker) -> None:
        if self._start_method == "spawn":
            pid = _spawn(self._spec, self._pages, index, executor, self._variables(index))
        else:
            zygote = os.getpid()
            with handlers.own_fork():
                pid = os.fork()
        if pid:
            with contextlib.suppress(OSError):  # so that it has its group whenever it is to be ended
                os.setpgid(pid, pid)
            self._children[pid] = index
            self._channel.send({"forked": index, "pid": pid})
            return
        die_with(zygote)
        os.setpgid(0, 0)  # with what its tasks start, so that it can be ended with them
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        waker.close()
        self._channel.sock.close()
        os.environ.update(self._variables(index))
        from actorq.replica.start.executor import main

        main(ExecutorSpec(**executor), self._pages, index)

    def _variables(self, index: int) -> dict[str, str]:
        """Of executor `index`."""
        if self._gpus is None:
            return {}
        return {gpus.VISIBLE: ",".join(gpus.dealt(gpus.there(), self._gpus, index))}

    def _reap(self) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            index = self._children.pop(pid, None)
            if index is not None:
                _kill_group(pid)
                if self.adopts:
                    self._end_orphans()
                self._channel.send({"exited": index, "pid": pid, "status": status})

    def _end_orphans(self) -> None:
        """Only executors are our children; what else there is was left by one that has ended."""
        for pid in children() - self._children.keys():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def _kill_group(pid: int) -> None:
    """Ends an executor, if it still runs, and the processes that its tasks left behind."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGKILL)


def _exec(spec: ZygoteSpec, pages: Pages, variables: dict[str, str], channel: Channel) -> None:
    """Replaces this process by a new interpreter that imports everything itself and serves `channel`."""
    os.set_inheritable(channel.fileno(), True)
    os.environ.update(variables, **_job(spec, pages, channel=channel.fileno(), parent=os.getppid()))
    for number in (signal.SIGINT, signal.SIGTERM):  # until the new interpreter has handlers
        signal.signal(number, signal.SIG_IGN)
    os.execv(sys.executable, _INTERPRETER)


def _spawn(spec: ZygoteSpec, pages: Pages, index: int, executor: dict[str, Any], own: dict[str, str]) -> int:
    """Starts executor `index` in a new interpreter; returns its pid. No fork: this process may have threads."""
    variables = {**os.environ, **own, **_job(spec, pages, executor=(index, executor), parent=os.getpid())}
    # in a group of its own with what its tasks start, so that it can be ended with them
    return os.posix_spawn(sys.executable, _INTERPRETER, variables, setpgroup=0)


_INTERPRETER = [sys.executable, "-m", "actorq.replica.start.spawned"]


def _job(spec: ZygoteSpec, pages: Pages, **what: Any) -> dict[str, str]:
    """What a new interpreter is to do. By the environment: arguments are public, and an address may hold a password."""
    os.set_inheritable(pages.fileno, True)
    return {"ACTORQ_SPAWN_JOB": json.dumps({"zygote": asdict(spec), "pages": [pages.count, pages.fileno], **what})}
