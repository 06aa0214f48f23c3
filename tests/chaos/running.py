"""One run: starts the field, strikes it for a while, waits for everybody, and judges."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.chaos.field import Field
from tests.chaos.strikes import Strikes

#: seconds that maps may take to end when the strikes have ended
_PATIENCE = 120.0


@dataclass
class Outcome:
    """What came of a run. `problems` is empty when all is well."""

    seed: int
    seconds: float
    inputs: int = 0
    strikes: Counter[str] = field(default_factory=Counter)
    lost: int = 0
    wrong: int = 0
    disorder: int = 0
    twice: int = 0
    late: int = 0
    executions: Counter[int] = field(default_factory=Counter)
    #: longest of each map, seconds; its name; what was struck meanwhile
    silences: list[tuple[float, str, list[str]]] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        runs = sum(times * count for times, count in self.executions.items()) / max(1, sum(self.executions.values()))
        most = max(self.executions, default=0)
        lines = [
            f"seed {self.seed}: {self.inputs:,} inputs in {self.seconds:.0f} s, {self.strikes.total()} strikes",
            "  " + ", ".join(f"{name} {count}" for name, count in self.strikes.most_common()),
            f"  lost {self.lost}, wrong {self.wrong}, out of order {self.disorder}, accepted twice {self.twice}",
            f"  late results dropped {self.late}; executions of an input: mean {runs:.3f}, most {most}",
            "  longest time without an output, seconds, and what was struck meanwhile:",
            *(
                f"    {silence:5.1f} {name}: {', '.join(during)}"
                for silence, name, during in sorted(self.silences)[-3:]
            ),
        ]
        return "\n".join([*lines, *(f"  PROBLEM: {problem}" for problem in self.problems)])


def run(folder: Path, seed: int, seconds: float) -> Outcome:
    outcome = Outcome(seed=seed, seconds=seconds)
    arena = Field(folder)
    try:
        arena.wait_ready()
        for at in range(2):
            arena.submit(2 * seed + at, seconds, through_proxy=bool(at))
        arena.wait_begun()
        strikes = _strike(arena, seed, seconds)
        for report in arena.reports(_PATIENCE):
            _judge(outcome, report, strikes.done)
        outcome.problems += [f"left on the way out: {each}" for each in arena.stop_workers()]
        outcome.problems += [f"a key is left: {key}" for key in arena.left_keys()]
    finally:
        arena.close()
    outcome.strikes = strikes.counts
    outcome.executions = executions(folder)
    return outcome


def _strike(arena: Field, seed: int, seconds: float) -> Strikes:
    strikes = Strikes(arena, seed)
    strikes.start()
    try:
        time.sleep(seconds)
    finally:
        strikes.stop()
    return strikes


def _judge(outcome: Outcome, report: dict[str, Any], strikes: list[tuple[float, str]]) -> None:
    if "error" in report:
        outcome.problems.append(report["error"])
    for account in report["accounts"]:
        outcome.inputs += account["given"]
        outcome.lost += account["lost"]
        outcome.wrong += len(account["wrong"])
        outcome.disorder += account["disorder"]
        outcome.twice += account["twice"]
        outcome.late += account["late"]
        begin, end = account["since"] - 1.0, account["since"] + account["silence"]
        during = [name for at, name in strikes if begin <= at <= end]
        outcome.silences.append((account["silence"], account["name"], during))
        told = [*account["wrong"], *filter(None, [account["error"]])]
        if account["lost"]:
            told.append(f"{account['lost']} of {account['given']} lost")
        if account["twice"]:
            told.append(f"{account['twice']} accepted twice")
        outcome.problems += [f"{account['name']}: {each}" for each in told]


def executions(folder: Path) -> Counter[int]:
    """How many inputs ran once, twice, ..."""
    ran: Counter[str] = Counter()
    for file in folder.glob("ran-*"):
        ran.update(file.read_text().splitlines())
    return Counter(ran.values())
