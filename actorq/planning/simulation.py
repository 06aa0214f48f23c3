"""A map as a row of events: a pod starts, a lease is claimed, an input ends.

The one idea: leases are sized by the policy that sizes real ones, so the model has no rule of its own for them. What is
too long to be simulated event by event goes on at the rate that it had reached.
"""

from __future__ import annotations

import heapq
import math
import random
from collections.abc import Iterator

from actorq.maps.sizing import LeaseSizer
from actorq.planning.work import Outcome, Place, Work

#: events that are simulated, at least, for each pod that runs, and at most
_EVENTS, _EVENTS_PER_POD, _MOST_EVENTS = 10_000, 20, 50_000
#: inputs of a lease whose durations are drawn; of more their mean says as much
_DRAWN = 20
#: an output is this large, bytes: small
_OUTPUT_BYTES = 8
#: loads beyond one for each thing, where affinity has room for all: 75 for 64 models, measured
_AFFINITY_LOADS = 1.17
#: inputs for each replica among which affinity chooses, at least
_AFFINITY_WINDOW = 256


def regular(work: Work, place: Place, at_once: int | None = None) -> Outcome:
    """A pod for each input.

    Args:
        work: the inputs.
        place: where.
        at_once: pods that live at a time, at most; None: no bound.
    """
    slots = work.inputs if at_once is None else min(at_once, work.inputs)
    shown = min(work.inputs, _events(slots) if at_once is not None else _EVENTS)
    durations, made = _durations(work), 0.0
    free = [0.0] * min(slots, shown)
    end = 0.0
    for _ in range(shown):
        made = max(heapq.heappop(free), made) + 1 / place.pods_per_second
        ended = made + place.start + work.load + next(durations)
        end = max(end, ended)
        heapq.heappush(free, ended + place.between)
    each = place.start + work.load + work.seconds
    rate = min(slots / (each + place.between), place.pods_per_second)
    return Outcome(
        seconds=end + (work.inputs - shown) / rate,
        pod_seconds=work.inputs * each,
        pods=work.inputs,
        loads=work.inputs if work.load else 0,
    )


def actors(work: Work, place: Place, replicas: int, *, warm: bool = False, affinity: bool = False) -> Outcome:
    """Replicas that stay.

    Args:
        work: the inputs.
        place: where.
        replicas: how many.
        warm: they run already, and hold what they can.
        affinity: inputs go to replicas that hold what they need.
    """
    loads, miss = _loads(work, replicas, warm=warm, affinity=affinity)
    first = 0.0 if warm or not work.load else max(loads / replicas if miss == 0 else 1.0, 1.0) * work.load
    free = [0.0] * replicas if warm else [since + place.start + first for since in _made(place, replicas)]
    heapq.heapify(free)
    durations, sizer = _durations(work), LeaseSizer()
    left, central, end, leases, running = work.inputs, 0.0, 0.0, 0, list[tuple[float, int, float]]()
    while left and leases < _events(replicas):
        now = max(heapq.heappop(free), central)
        while running and running[0][0] <= now:  # what has come back tells how long the next ones take
            _, count, busy = heapq.heappop(running)
            sizer.observe(count, busy, _OUTPUT_BYTES * count)
        count = min(sizer.size(left, replicas), left)
        busy = _sum(durations, count, work) + count * miss * work.load
        central = now + place.lease + count * place.input
        ended = central + place.turn + busy
        heapq.heappush(free, ended)
        heapq.heappush(running, (ended, count, busy))
        left, leases, end = left - count, leases + 1, max(end, ended)
    if left:
        end += left / rate(work, place, replicas, miss=miss)
    made = [max(end - since, 0.0) for since in ([0.0] * replicas if warm else _made(place, replicas))]
    return Outcome(seconds=end, pod_seconds=sum(made), pods=replicas, loads=loads)


def _events(pods: int) -> int:
    return max(min(_EVENTS_PER_POD * pods, _MOST_EVENTS), _EVENTS, pods)


def _made(place: Place, pods: int) -> list[float]:
    """When the cluster makes each of so many pods, seconds."""
    return [(at + 1) / place.pods_per_second for at in range(pods)]


def rate(work: Work, place: Place, replicas: int, *, miss: float = 0.0) -> float:
    """Inputs a second of so many replicas that are never idle but for what is claimed one after the other."""
    seconds = max(work.seconds + miss * work.load, 1e-9)
    count = _settled(seconds, replicas)
    return min(replicas / (place.turn / count + seconds), 1 / (place.lease / count + place.input))


def most_replicas(work: Work, place: Place) -> int:
    """How many replicas one server and one submitter keep busy with such inputs, to nine tenths."""
    most = 1
    while most < 1_000_000 and rate(work, place, 2 * most) >= 0.9 * 2 * most * rate(work, place, 1):
        most *= 2
    return most


def _settled(seconds: float, replicas: int) -> int:
    """Inputs of a lease, once durations are known."""
    sizer = LeaseSizer()
    for _ in range(20):  # it grows by steps
        sizer.observe(count := sizer.size(None, replicas), count * seconds, _OUTPUT_BYTES * count)
    return sizer.size(None, replicas)


def _loads(work: Work, replicas: int, *, warm: bool, affinity: bool) -> tuple[int, float]:
    """Loads of all replicas, and how often an input meets one beyond those of the start."""
    if not work.load:
        return 0, 0.0
    if affinity and work.keys > 1:
        room = 1.0 if work.holds is None else replicas * work.holds / work.keys
        if room >= 1:
            return 0 if warm else min(math.ceil(_AFFINITY_LOADS * work.keys), work.inputs), 0.0
        # what nobody holds is loaded once for all inputs in sight that need it
        miss = (1 - room) * min(1.0, work.keys / (_AFFINITY_WINDOW * replicas))
        return min(math.ceil(work.keys + miss * work.inputs), work.inputs), miss
    cold = 0 if warm else min(replicas * work.held, work.inputs)
    return min(cold + math.ceil(work.miss * work.inputs), work.inputs), work.miss


def _durations(work: Work) -> Iterator[float]:
    if not work.spread:
        while True:
            yield work.seconds
    variance = math.log1p(work.spread**2)
    mean, deviation, draw = math.log(max(work.seconds, 1e-12)) - variance / 2, math.sqrt(variance), random.Random(0)
    while True:
        yield draw.lognormvariate(mean, deviation)


def _sum(durations: Iterator[float], count: int, work: Work) -> float:
    """Of the inputs of one lease; of very many, their mean."""
    return sum(next(durations) for _ in range(count)) if count <= _DRAWN and work.spread else count * work.seconds
