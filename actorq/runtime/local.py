"""A local pool: the replicas of one environment, as processes of this program's own.

The pool runs in a session of its own, so that Ctrl-C reaches only the program, which then stops the pool; and it holds
the read end of a pipe, so that it ends when the program does, however that happens.
"""

from __future__ import annotations

import contextlib
import inspect
import json
import os
import subprocess
import sys
import threading
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from actorq.base.log import local_log
from actorq.base.streams import pipe
from actorq.base.waiting import ready
from actorq.code.fingerprint import FINGERPRINTS
from actorq.code.importing import module_target
from actorq.declare.environment import ActorEnvironment
from actorq.errors import PoolError
from actorq.replica.spec import SupervisorSpec, ZygoteSpec
from actorq.replica.start import hugepages
from actorq.wire.failure import end_of

#: how long the exit hooks of a pool, and the inputs before them, may take when their program ends, seconds
_DRAIN_TIMEOUT = 5.0
#: how long a pool that is told to end may take, seconds
_STOP_TIMEOUT = 5.0


class LocalPool:
    """`replica_count` replicas of `environment`, serving the server at `url`."""

    def __init__(self, environment: ActorEnvironment, url: str) -> None:
        self.environment = environment.name
        self.replicas = environment.replica_count * environment.concurrency
        self.modules = frozenset(environment.modules)
        self._drains = bool(environment.at_exit)
        self._drain_until: float | None = None
        self._drain_seconds = min(environment.drain_seconds, _DRAIN_TIMEOUT)
        self._failure: str | None = None
        self._lock = threading.Lock()
        self._buffer = b""
        spec = SupervisorSpec(
            url=url,
            replicas=environment.replica_count,
            zygote=ZygoteSpec(
                environment=environment.name,
                targets=[module_target(module) for module in sorted(self.modules)],
                path=sys.path,
                argv=sys.argv,
                replicas=environment.replica_count,
                threads=environment.threads,
                log=local_log(),
            ),
        )
        tuned = hugepages.asked_by(os.environ) if environment.isolation == "fork" else {}
        self._status, status = pipe()
        arguments = [
            sys.executable,
            "-m",
            "actorq.replica.supervisor.local_pool",
            json.dumps(asdict(spec)),
            str(status),
        ]
        try:
            self._process = subprocess.Popen(
                arguments,
                stdin=subprocess.PIPE,
                pass_fds=(status,),
                start_new_session=True,
                env={
                    **os.environ,
                    **tuned,
                    **environment.environment,
                    "ACTORQ_REDIS_URL": url,
                    "ACTORQ_OWNED": "1",
                    "PYTHONPATH": _python_path(),
                },
            )
        except OSError:
            os.close(self._status)
            raise
        finally:
            os.close(status)
        self._code = _code_of(environment)

    is_own = False  # a replica does not start its own pool

    @property
    def alive(self) -> bool:
        return self._failure is None and self._process.poll() is None

    def serves(self, environment: ActorEnvironment) -> bool:
        """Whether the pool has imported every module that declares something on `environment`, and none of them was
        reloaded with other code since.
        """
        if not environment.modules <= self.modules:
            return False
        now = _code_of(environment)
        return all(self._code.get(name, code) == code for name, code in now.items())

    def check(self, live: int = 0) -> None:
        """Raises `PoolError` when the replicas cannot start or have stopped. Never waits."""
        with self._lock:
            self._hear()
        if self._failure is not None:
            raise PoolError(f"The replicas of {self.environment!r} cannot start:\n\n{self._failure.rstrip()}")
        if self._process.poll() is not None:
            raise PoolError(
                f"The pool of {self.environment!r} has stopped: {end_of(self._process.returncode)}. "
                "What it said, if anything, is on stderr above; the next map starts a new one."
            )

    def forget(self) -> None:
        """In a forked child: lets go of the pipe that keeps the parent's pool alive."""
        if self._process.stdin is not None:
            self._process.stdin.close()

    def _hear(self) -> None:
        while self._failure is None and self._status >= 0 and ready([self._status], 0):
            data = os.read(self._status, 65536)
            if not data:
                return
            *lines, self._buffer = (self._buffer + data).split(b"\n")
            for line in lines:
                message: dict[str, Any] = json.loads(line)
                self._failure = message.get("failed", self._failure)

    def drain(self) -> None:
        """Tells the replicas to end, if they have exit hooks to run. Does not wait for that; `stop` does."""
        if self._drains and self._drain_until is None and self._process.poll() is None:
            self._drain_until = time.monotonic() + self._drain_seconds
            self._process.terminate()

    def stop(self) -> None:
        """Ends all replicas: now, or, where they have exit hooks, as soon as those have run."""
        self.drain()
        if self._drain_until is not None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(max(0.0, self._drain_until - time.monotonic()))
        if self._process.stdin is not None:
            self._process.stdin.close()
        try:
            self._process.wait(_STOP_TIMEOUT)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        with self._lock:  # whoever checks it just now, in another thread, must not read what gets that number next
            if self._status >= 0:
                os.close(self._status)
                self._status = -1


def _code_of(environment: ActorEnvironment) -> dict[str, str]:
    """What replicas of `environment` run: its tasks, its hooks, and how it is declared; name -> which code that is."""
    code = {name: FINGERPRINTS.of(task.function).text for name, task in environment.tasks.items()}
    for kind, hooks in (("at_start", environment.at_start), ("at_exit", environment.at_exit)):
        functions = [inspect.unwrap(hook.function) for hook in hooks]
        known = [FINGERPRINTS.of(function).text for function in functions if inspect.isfunction(function)]
        code[kind] = " ".join(known)
    options = {name: value for name, value in vars(environment).items() if not name.startswith("_")}
    for name in ("tasks", "at_start", "at_exit"):
        del options[name]
    return {**code, "options": repr(options)}


def _python_path() -> str:
    """Where the pool's interpreter finds this package, wherever the program found it."""
    package_root = str(Path(__file__).resolve().parents[2])
    inherited = os.environ.get("PYTHONPATH")
    return os.pathsep.join(filter(None, (package_root, inherited)))
