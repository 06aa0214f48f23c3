"""`make chaos`: ten minutes, or as long as asked; the seed that is printed makes the same strikes again.

python -m tests.chaos [--seconds 600] [--seed N]
"""

from __future__ import annotations

import argparse
import random
import shutil
import sys
import tempfile
from pathlib import Path

from tests.chaos.running import run


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description="Strike a running pool.")
    parser.add_argument("--seconds", type=float, default=600.0)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1000))
    parser.add_argument("--keep", action="store_true", help="keep the logs, and say where they are")
    given = parser.parse_args()
    print(f"seed {given.seed}", flush=True)
    folder = Path(tempfile.mkdtemp(prefix="chaos-"))
    try:
        outcome = run(folder, given.seed, given.seconds)
    finally:
        if given.keep:
            print(f"logs in {folder}")
        else:
            shutil.rmtree(folder, ignore_errors=True)
    print(outcome)
    return 1 if outcome.problems else 0


if __name__ == "__main__":
    sys.exit(main())
