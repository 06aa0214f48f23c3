"""`make fuzz`: tries bytes of anybody's for a minute, or as long as asked, and prints each finding with its bytes.

python -m tests.fuzz [--seconds 60] [--seed N]      a seed that is printed makes the same cases again
python -m tests.fuzz --case TARGET HEX              one case that was printed
"""

from __future__ import annotations

import argparse
import random
import sys

from tests.fuzz.running import Outcome, run
from tests.fuzz.targets import TARGETS


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description="Try bytes of anybody's.")
    parser.add_argument("--seconds", type=float, help="how long; a minute where nothing else is said")
    parser.add_argument("--cases", type=int, help="so many of each target")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 32))
    parser.add_argument("--case", nargs=2, metavar=("TARGET", "HEX"))
    given = parser.parse_args()
    if given.case is not None:
        _, attempt = TARGETS[given.case[0]]
        print("good" if attempt(bytes.fromhex(given.case[1])) else "refused")
        return 0
    seconds = 60.0 if given.seconds is None and given.cases is None else given.seconds
    print(f"seed {given.seed}", flush=True)
    outcome = run(given.seed, seconds=seconds, cases=given.cases)
    show(outcome)
    return 1 if outcome.findings else 0


def show(outcome: Outcome) -> None:
    print(f"{'target':10} {'cases':>9} {'good':>9} {'slowest':>10}")
    for target in TARGETS:
        slowest = outcome.slowest.get(target, 0.0)
        print(f"{target:10} {outcome.cases[target]:9,} {outcome.taken[target]:9,} {slowest:8.3f} s")
    for finding in outcome.findings:
        print(f"\n{finding}")
    print(f"\n{len(outcome.findings)} findings")


if __name__ == "__main__":
    sys.exit(main())
