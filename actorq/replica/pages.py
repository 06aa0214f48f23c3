"""What an executor tells its supervisor, and the other way round: some shared memory each.

Reading it costs the supervisor nothing in Redis and works while a C extension blocks the executor. Every cell has one
writer. A torn read can only be of the lease's name, and a wrong name renews nothing, or of the report on the caches,
which has a checksum. Between two leases none is held for a moment: what follows from that must do no harm.
"""

from __future__ import annotations

import mmap
import os
import tempfile
import zlib
from typing import Final

_NAME_AT: Final = 256
#: the longest name of a lease, "<lease>:<attempt>"; ours have some hundred bytes
NAME_BYTES: Final = 384
_SENT_AT: Final = _NAME_AT + NAME_BYTES
_REPORT_AT: Final = _SENT_AT + NAME_BYTES
#: the report on the caches: some forty functions and twenty values
REPORT_BYTES: Final = 15 * 1024
PAGE_BYTES: Final = _REPORT_AT + REPORT_BYTES

# The cells of a page, 8 bytes each. Those that are written for every input are beside each other.
(
    # written by the executor, of its lease and the input that runs
    _RUNNING,  # whether the inputs of a lease run
    _LEASE,  # counts leases
    _LEASE_SINCE,  # monotonic ns
    _COUNT,  # inputs of the lease
    _POSITION,  # of the input that runs, or UNKNOWN
    _INPUT,  # counts inputs
    _INPUT_SINCE,  # monotonic ns; 0 between two inputs
    _TIMEOUT,  # ns; 0 for none
    _NAME_LENGTH,  # of the lease that it holds; 0 for none
    _ON_LOOP,  # whether the coroutine that runs just now on the event loop of several is this one's
    # the totals, which outlive the executor
    _LEASES_DONE,
    _LEASES_FAILED,
    _BUSY_MICROSECONDS,
    _INPUTS_DONE,
    _INPUTS_FAILED,
    # written by the supervisor
    _REQUEST,
    _REQUEST_OF,  # the number of the input or lease that is meant
    _DRAIN,
    _MEMORY_USED,  # with the request MEMORY, bytes
    _MEMORY_LIMIT,
    _UNCLAIMED,  # the number of the lease behind which it took another back
    # written by the executor, about what it may hold unknowingly
    _PATIENCE,  # how long the lease before that may take, ns
    _SENT_LENGTH,  # of the name of the lease whose results are on their way
    # written by the executor, about its caches and its life
    _REPORT_LENGTH,
    _REPORT_SUM,
    _PHASE,
    _PHASE_SINCE,  # monotonic ns
    _STOPS,  # counts inputs that were stopped for their memory
) = range(28)
_TOTALS: Final = (_LEASES_DONE, _LEASES_FAILED, _BUSY_MICROSECONDS, _INPUTS_DONE, _INPUTS_FAILED)

#: pages of one executor process; those of concurrency slots it does not have are never touched, and so take no memory
MAX_SLOTS: Final = 256

#: what a supervisor may ask of its executor, with the wake-up signal
#: FORGO is as CANCEL, and not somebody's wish: what has not run may yet be wanted
NOTHING, LATE, TIMEOUT, CANCEL, MEMORY, FORGO = range(6)

#: what an executor does: start hooks and loads, leases or waiting for one, exit hooks
STARTING, SERVING, ENDING = range(3)

#: position while the executor does not publish one: many tiny inputs in a row
UNKNOWN = -1


class Pages:
    """The shared pages of all executors of one supervisor. Inherited over fork, or reopened by `fileno` after exec."""

    def __init__(self, count: int, fileno: int | None = None) -> None:
        size = count * PAGE_BYTES
        if fileno is None:
            with tempfile.TemporaryFile() as file:
                fileno = os.dup(file.fileno())
            os.ftruncate(fileno, size)
        self.fileno = fileno
        self._memory = mmap.mmap(fileno, size)
        self._view = memoryview(self._memory)
        self.count = count

    def __getitem__(self, index: int) -> Page:
        begin = index * PAGE_BYTES
        return Page(self._view[begin : begin + PAGE_BYTES])


