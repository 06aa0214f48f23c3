"""What is no input, and may take as long as one: imports, start hooks, the decoding of inputs.

To the supervisor an input runs meanwhile, nobody knows which. So what takes too long is stopped, or ends with its
process, and is charged to the lease.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from actorq.replica.executor.inputs import LARGE_BYTES, decoded, each_packed, is_single
from actorq.replica.executor.run import Prepared, Stop
from actorq.replica.pages import CANCEL, FORGO, MEMORY, TIMEOUT, UNKNOWN, Page
from actorq.wire import failure


class Watched:
    """Of one executor.

    Args:
        page: its page.
    """

    def __init__(self, page: Page) -> None:
        self.page = page
        #: the lease was cancelled meanwhile
        self.cancelled = False
        #: it was, and nobody has wished it
        self.forgone = False
        self._decoding = False  # the inputs of a lease: the handler may raise

    @contextmanager
    def as_input(self, timeout: float | None) -> Iterator[None]:
        """What is done in it counts as an input with that timeout."""
        page, now = self.page, time.monotonic_ns()
        page.begin_lease(1, now, timeout)
        page.begin_input(UNKNOWN, now)
        try:
            yield
        finally:
            if page.request in (CANCEL, FORGO) and page.request_of == page.lease:
                self.cancelled, self.forgone = True, page.request == FORGO
            page.end_lease()

    def decoded(self, prepared: Prepared, packed: memoryview) -> tuple[Sequence[Any], bool]:
        """The inputs of a lease, as `inputs.decoded` gives them; where that takes too long, each decodes itself."""
        with prepared.decoding():
            if (prepared.head.timeout is None and len(packed) <= LARGE_BYTES) or is_single(packed):
                return decoded(packed)
            with self.as_input(prepared.head.timeout):
                try:
                    self._decoding = True
                    return decoded(packed)
                except Stop:
                    return each_packed(packed), False
                finally:
                    self._decoding = False

    def stop(self, request: int) -> None:
        """Raises `Stop` out of the decoding of inputs that takes too long. Called by the handler of the signal."""
        if self._decoding and request in (TIMEOUT, MEMORY) and self.page.request_of == self.page.input:
            self._decoding = False
            raise Stop(failure.TIMEOUT)
