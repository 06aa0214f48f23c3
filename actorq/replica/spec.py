"""What the processes of a pool are told when they start. Light to import: the submitter does too."""

from __future__ import annotations

import signal
from dataclasses import dataclass, field
from typing import Any

from actorq.code.importing import Target

#: the supervisor's signal; a real-time one where there are any, so that tasks keep SIGUSR1 and SIGUSR2
WAKE_SIGNAL: int = signal.SIGRTMIN + 5 if hasattr(signal, "SIGRTMIN") else signal.SIGUSR2


#: exit status of an executor that asks to be replaced
WORN_OUT = 75
#: exit status of an executor that could not start, and has left word why
START_FAILED = 76
#: exit status of an executor that failed between two leases
SERVE_FAILED = 77
#: exit status of one that had no memory left to go on with, within the limit that its process has (RLIMIT_AS)
NO_MEMORY = 78
#: exit status of a regular task's pod whose map is gone: its Job ends as a whole
MAP_GONE = 43
#: exit status of one that was told to stop before its input was done: it is replaced, and costs nothing
TERMINATED = 143


@dataclass(frozen=True, kw_only=True)
class ExecutorSpec:
    """What one executor is told when it is forked."""

    url: str = field(repr=False)  # it may hold a password
    environment: str
    #: its names as RQ workers, one for each concurrency slot
    workers: list[str]
    lease_seconds: float
    isolation: str
    #: folder for its temporary files; the supervisor removes it
    scratch: str
    #: it runs code that comes with a map
    bundles: bool = False
    #: bytes of the memory there is that are its share; None where nobody knows
    memory_share: int | None = None


@dataclass(frozen=True, kw_only=True)
class ZygoteSpec:
    """What to import, and how executors are started."""

    targets: list[Target]
    #: what the environment must be called, where its operator says so
    name: str | None = None
    #: code comes with the maps. There is nothing to import then, and `declared` says what the environment is
    bundles: bool = False
    declared: dict[str, Any] | None = None
    #: name of the environment, or, from the command line, the attribute of the last target that holds it
    environment: str | None = None
    attribute: str | None = None
    path: list[str] = field(default_factory=list)
    argv: list[str] = field(default_factory=list)
    #: on this machine
    replicas: int = 1
    #: threads of each one's libraries; None for its share of the processors
    threads: int | None = None
    #: the process was started with what its code asks for, as far as that can be
    adjusted: bool = False
    #: how events are shown, from which level, and from which level what tasks log, where their code does not say
    log: tuple[str, str, int | None] = ("console", "WARNING", None)
    #: what tasks print begins with what ran, line by line
    prefix: bool = False
    #: what they print is kept on the server
    capture: bool = False
    #: executors reach the server through redis-py
    redis_py: bool = False


@dataclass(frozen=True, kw_only=True)
class SupervisorSpec:
    """What one supervisor runs."""

    url: str = field(repr=False)  # it may hold a password
    replicas: int
    zygote: ZygoteSpec


@dataclass(frozen=True, kw_only=True)
class Served:
    """What the zygote found: the environment as its code declares it."""

    environment: str
    tasks: list[str]
    isolation: str
    start_method: str
    concurrency: int
    lease_seconds: float
    drain_seconds: float