class Totals:
    """What a replica has done since its supervisor started, over all its executors: RQ's counters, and inputs."""

    def __init__(self, cells: memoryview) -> None:
        self._cells = cells

    def add(self, count: int, failed: int, busy: float, *, whole: bool) -> None:
        """Results of `count` inputs were sent; `whole`: and with them a lease has ended."""
        cells = self._cells
        if whole:
            cells[_LEASES_FAILED if failed else _LEASES_DONE] += 1
        cells[_INPUTS_DONE] += count - failed
        cells[_INPUTS_FAILED] += failed
        cells[_BUSY_MICROSECONDS] += int(busy * 1e6)

    @property
    def values(self) -> tuple[int, int, float]:
        """Leases done, leases with failures, busy seconds."""
        return self._cells[_LEASES_DONE], self._cells[_LEASES_FAILED], self._cells[_BUSY_MICROSECONDS] / 1e6

    @property
    def inputs(self) -> tuple[int, int]:
        """Inputs that succeeded, inputs that failed."""
        return self._cells[_INPUTS_DONE], self._cells[_INPUTS_FAILED]


class Page:
    """One executor's page."""

    def __init__(self, memory: memoryview) -> None:
        self._memory = memory
        #: the cells, for the executor's inner loop
        self.cells = memory[:_NAME_AT].cast("q")
        self.totals = Totals(self.cells)

    # -- written by the executor ---------------------------------------------------------------------------------------

    def hold(self, name: bytes) -> None:
        """The executor holds lease `name`, "<lease>:<attempt>"."""
        self._put(_NAME_AT, _NAME_LENGTH, name)

    def begin_lease(self, count: int, since: int, timeout: float | None) -> None:
        """The inputs of the lease it holds run, since `since` (monotonic ns)."""
        cells = self.cells
        cells[_COUNT] = count
        cells[_POSITION] = UNKNOWN
        cells[_INPUT_SINCE] = 0
        cells[_TIMEOUT] = 0 if timeout is None else int(timeout * 1e9)
        cells[_LEASE_SINCE] = since
        cells[_LEASE] += 1
        cells[_RUNNING] = 1

    def end_lease(self) -> None:
        """The inputs have run; the lease is held until it is committed."""
        self.cells[_RUNNING] = 0
        self.cells[_INPUT_SINCE] = 0

    def release(self) -> None:
        """The lease is no longer held."""
        self.cells[_NAME_LENGTH] = 0

    def sent(self, name: bytes, patience: int) -> None:
        """The results of lease `name` (b"": of none) are sent, and not known to have arrived.

        Args:
            patience: of one more lease that the executor may be given in return, to be taken back when the next one
                runs longer than that (ns), or sooner where another replica is idle; 0 where it is given none.
        """
        self._put(_SENT_AT, _SENT_LENGTH, name)
        self.cells[_PATIENCE] = patience

    def settled(self) -> None:
        """They have arrived, and what the executor was given in return is known to it."""
        self.cells[_PATIENCE] = 0
        self.cells[_SENT_LENGTH] = 0

    def _put(self, at: int, length: int, name: bytes) -> None:
        cells, size = self.cells, len(name)
        cells[length] = 0
        if size <= NAME_BYTES:  # else it is none of ours, and is not run
            self._memory[at : at + size] = name
            cells[length] = size

    def begin_input(self, position: int, since: int) -> None:
        cells = self.cells
        cells[_POSITION] = position
        cells[_INPUT] += 1
        cells[_INPUT_SINCE] = since

    def end_input(self) -> None:
        self.cells[_INPUT_SINCE] = 0

    def shorten(self, count: int) -> None:
        """The lease has `count` inputs: it was handed back from there on, or not after all."""
        self.cells[_COUNT] = count

    def report(self, data: bytes) -> None:
        """What `@actor_cache` holds, `REPORT_BYTES` at most: for status and metrics."""
        cells = self.cells
        self._memory[_REPORT_AT : _REPORT_AT + len(data)] = data
        cells[_REPORT_LENGTH], cells[_REPORT_SUM] = len(data), zlib.crc32(data)

    @property
    def reported(self) -> bytes | None:
        """The last report; None while it is being written."""
        length = self.cells[_REPORT_LENGTH]
        data = bytes(self._memory[_REPORT_AT : _REPORT_AT + length])
        return data if zlib.crc32(data) == self.cells[_REPORT_SUM] else None

    def enter_loop(self) -> None:
        """The input's coroutine runs; until `leave_loop`, no other on this loop does."""
        self.cells[_ON_LOOP] = 1

    def leave_loop(self) -> None:
        self.cells[_ON_LOOP] = 0

    @property
    def unclaimed(self) -> int:
        """The last lease behind which another was taken back."""
        return self.cells[_UNCLAIMED]

    def enter(self, phase: int, since: int) -> None:
        """The executor begins another part of its life, `since` (monotonic ns)."""
        self.cells[_PHASE_SINCE] = since
        self.cells[_PHASE] = phase

    def stopping(self) -> None:
        """The running input is being stopped, as the request MEMORY asks."""
        self.cells[_STOPS] += 1

    # -- read by the supervisor ----------------------------------------------------------------------------------------

    @property
    def running(self) -> bool:
        return bool(self.cells[_RUNNING])

    @property
    def holds(self) -> bool:
        """Whether the executor holds a lease."""
        return bool(self.cells[_NAME_LENGTH])

    @property
    def held(self) -> str:
        """The lease the executor holds, "" for none."""
        return self._get(_NAME_AT, _NAME_LENGTH)

    @property
    def unsettled(self) -> str:
        """The lease whose results are on their way, "" for none."""
        return self._get(_SENT_AT, _SENT_LENGTH)

    def _get(self, at: int, length: int) -> str:
        return bytes(self._memory[at : at + self.cells[length]]).decode(errors="replace")

    @property
    def phase(self) -> int:
        """STARTING, SERVING or ENDING."""
        return self.cells[_PHASE]

    @property
    def phase_since(self) -> int:
        """Monotonic ns; 0 while it starts."""
        return self.cells[_PHASE_SINCE]

    @property
    def stops(self) -> int:
        """Inputs of this executor that were stopped for their memory."""
        return self.cells[_STOPS]

    @property
    def lease(self) -> int:
        """A number that is new with every lease."""
        return self.cells[_LEASE]

    @property
    def patience(self) -> int:
        """How long (ns) the present lease may run before what may be claimed behind it is taken back; 0: nothing is."""
        return self.cells[_PATIENCE]

    def unclaim(self, lease: int) -> None:
        """Whatever it claimed while that lease runs is not to be run."""
        self.cells[_UNCLAIMED] = lease

    @property
    def lease_since(self) -> int:
        return self.cells[_LEASE_SINCE]

    @property
    def count(self) -> int:
        return self.cells[_COUNT]

    @property
    def position(self) -> int | None:
        position = self.cells[_POSITION]
        return None if position == UNKNOWN else position

    @property
    def input(self) -> int:
        """A number that is new with every input, where inputs are published."""
        return self.cells[_INPUT]

    @property
    def overdue(self) -> tuple[int, int]:
        """(monotonic ns since when the current input runs, its timeout in ns); 0 for none."""
        return self.cells[_INPUT_SINCE], self.cells[_TIMEOUT]

    @property
    def on_loop(self) -> bool:
        return bool(self.cells[_ON_LOOP])

    # -- requests ------------------------------------------------------------------------------------------------------

    def ask(self, request: int, of: int = 0) -> None:
        """`of` is the input (TIMEOUT, MEMORY) or the lease (CANCEL) that is meant: a later one must not be hit."""
        self.cells[_REQUEST_OF] = of
        self.cells[_REQUEST] = request

    def tell_memory(self, used: int, limit: int) -> None:
        """Bytes, for the message of an input that is asked to stop for MEMORY."""
        self.cells[_MEMORY_USED], self.cells[_MEMORY_LIMIT] = used, limit

    @property
    def memory(self) -> tuple[int, int]:
        return self.cells[_MEMORY_USED], self.cells[_MEMORY_LIMIT]

    def drain(self) -> None:
        """The replica is to leave: finish the input, hand back the rest."""
        self.cells[_DRAIN] = 1

    @property
    def draining(self) -> bool:
        return bool(self.cells[_DRAIN])

    @property
    def request(self) -> int:
        return self.cells[_REQUEST]

    @property
    def request_of(self) -> int:
        return self.cells[_REQUEST_OF]

    def clear(self) -> None:
        """A new executor starts in this page."""
        for cell in range(len(self.cells)):
            if cell not in _TOTALS:
                self.cells[cell] = 0
