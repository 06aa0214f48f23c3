"""The inputs of a run on the server: stored in chunks by who starts it, and read again by who drives it.

    aq:in:<m>     STREAM   a chunk each, under the index of its first input, plus one
    aq:sums:<m>   LIST     of each chunk, four bytes for each input, kept when the inputs are not needed any more

The one idea: each input has a checksum, which stays. So a script that is run again compares what it stored before,
whether or not that is still needed, and goes on behind it.
"""

from __future__ import annotations

import sys
import time
import zlib
from array import array
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from actorq.base.settings import settings
from actorq.base.warned import warn
from actorq.broker import run_records
from actorq.broker.link import Link
from actorq.broker.refusals import ServerFullError
from actorq.broker.scripts import running
from actorq.broker.scripts.running import Leader
from actorq.errors import CodecError, MapConflictError, PoolError
from actorq.maps.sources import Source
from actorq.wire import codec
from actorq.wire.seal import seal_part, unseal_part

#: inputs of a chunk, at most, and bytes after which it is full: a script copies its arguments, 1.7 ms for a MiB
_CHUNK_INPUTS, _CHUNK_BYTES = 10_000, 256 * 1024
#: pause before a full server is asked again, and how long it is asked without a word, seconds
_FULL_PAUSE, _FULL_WARN_AFTER = 0.25, 3.0
#: inputs that failed which are kept in one write
_KEPT_AT_ONCE = 100
#: bytes of a checksum
_SUM_BYTES = 4


def _sums(parts: Sequence[bytes]) -> bytes:
    sums = array("I", map(zlib.crc32, parts))
    if sys.byteorder == "little":
        sums.byteswap()
    return sums.tobytes()


def _groups(parts: list[bytes]) -> Iterator[list[bytes]]:
    """Inputs that make a chunk of no more than its bytes, or one that is larger by itself."""
    group, size = list[bytes](), 0
    for part in parts:
        if group and size + len(part) > _CHUNK_BYTES:
            yield group
            group, size = [], 0
        group.append(part)
        size += len(part)
    yield group


class FencedError(PoolError):
    """Another driver leads, or the run has ended, or the server has forgotten what this driver has read."""


def fenced(run_id: str) -> str:
    """What it says."""
    return f"Another driver leads run {run_id!r}, or it has ended, or the server has returned in an older state."


