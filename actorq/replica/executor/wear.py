"""When an executor should be replaced by a new one: after so many inputs, above so much memory, at such an age."""

from __future__ import annotations

import os
import random
import resource
import time
from pathlib import Path

from actorq.declare.environment import ActorEnvironment

#: replicas that started together must not reload their models together
_AGE_JITTER = 0.1
#: above this part of its share of the memory an executor is replaced after the watchdog stopped an input: the input's
#: memory was not given back, and the next one would be stopped in its place
_SHARE_KEPT = 0.8


class Wear:
    """Of one executor, from now on.

    Args:
        environment: says what is too much.
        share: bytes of the memory there is that are this executor's; None where nobody knows.
    """

    def __init__(self, environment: ActorEnvironment, share: int | None) -> None:
        self._environment = environment
        self._share = share
        age = environment.max_seconds_per_child
        self._until = float("inf")
        if age is not None:
            self._until = time.monotonic() + age * random.uniform(1 - _AGE_JITTER, 1 + _AGE_JITTER)
        self._limited = (environment.max_tasks_per_child, environment.max_memory_per_child, age) != (None, None, None)
        #: the watchdog has stopped an input since the last look
        self.stopped_for_memory = False
        #: `used_up` may say so
        self.possible = self._limited

    def stop_for_memory(self) -> None:
        """The watchdog stops an input."""
        self.stopped_for_memory = self.possible = True

    def used_up(self, inputs: int) -> bool:
        """Whether the executor should be replaced now, having run `inputs` inputs."""
        tasks, memory = self._environment.max_tasks_per_child, self._environment.max_memory_per_child
        if tasks is not None and inputs >= tasks:
            return True
        if memory is not None and resident_bytes() > memory:
            return True
        stopped, self.stopped_for_memory, self.possible = self.stopped_for_memory, False, self._limited
        if stopped and self._share is not None and resident_bytes() > _SHARE_KEPT * self._share:
            return True
        return time.monotonic() >= self._until


def resident_bytes() -> int:
    """Resident memory of this process; the peak where the system does not tell the present."""
    try:
        pages = Path("/proc/self/statm").read_text(encoding="ascii").split()[1]
        return int(pages) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
