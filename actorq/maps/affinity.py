"""Which replica runs an input, when inputs have keys and replicas keep what a key needs: a model, a file.

The one idea: *a key has a home*, and its inputs wait for that replica. A new key's home is the replica that ranks first
by a hash of key and replica, among those that do not have their share of keys yet: so two submitters, and one map after
another, choose alike where nothing else is known. A replica works through the waiting inputs of one key, then goes to
the key that has waited longest. One that has nothing to do borrows a key: it becomes its guest until no input of the
key waits, which costs one load; only a replica with clearly fewer keys becomes the key's new home. So no replica idles,
also when there is only one key, and a chance imbalance does not wander from replica to replica.

            ┌─ home ──▶ replica: the keys it may run, longest waiting first
     key ───┤
            └─ inputs that wait, oldest first ──▶ a lease of that replica

No I/O, no clock. What a replica holds is a guess (its cache may be full): it decides what is preferred, nothing else.
"""

from __future__ import annotations

import heapq
from collections import Counter, deque
from collections.abc import Hashable, Iterable, Sequence
from hashlib import blake2b
from itertools import islice

from actorq.errors import CodecError
from actorq.wire import codec

#: keys without waiting inputs that are remembered; beyond this the oldest are forgotten. Some 500 bytes each
_KEPT_KEYS = 20_000
#: before anything is measured, an idle replica borrows only from one with so many inputs: what is in flight anyway
_UNMEASURED = 6
#: a replica is lightly loaded up to this many times the mean, and some inputs that say nothing
_LIGHT, _LIGHT_INPUTS = 1.5, 6
#: replicas, and keys of each, that an idle replica looks at before it borrows
_VICTIMS, _LOOKED_AT = 3, 64
#: what Python keeps for a waiting input, or an output, beside its own bytes: two objects, and their place in a dict
ITEM_BYTES = 200
#: weight of the newest measurement
_NEWEST = 0.25

#: index of an input, and the input, packed
Item = tuple[int, bytes]


class _Key:
    """Inputs that need the same thing."""

    __slots__ = ("digest", "guests", "held", "home", "waiting")

    def __init__(self, digest: int, home: _Seat) -> None:
        self.digest = digest
        self.home = home
        self.waiting: deque[Item] = deque()
        self.guests: set[_Seat] = set()
        #: replicas that have run one of its inputs
        self.held: set[str] = set()


class _Seat:
    """A replica, or nobody: where keys wait that have no home yet."""

    __slots__ = ("digest", "keys", "name", "ready", "run", "run_left", "waiting")

    def __init__(self, name: str) -> None:
        self.name = name
        self.digest = _digest(name)
        #: keys whose home it is
        self.keys = 0
        #: inputs of these that wait
        self.waiting = 0
        #: keys of its own, and borrowed ones, of which inputs wait: the one that has waited longest first
        self.ready: dict[_Key, None] = {}
        #: the key it works through, and how many inputs are left of those that waited when it began
        self.run: _Key | None = None
        self.run_left = 0