class Upload:
    """Stores the inputs of one run.

    Args:
        link: a connection.
        environment, run_id: whose they are.
        task: its name, for messages.
        stored: how many are there already.
        total: all of them, where the run was started before and is complete.
        expires: seconds.
    """

    def __init__(
        self, link: Link, environment: str, run_id: str, *, task: str, stored: int, total: int | None, expires: int
    ) -> None:
        self._link = link
        self._environment = environment
        self._run_id = run_id
        self._task = task
        self._stored = stored
        self._total = total
        self._expires = expires
        self._first = 0
        self._known = b""  # checksums of what others have stored, of the inputs from `_known_from` to `_stored`
        self._known_from = 0
        self._chunks_seen = 0  # of which they are, or which were stored here

    def all_of(self, source: Source, progress: Callable[[int], None]) -> int:
        """Stores, or compares, all inputs; returns their number. `progress` is told how many there are.

        Raises `MapConflictError` for other inputs than those that are there, `CodecError` for one that cannot be
        carried, what the user's iterator raises, and `BrokerError`.
        """
        if self._stored:
            self._look()
        for data, parts in self._chunks(source):
            rest = parts if self._first >= self._stored else self._compared(parts)
            while rest:
                if self._total is not None:
                    raise self._conflict(self._total, "the run that is there has no more inputs")
                if self._append(data if rest is parts else codec.join_list(rest), rest):
                    break
                self._look()  # another program stores the same, it seems
                if self._stored <= self._first:
                    raise self._conflict(self._first, "another program stores inputs of a run of this name")
                rest = self._compared(rest)
            progress(self._first)
        if self._first < (self._total or self._stored):
            raise self._conflict(self._first, "the run that is there has more inputs")
        if not running.seal(self._link, self._environment, self._run_id, self._first):
            raise self._ended()
        run_records.wake_drivers(self._link, self._environment)
        return self._first

    def _chunks(self, source: Source) -> Iterator[tuple[bytes, list[bytes]]]:
        """The inputs as they are drawn, some at a time: as one packed list, and each."""
        count = 1  # nobody knows yet how large they are
        while not source.exhausted:
            values = source.draw(count, count)
            if not values:
                time.sleep(0.001)  # an iterator of the user's takes its time
                continue
            if source.packed:
                parts = list(values)
            else:
                parts = codec.pack_each(values, settings().max_payload_bytes, self._named)
            data = codec.pack(values) if type(values) is range else codec.join_list(parts)
            if len(data) <= 2 * _CHUNK_BYTES or len(parts) == 1:
                yield data, parts
            else:  # these are larger than those before them
                for some in _groups(parts):
                    yield codec.join_list(some), some
            count = min(10 * count, _CHUNK_INPUTS, max(1, _CHUNK_BYTES * len(parts) // len(data)))
        if source.error is not None:
            raise source.error

    def _named(self, position: int) -> str:
        return f"Input {self._first + position} of {self._task}"

    def _look(self) -> None:
        """Reads the checksums of what others have stored behind what is known."""
        some = list(run_records.run_sums(self._link, self._run_id, self._chunks_seen))
        self._chunks_seen += len(some)
        self._known, self._known_from = b"".join(some), self._first
        self._stored = self._first + len(self._known) // _SUM_BYTES
        if self._total is None and (record := run_records.run_record(self._link, self._run_id)) is not None:
            self._total = record.total

    def _compared(self, parts: list[bytes]) -> list[bytes]:
        """What is not there of a chunk. Raises `MapConflictError` where something else is there."""
        count = min(len(parts), self._stored - self._first)
        here = _sums(parts[:count])
        at = _SUM_BYTES * (self._first - self._known_from)
        there = self._known[at : at + _SUM_BYTES * count]
        if here != there:
            differ = next(i for i in range(count) if here[4 * i : 4 * i + 4] != there[4 * i : 4 * i + 4])
            raise self._conflict(self._first + differ, "the run that is there has another input")
        self._first += count
        return parts[count:]  # never `parts` itself: some of it was there

    def _append(self, packed: bytes, parts: list[bytes]) -> bool:
        """Stores inputs; False where somebody else has stored some meanwhile."""
        data = seal_part(self._environment, self._run_id, f"inputs {self._first}", packed)
        since, told = time.monotonic(), False
        named, sums = (self._link, self._environment, self._run_id), _sums(parts)
        there = f"{self._first:,} inputs of run {self._run_id!r} are stored"
        while True:
            try:
                stored = running.append(*named, self._first, len(parts), data, sums, self._expires)
                break
            except ServerFullError as error:
                if time.monotonic() - since > settings().broker_timeout:
                    raise ServerFullError(f"{error} {there}.") from None
                if not told and time.monotonic() - since > _FULL_WARN_AFTER:
                    told = True
                    warn(f"{error} The upload waits for room: {there}.")
                time.sleep(_FULL_PAUSE)
        if stored == running.ENDED:
            raise self._ended()
        if stored != self._first + len(parts):
            return False
        self._first = stored
        self._chunks_seen += 1
        return True

    def _ended(self) -> PoolError:
        return PoolError(f"Run {self._run_id!r} has ended, or was deleted, while its inputs were stored.")

    def _conflict(self, index: int, what: str) -> MapConflictError:
        return MapConflictError(
            f"map_id {self._run_id!r}: at input {index} {what}. Give these inputs another map_id, or delete the run."
        )


class StoredInputs:
    """Reads them again. One thread's."""

    def __init__(self, link: Link, environment: str, run_id: str) -> None:
        self._link = link
        self._environment = environment
        self._run_id = run_id
        self._first = 0  # of the chunk that was read last
        self._chunk = codec.PackedList(codec.join_list([]))

    def of(self, indexes: Sequence[int]) -> list[bytes]:
        """Inputs, packed each. Raises `PoolError` for one that is not there."""
        return [self.at(index) for index in indexes]

    def at(self, index: int) -> bytes:
        if not self._read(index):
            if (kept := run_records.failed_input(self._link, self._run_id, index)) is not None:
                return unseal_part(self._environment, self._run_id, f"input {index}", kept)
            raise self._gone(index)
        return self._chunk[index - self._first]

    def put(self, leader: Leader, inputs: Sequence[tuple[int, bytes]]) -> None:
        """Keeps inputs that have failed, when the others go. Raises `FencedError` for who does not lead."""
        named = (self._environment, self._run_id)
        for at in range(0, len(inputs), _KEPT_AT_ONCE):
            some = inputs[at : at + _KEPT_AT_ONCE]
            sealed = {index: seal_part(*named, f"input {index}", part) for index, part in some}
            if not running.keep(self._link, leader, sealed):
                raise FencedError(fenced(self._run_id))

    def keep(self, leader: Leader, indexes: Sequence[int]) -> None:
        """The same for those of `indexes` that were not kept yet."""
        if indexes:
            missing = sorted(set(indexes) - run_records.kept_failed(self._link, self._run_id))
            self.put(leader, [(index, self.at(index)) for index in missing])

    def keep_only(self, leader: Leader, indexes: Sequence[int]) -> None:
        """Drops all others, which have succeeded since."""
        if over := run_records.kept_failed(self._link, self._run_id) - set(indexes):
            running.keep(self._link, leader, {}, over)

    def from_(self, index: int, most: int) -> Sequence[bytes]:
        """Those from `index` on that lie in one chunk: where that is all of it, as it is stored."""
        if not self._read(index):
            raise self._gone(index)
        if index == self._first and len(self._chunk) <= most:
            return self._chunk
        at = index - self._first
        return self._chunk[at : at + most]

    def _read(self, index: int) -> bool:
        """Reads the chunk that holds an input, unless it was read last; whether it is there."""
        if not self._first <= index < self._first + len(self._chunk):
            found = run_records.run_chunk(self._link, self._run_id, index)
            if found is None:
                return False
            first, data = found
            chunk = codec.PackedList(unseal_part(self._environment, self._run_id, f"inputs {first}", data))
            if index >= first + len(chunk):
                raise CodecError(f"The inputs of run {self._run_id!r} from {first} on are damaged.")
            self._first, self._chunk = first, chunk
        return True

    def _gone(self, index: int) -> PoolError:
        return PoolError(f"Input {index} of run {self._run_id!r} is not on the server any more.")


class StoredSource:
    """The inputs of a run as its driver draws them.

    Args:
        inputs: reads them.
        numbers: tells how many are stored, and how many there are in all.
        first: the index of the first that was not drawn yet.
    """

    packed = True
    error: BaseException | None = None

    def __init__(self, inputs: StoredInputs, numbers: Callable[[], tuple[int, int | None]], first: int = 0) -> None:
        self._inputs = inputs
        self._numbers = numbers
        self._next = first
        self._stored, self.total = numbers()
        self.exhausted = self.total is not None and first >= self.total

    def begin_at(self, index: int) -> None:
        """Inputs below have been drawn."""
        self._next = index
        self.exhausted = self.total is not None and index >= self.total

    def draw(self, count: int, ahead: int = 0) -> Sequence[Any]:
        if self._next >= self._stored and self.total is None:
            self._stored, self.total = self._numbers()
        drawn: list[bytes] = []
        whole: Sequence[bytes] | None = None  # a chunk that is taken as it is
        while len(drawn) < count and self._next < self._stored and whole is None:
            some = self._some(count - len(drawn))
            if not isinstance(some, codec.PackedList):
                drawn += some
            elif drawn:
                break  # the next lease takes it
            else:
                whole = some
            self._next += len(some)
        if self.total is not None and self._next >= self.total:
            self.exhausted = True
        return drawn if whole is None else whole

    def _some(self, most: int) -> Sequence[bytes]:
        try:
            return self._inputs.from_(self._next, most)
        except PoolError:
            if self._numbers()[0] > self._next:
                raise
            # the server has returned in an older state: who folds that goes on
            raise FencedError(f"The server has fewer inputs of a run than the {self._stored} it had.") from None

    def close(self) -> None:
        self.exhausted = True
