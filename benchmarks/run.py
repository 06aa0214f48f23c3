"""`make bench`: prints the table, and writes it to benchmarks/results/ as JSON and Markdown.

Names of rows as arguments run only those: `python -m benchmarks.run noop_map remote_call`. Each runs in a program of
its own: what one leaves in the allocator changes what the next one measures, by a factor of two for values of 1 MiB.
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

from actorq.runtime.program import shutdown
from benchmarks import affinity, fairness, outliving, planned, reset, rows, signing
from benchmarks.forks import fork_overhead

_RESULTS = Path(__file__).parent / "results"
_ALL = {
    row.__name__: row
    for row in (
        *rows.ALL,
        reset.reset_by_size,
        fork_overhead,
        fairness.fairness,
        signing.signing,
        *affinity.ALL,
        *outliving.ALL,
        planned.planned,
    )
}
#: in front of the name of the one row that this program is to measure, and print as JSON
_ONE = "--one"


def main(arguments: list[str]) -> int:
    if arguments[:1] == [_ONE]:
        print(json.dumps([asdict(row) for row in _ALL[arguments[1]]()]))
        shutdown()
        return 0
    if unknown := [name for name in arguments if name not in _ALL]:
        print(f"There is no row {unknown[0]!r}; there are: {', '.join(_ALL)}.", file=sys.stderr)
        return 2
    table: list[rows.Row] = []
    print(_HEAD)
    for name in arguments or _ALL:
        for row in _alone(name):
            table.append(row)
            print(_line(row), flush=True)
    _RESULTS.mkdir(exist_ok=True)
    machine = f"{os.cpu_count()} cores, Python {platform.python_version()}, {platform.system()}"
    (_RESULTS / "results.json").write_text(
        json.dumps({"machine": machine, "rows": [asdict(r) for r in table]}, indent=1)
    )
    (_RESULTS / "results.md").write_text("\n".join([f"Measured on {machine}.", "", _HEAD, *map(_line, table), ""]))
    return 0


def _alone(name: str) -> list[rows.Row]:
    command = [sys.executable, "-m", "benchmarks.run", _ONE, name]
    printed = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout
    return [rows.Row(**fields) for fields in json.loads(printed.splitlines()[-1])]


_HEAD = "| what | measured | floor | |\n|---|---|---|---|"


def _line(row: rows.Row) -> str:
    sign = ">=" if row.at_least else "<="
    mark = "" if row.reached else " **missed**"
    return f"| {row.name} | {row.measured:.3g} {row.unit}{mark} | {sign} {row.floor:g} | {row.detail} |"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
