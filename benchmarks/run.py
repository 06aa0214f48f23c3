"""`make bench`: prints the table, and writes it to benchmarks/results/ as JSON and Markdown.

Names of rows as arguments run only those: `python -m benchmarks.run noop_map remote_call`.
"""

from __future__ import annotations

import json
import os
import platform
import sys
from dataclasses import asdict
from pathlib import Path

from actorq.runtime import shutdown
from benchmarks import affinity, reset, rows
from benchmarks.forks import fork_overhead

_RESULTS = Path(__file__).parent / "results"


def main(names: list[str]) -> int:
    every = (*rows.ALL, reset.reset_by_size, fork_overhead, *affinity.ALL)
    chosen = [row for row in every if not names or row.__name__ in names]
    table: list[rows.Row] = []
    print(_HEAD)
    for measure in chosen:
        for row in measure():
            table.append(row)
            print(_line(row), flush=True)
    shutdown()
    _RESULTS.mkdir(exist_ok=True)
    machine = f"{os.cpu_count()} cores, Python {platform.python_version()}, {platform.system()}"
    (_RESULTS / "results.json").write_text(
        json.dumps({"machine": machine, "rows": [asdict(r) for r in table]}, indent=1)
    )
    (_RESULTS / "results.md").write_text("\n".join([f"Measured on {machine}.", "", _HEAD, *map(_line, table), ""]))
    return 0


_HEAD = "| what | measured | floor | |\n|---|---|---|---|"


def _line(row: rows.Row) -> str:
    sign = ">=" if row.at_least else "<="
    mark = "" if row.reached else " **missed**"
    return f"| {row.name} | {row.measured:.3g} {row.unit}{mark} | {sign} {row.floor:g} | {row.detail} |"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
