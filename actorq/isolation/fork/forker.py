"""`isolation="fork"`: every input runs in a child of the warm replica.

    replica ── fork ──▶ standby child ── input ──▶ runs it ── report, output ──▶ replica, and ends
       └── while it runs, the next standby is forked, so that its start costs the next input nothing

The one idea: *the replica itself never runs a task*. So there is nothing to restore, and whatever a body does (a crash,
`os._exit`, threads, patches) ends with its child. The exception is what `@actor_cache` loads: a child that misses loads
its own copy and goes on, and names the key in its report. The replica then loads it once, for all children that follow.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import gc
import hashlib
import os
import shutil
import signal
import socket
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from actorq import cache
from actorq.base.log import logger
from actorq.cache import loads as cache_loads
from actorq.cache.hooks import LOADS
from actorq.cache.loads import Load
from actorq.errors import CodecError, PoolError
from actorq.isolation import handlers
from actorq.isolation.fork.child import Child, Reply, serve
from actorq.isolation.fork.forkable import why_not_forkable
from actorq.isolation.fork.randomness import generators_of, reseed
from actorq.isolation.orphans import adopt_orphans, children
from actorq.isolation.reset.process import PROCESS_EVENTS

_PR_SET_PDEATHSIG = 1
#: loads of one key that may fail here after they succeeded in a child
_MOST_FAILED_LOADS = 3
#: keys whose failures are remembered
_MOST_NOTED = 1000
#: killed children that may not have ended yet; the kernel takes as long for that as for a fork
_MOST_ENDED = 3


class Forker:
    """Makes the children of one replica.

    Args:
        scratch: folder for their temporary files, not yet there.
        own_modules: tells the names of the task's own modules; their random generators are seeded anew in each child.
        run: runs one input in a child: head and packed input -> failure or None, and packed output.
        detach: called first in every child: lets go of what belongs to the replica.
    """

    def __init__(
        self,
        scratch: Path,
        own_modules: Callable[[], Iterable[str]],
        run: Callable[[bytes, bytes], tuple[dict[str, Any] | None, bytes]],
        detach: Callable[[], None],
    ) -> None:
        self._scratch = scratch
        self._own_modules = own_modules
        self._modules_seen = 0
        self._run = run
        self._detach = detach
        self._standby: Child | None = None
        #: killed, and to be reaped while the next one runs
        self._ended: list[Child] = []
        self._spawned = False
        self._folders = 0
        self._empty: list[Path] = []
        self._wanted: dict[Load, float] = {}  # and how long each may take, seconds
        #: beside the folder, which is made anew: names the load that is being made
        self._attempt = Path(f"{scratch}.load")
        self._failed_loads = self._fatal_load()
        shutil.rmtree(scratch, ignore_errors=True)  # of an executor that was killed
        scratch.mkdir(parents=True, mode=0o700)
        adopt_orphans()
        self.changed()

    def begin(self, head: bytes, item: bytes) -> Child:
        """A child that runs this input. Raises `PoolError` where this process cannot be forked."""
        if self._refusal is not None:
            raise PoolError(
                f"isolation='fork' cannot fork this replica: {self._refusal}. Load it with one thread and on the "
                "processor, or declare isolation='reset'."
            )
        child, self._standby = self._standby or self._fork(), None
        try:
            child.send(head, item)
        except OSError:  # it was killed while it waited (out of memory?), and has run nothing
            self._reap(child)
            child = self._fork()
            child.send(head, item)
        return child

    def prepare_next(self, running: Child | None) -> None:
        """While an input runs, or none does: forks the child of the next one, and ends what is left of earlier ones."""
        if self._standby is None and self._refusal is None:
            with contextlib.suppress(OSError):  # no memory or processes for one now: the next input tries again
                self._standby = self._fork()
        self._clean_up(running, wait=running is None or len(self._ended) > _MOST_ENDED)

    def finish(self, child: Child, reply: Reply | None, longest: float) -> None:
        """Ends a child, and soon what it left behind; notes what it had to load, which may take `longest` here."""
        child.kill()
        self._ended.append(child)
        self._spawned |= reply is None or reply.spawned
        if reply is not None:
            for function, hits, misses in reply.calls:
                cache.add_calls(function, hits, misses)
            self._wanted.update(dict.fromkeys(reply.loads, longest))

    def changed(self) -> None:
        """Other code runs in this process from now on, or more is loaded; children must be like it."""
        self._drop_standby()
        self._kept = children()  # a model's server belongs to the replica
        self._generators = generators_of(self._own_modules())
        _freeze_memory()
        self._refusal = why_not_forkable()

    @property
    def wants_loads(self) -> bool:
        """Children have loaded what is not loaded here."""
        return bool(self._wanted)

    def _drop_standby(self) -> None:
        if self._standby is not None:
            self._reap(self._standby)
            self._standby = None

    def load_wanted(self) -> None:
        """Loads here what children had to load, for those that follow. Called between two inputs."""
        if not self._wanted:
            return
        wanted, self._wanted = self._wanted, {}
        self._end_leftovers()  # before the loads: they must not be taken for what a load starts
        loaded = [load for load, longest in wanted.items() if self._load(load, longest)]
        if loaded:
            self.changed()
            if self._refusal is not None:
                names = ", ".join(sorted(set(map(cache_loads.shown, loaded))))
                self._refusal += f", since @actor_cache loaded {names}"
                logger().error("fork_refused", cause=self._refusal)

    def rest(self) -> None:
        """There is nothing to run now."""
        self._spawned = True  # whatever the last children left behind
        self.prepare_next(None)

    def end(self) -> None:
        self._drop_standby()
        self._end_leftovers()
        shutil.rmtree(self._scratch, ignore_errors=True)

    # -- parts ---------------------------------------------------------------------------------------------------------

    def _load(self, load: Load, longest: float) -> bool:
        """Loads one key in this process; False when it cannot, or need not."""
        name = hashlib.blake2b(b"\0".join((load[0].encode(), load[1].encode(), load[2])), digest_size=16).hexdigest()
        if self._failed_loads.get(name, 0) >= _MOST_FAILED_LOADS:
            return False
        self._attempt.write_text(name, encoding="ascii")
        try:
            with _at_most(longest):
                return cache_loads.repeat(load, asyncio.run)  # the loop ends with it: an open one cannot be forked
        except _TooLongError:  # it waits for what only a child can get, or for ever
            self._note_failure(name, load, f"it took longer than {longest:.1f} s", _MOST_FAILED_LOADS)
            return False
        except (Exception, SystemExit) as error:  # it succeeded in a child; each child goes on loading its own
            self._note_failure(name, load, f"{type(error).__name__}: {error}", 1)
            return False
        except BaseException:  # the supervisor stops it: it takes longer than its input may, or its map is cancelled
            self._note_failure(name, load, "it was stopped", _MOST_FAILED_LOADS)
            raise
        finally:
            self._attempt.unlink(missing_ok=True)

    def _note_failure(self, name: str, load: Load, why: str, weight: int) -> None:
        if len(self._failed_loads) >= _MOST_NOTED:
            self._failed_loads.clear()
        self._failed_loads[name] = self._failed_loads.get(name, 0) + weight
        logger().warning("cache_not_shared", function=cache_loads.shown(load), error=why)

    def _fatal_load(self) -> dict[str, int]:
        """The load that ended the executor before this one, if it was one: it is not tried again."""
        try:
            return {self._attempt.read_text(encoding="ascii"): _MOST_FAILED_LOADS}
        except OSError:
            return {}

    def _fork(self) -> Child:
        ours, theirs = socket.socketpair()
        folder = self._empty.pop() if self._empty else self._new_folder()
        for stream in (sys.stdout, sys.stderr):  # or the child prints it once more
            with contextlib.suppress(Exception):
                stream.flush()
        if len(sys.modules) != self._modules_seen:
            self._modules_seen = len(sys.modules)
            self._generators = generators_of(self._own_modules())
        with handlers.own_fork():
            pid = os.fork()
        if pid == 0:
            self._be_child(ours, theirs, folder)
        theirs.close()
        return Child(pid, ours, folder)

    def _new_folder(self) -> Path:
        self._folders += 1
        folder = self._scratch / str(self._folders)
        folder.mkdir(mode=0o700)
        return folder

    def _reap(self, child: Child) -> None:
        """Ends `child`. Its folder serves again if it is still empty: making and removing one takes 0.3 ms."""
        child.reap()
        try:
            if not os.listdir(child.folder):  # noqa: PTH208 - half the time of Path.iterdir
                self._empty.append(child.folder)
                return
        except OSError:  # the task removed it
            return
        shutil.rmtree(child.folder, ignore_errors=True)

    def _be_child(self, ours: socket.socket, theirs: socket.socket, folder: Path) -> None:
        """The child's life. Never returns."""
        status = 1
        try:
            parent = os.getppid()
            if sys.platform == "linux":
                ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
            if parent == os.getppid():
                ours.close()
                self._standby = None
                self._detach()
                tempfile.tempdir = os.environ["TMPDIR"] = str(folder)
                serve(theirs, self._work)
                status = 0
        except BaseException:  # the process boundary
            import traceback

            traceback.print_exc()
        finally:
            os._exit(status)

    def _work(self, head: bytes, item: bytes) -> Reply:
        reseed(self._generators)
        spawned: list[str] = []
        sys.addaudithook(lambda event, _: spawned.append(event) if event in PROCESS_EVENTS else None)
        loads: list[Load] = []

        def loaded(cached: cache.ActorCached[Any, Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            try:
                loads.append(cache_loads.load_of(cached, args, kwargs))
            except CodecError:
                loads.append(cache_loads.unsharable(cached))

        LOADS.listen(loaded, alone=True)
        before = _calls()
        error, output = self._run(head, item)
        return Reply(error=error, output=output, loads=loads, calls=_new_calls(before), spawned=bool(spawned))

    def _end_leftovers(self) -> None:
        """All children have ended, and all that they left behind, when this returns."""
        self._spawned = True
        self._clean_up(None, wait=True)

    def _clean_up(self, running: Child | None, *, wait: bool) -> None:
        """Reaps the children that have ended, and ends what they left behind: their children became ours."""
        wait |= self._spawned
        ending = []
        for child in self._ended:
            if wait or child.gone:
                self._reap(child)
            else:
                ending.append(child)
        self._ended = ending
        if not self._spawned:
            return
        self._spawned = False
        known = self._kept | {child.pid for child in (self._standby, running) if child is not None}
        while left := children() - known:
            logger().info("processes_left_behind", count=len(left))
            for pid in left:
                with contextlib.suppress(ProcessLookupError, ChildProcessError):
                    os.kill(pid, signal.SIGKILL)
                    os.waitpid(pid, 0)


def _calls() -> dict[str, tuple[int, int]]:
    """Hits and misses of each cached function."""
    calls: dict[str, tuple[int, int]] = {}
    for function, counts, _, _ in cache.counted():
        hits, misses = calls.get(function, (0, 0))
        calls[function] = (hits + counts.hits, misses + counts.misses)
    return calls


def _new_calls(before: dict[str, tuple[int, int]]) -> list[tuple[str, int, int]]:
    new = []
    for function, (hits, misses) in _calls().items():
        old = before.get(function, (0, 0))
        if (hits, misses) != old:
            new.append((function, hits - old[0], misses - old[1]))
    return new


class _TooLongError(BaseException):
    """Raised inside a load. Not an `Exception`: the load must not swallow it."""


@contextlib.contextmanager
def _at_most(seconds: float) -> Iterator[None]:
    """Raises `_TooLongError` in what runs for longer. By SIGALRM, which is free: no task runs in this process."""

    def stop(*_: object) -> None:
        raise _TooLongError

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def _freeze_memory() -> None:
    """What is here now stays: the collector must not write to pages that children share with us."""
    gc.collect()
    gc.freeze()
