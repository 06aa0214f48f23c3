"""What `actorq plan` says beside what maps take, from 2 to 100 local replicas."""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from actorq.planning.simulation import actors
from actorq.planning.work import HERE, Place, Work
from benchmarks.rows import Row

#: replicas, inputs, seconds of each
_MAPS = ((2, 200, 0.05), (8, 1000, 0.02), (20, 2000, 0.05), (50, 4000, 0.05), (100, 4000, 0.1), (4, 4000, 0.002))

_PROGRAM = """
    import sys, time
    import actorq
    env = actorq.ActorEnvironment("planned", replica_count=int(sys.argv[1]))
    @env.task
    def nap(seconds: float) -> None:
        time.sleep(seconds)
    if __name__ == "__main__":
        inputs, seconds, warm = int(sys.argv[2]), float(sys.argv[3]), len(sys.argv) > 4
        if warm:
            list(nap.map([0.01] * 20 * env.replica_count))
        begun = time.perf_counter()
        list(nap.map([seconds] * inputs))
        print(time.perf_counter() - begun)
"""


def planned(rounds: int = 3) -> list[Row]:
    """Cold and warm: how far the plan is from what was measured, at worst. Its time to start is that of this hour."""
    with tempfile.TemporaryDirectory() as folder:
        script = Path(folder) / "planned.py"
        script.write_text(textwrap.dedent(_PROGRAM))

        def took(replicas: int, inputs: int, seconds: float, *more: str) -> float:
            arguments = [str(script), str(replicas), str(inputs), str(seconds), *more]
            times = [
                float(
                    subprocess.run([sys.executable, *arguments], stdout=subprocess.PIPE, text=True, check=True).stdout
                )
                for _ in range(rounds)
            ]
            return statistics.median(times)

        place = replace(HERE, start=took(1, 1, 0.0))
        return [_row(kind, more, place, took) for kind, more in (("cold", ()), ("warm", ("warm",)))]


def _row(kind: str, more: Sequence[str], place: Place, took: Callable[..., float]) -> Row:
    farthest, told = 0.0, []
    for replicas, inputs, seconds in _MAPS:
        said = actors(Work(inputs=inputs, seconds=seconds), place, replicas, warm=kind == "warm").seconds
        was = took(replicas, inputs, seconds, *more)
        farthest = max(farthest, abs(said / was - 1))
        told.append(f"{replicas}: {said:.2f} s, was {was:.2f} s")
    return Row(
        name=f"plan of maps on {kind} local replicas, farthest from what they took",
        measured=farthest,
        floor=0.15,
        at_least=False,
        unit="of it",
        detail="; ".join(told),
    )