class Affinity:
    """The inputs of one map that are drawn and not leased, by key; and which replica is to run them."""

    def __init__(self) -> None:
        #: inputs that wait, and the memory they take
        self.waiting = 0
        self.bytes = 0
        #: leases and inputs that each replica has in flight; "" for what is offered to anyone
        self.leases: Counter[str] = Counter()
        self.inputs: Counter[str] = Counter()
        self._nobody = _Seat("")
        self._seats: dict[str, _Seat] = {}
        self._expected = 0
        self._keys: dict[Hashable, _Key] = {}
        self._key_of: dict[int, _Key] = {}  # of inputs in flight
        self._homeless = False
        self._sweep_at = 2 * _KEPT_KEYS
        #: seconds of an input whose replica holds its key, and of a load; None before one was seen
        self._seconds: float | None = None
        self._load: float | None = None

    # -- replicas ------------------------------------------------------------------------------------------------------

    @property
    def replicas(self) -> Iterable[str]:
        """Those that may be given leases by name."""
        return self._seats.keys()

    def serve(self, names: Sequence[str], expected: int) -> None:
        """These replicas live, of `expected` that will. Keys of those that are gone lose their home."""
        names = tuple(names)
        if names == tuple(self._seats) and expected == self._expected:
            return
        self._expected = expected
        gone = [seat for name, seat in self._seats.items() if name not in set(names)]
        if gone:
            self._evict(set(gone))
        self._seats = {name: self._seats.get(name) or _Seat(name) for name in names}
        self._homeless = True

    def forget(self, replica: str) -> None:
        """The process of a replica has died, and what it held with it."""
        for key in self._keys.values():
            key.held.discard(replica)

    def _evict(self, gone: set[_Seat]) -> None:
        keys = dict.fromkeys(self._keys.values())  # in order: what follows must not depend on addresses
        for seat in self._seats.values():
            keys.update(seat.ready)  # also some that are forgotten by now
        for key in keys:
            key.guests -= gone
            key.held -= {seat.name for seat in gone}
            if key.home in gone:
                self._move(key, self._nobody)

    def _move(self, key: _Key, home: _Seat) -> None:
        old, key.home = key.home, home
        old.keys -= 1
        home.keys += 1
        old.waiting -= len(key.waiting)
        home.waiting += len(key.waiting)
        old.ready.pop(key, None)
        if key.waiting:
            home.ready[key] = None
        key.guests.discard(home)

    # -- inputs --------------------------------------------------------------------------------------------------------

    def add(self, key: Hashable, item: Item) -> None:
        """An input was drawn."""
        found = self._keys.get(key)
        if found is None:
            found = self._keys[key] = _Key(_digest(key), self._nobody)
            self._nobody.keys += 1
            if len(self._keys) > self._sweep_at:
                self._sweep()
        self._wait(found, item, first=False)
        self._homeless = self._homeless or found.home is self._nobody

    def put_back(self, items: Iterable[Item]) -> None:
        """Inputs that were leased and did not run."""
        for item in sorted(items, reverse=True):
            self._wait(self._key_of.pop(item[0]), item, first=True)

    def _wait(self, key: _Key, item: Item, *, first: bool) -> None:
        if not key.waiting:
            key.home.ready[key] = None
        if first:
            key.waiting.appendleft(item)
        else:
            key.waiting.append(item)
        key.home.waiting += 1
        self.waiting += 1
        self.bytes += len(item[1]) + ITEM_BYTES

    def cut(self, end: int) -> None:
        """Inputs from index `end` on are not wanted any more."""
        for seat in (self._nobody, *self._seats.values()):
            for key in [key for key in seat.ready if key.home is seat]:
                kept = deque(item for item in key.waiting if item[0] < end)
                dropped = len(key.waiting) - len(kept)
                self.bytes -= sum(len(item[1]) + ITEM_BYTES for item in key.waiting if item[0] >= end)
                self.waiting -= dropped
                seat.waiting -= dropped
                key.waiting = kept
                if not kept:
                    self._emptied(key)

    def done(self, indexes: Iterable[int]) -> None:
        """Inputs that will not come back."""
        for index in indexes:
            self._key_of.pop(index, None)

    def home(self, index: int) -> str:
        """The replica that should run an input which is not waiting; "" if any may."""
        key = self._key_of.get(index)
        return "" if key is None else key.home.name

    def take(self, replica: str, count: int) -> tuple[list[Item], int]:
        """At most `count` inputs for a replica, and how many of their keys it does not hold."""
        seat = self._seats[replica] if replica else self._nobody
        items: list[Item] = []
        cold = 0
        while len(items) < count and (key := self._current(seat)) is not None:
            waiting, key_of, before = key.waiting, self._key_of, len(items)
            while waiting and len(items) < count and seat.run_left:
                item = waiting.popleft()
                seat.run_left -= 1
                key_of[item[0]] = key
                self.bytes -= len(item[1]) + ITEM_BYTES
                items.append(item)
            key.home.waiting -= len(items) - before
            if not waiting:
                self._emptied(key)
            if replica not in key.held:
                cold += 1
                key.held.add(replica)
        self.waiting -= len(items)
        if seat is self._nobody:
            seat.run_left = 0  # another replica takes the next lease: it should not load the same
        return items, cold

    def _current(self, seat: _Seat) -> _Key | None:
        """The key a replica works through; when all that waited of it is leased, the one that has waited longest."""
        run, ready = seat.run, seat.ready
        if run in ready:
            assert run is not None
            if seat.run_left:
                return run
            del ready[run]
            ready[run] = None
        key = next(iter(ready), None)
        if key is not None:
            seat.run, seat.run_left = key, len(key.waiting)
        return key

    def _emptied(self, key: _Key) -> None:
        key.home.ready.pop(key, None)
        for guest in key.guests:
            guest.ready.pop(key, None)
        key.guests.clear()

    def _sweep(self) -> None:
        in_flight = set(self._key_of.values())
        idle = [name for name, key in self._keys.items() if not key.waiting and key not in in_flight]
        for name in idle[: len(self._keys) - _KEPT_KEYS]:
            self._keys.pop(name).home.keys -= 1
        self._sweep_at = max(2 * _KEPT_KEYS, 2 * len(self._keys))

    # -- who runs what -------------------------------------------------------------------------------------------------

    def has_work(self, replica: str) -> bool:
        return bool((self._seats[replica] if replica else self._nobody).ready)

    def find_homes(self) -> None:
        """Finds a home for keys that have none: where they are held, or where they rank first."""
        if not self._homeless or not self._seats:
            return
        self._homeless = False
        total = max(len(self._seats), self._expected)
        mean = (self.waiting + self.inputs.total()) / total
        homeless = sorted(self._nobody.ready, key=lambda key: (2 * len(key.waiting) <= mean, key.digest))
        share, longer = divmod(len(self._keys), total)  # so many keys for each, one more for some
        full = sum(seat.keys > share for seat in self._seats.values())
        light = _LIGHT * mean + _LIGHT_INPUTS
        for key in homeless:
            least = share + (full < longer)
            open_seats = [seat for seat in self._seats.values() if seat.keys < least and self._work(seat) <= light]
            if open_seats:
                home = max(open_seats, key=lambda seat: (seat.name in key.held, hash((key.digest, seat.digest))))
            elif len(self._seats) < total:
                continue  # a replica that is still to come will want it, or one that idles
            else:
                home = min(self._seats.values(), key=self._work)
            self._move(key, home)
            full += home.keys == share + 1
        for key in sorted(homeless, key=lambda key: key.waiting[0][0]):  # the one that has waited longest first
            del key.home.ready[key]
            key.home.ready[key] = None

    def _work(self, seat: _Seat) -> int:
        return seat.waiting + self.inputs[seat.name]

    def borrow(self, replica: str, late: Iterable[str] = ()) -> bool:
        """Finds something to do for a replica that has nothing; False if that would cost more than it gains.

        `late`: replicas whose present input takes far longer than others did.
        """
        thief = self._seats[replica]
        if self._nobody.ready:
            self._move(next(iter(self._nobody.ready)), thief)
            return True
        busy = [seat for seat in self._seats.values() if seat.waiting and seat is not thief]
        late = set(late)
        for victim in heapq.nlargest(_VICTIMS, busy, key=self._work):
            keys = [key for key in islice(victim.ready, _LOOKED_AT) if key.home is victim]
            worth = [key for key in keys if victim.name in late or self._worth(key, victim, thief)]
            if worth:
                self._lend(max(worth, key=lambda key: self._rank(key, victim, thief)), victim, thief)
                return True
        return False

    def _rank(self, key: _Key, victim: _Seat, thief: _Seat) -> tuple[bool, bool, float]:
        """What a thief takes first: what it holds, then what nobody works on, then what amortises its load."""
        untouched = key is not victim.run and not key.guests
        return thief.name in key.held, untouched, len(key.waiting) / (1 + len(key.guests))

    def _worth(self, key: _Key, victim: _Seat, thief: _Seat) -> bool:
        """Whether one more replica for a key makes it finish earlier, its load included."""
        alone = not key.guests and key is not victim.run and len(victim.ready) > 1
        inputs = self._work(victim) if alone else len(key.waiting) / (1 + len(key.guests))
        if thief.name in key.held:
            return inputs > 1
        if self._seconds is None or self._load is None:
            return inputs >= _UNMEASURED
        return self._load + self._seconds < inputs * self._seconds

    def _lend(self, key: _Key, victim: _Seat, thief: _Seat) -> None:
        if victim.keys - thief.keys >= 2:
            self._move(key, thief)
            return
        key.guests.add(thief)
        thief.ready[key] = None
        del victim.ready[key]  # to its end: the home turns to its other keys first
        victim.ready[key] = None

    # -- measurements --------------------------------------------------------------------------------------------------

    def observe(self, count: int, busy: float, cold: int) -> None:
        """`count` inputs took `busy` seconds, on a replica that had to load `cold` of their keys."""
        if not cold:
            each = busy / count
            self._seconds = each if self._seconds is None else self._seconds + _NEWEST * (each - self._seconds)
            return
        load = max(0.0, busy - count * (self._seconds or 0.0)) / cold
        # the longest of late: an earlier map may have loaded some already, which says nothing about the others
        before = self._load or 0.0
        self._load = max(load, before + _NEWEST / 4 * (load - before))

    def visit(self, replica: str, indexes: Iterable[int]) -> int:
        """A replica runs inputs that it did not `take`; how many of their keys it did not hold."""
        keys = {self._key_of[index] for index in indexes if index in self._key_of}
        cold = [key for key in keys if replica not in key.held]
        for key in cold:
            key.held.add(replica)
        return len(cold)

    @property
    def seconds(self) -> float:
        """What an input takes whose replica holds its key; 0 while nobody knows."""
        return self._seconds or 0.0

    def patience(self, replica: str) -> float:
        """Seconds that what a replica has in flight should take at most, if it is like the others."""
        return (self._load or 0.0) + 4 * (self._seconds or 0.0) * max(self.inputs[replica], 1)


def _digest(key: Hashable) -> int:
    """The same number for a key in every process, where its content can be packed."""
    try:
        data = codec.pack(key)
    except CodecError:
        data = repr(key).encode(errors="replace")
    return int.from_bytes(blake2b(data, digest_size=8).digest(), "big")
