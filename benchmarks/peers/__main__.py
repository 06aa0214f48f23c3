"""`make bench-peers`: runs all systems in turn, round by round, and writes docs/peers.md with its picture.

With names of systems it runs only those, and leaves the page alone: `python -m benchmarks.peers actorq Ray`. With
`--all` there are five rows more, and it takes 18 minutes in place of five.
"""

from __future__ import annotations

import contextlib
import json
import os
import statistics
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.apart import ROOT, install, output_of, python_of, redis_socket
from benchmarks.peers import page
from benchmarks.peers.systems import SYSTEMS

_RESULTS = ROOT / "benchmarks" / "results"
OURS = ("actorq", "actorq, none")
#: what pip installs for a system, in an environment of that name
_PACKAGES = {
    "joblib": "joblib==1.6.0",
    "mpire": "mpire==2.10.2",
    "Dask": "distributed==2026.8.0",
    "Ray": "ray==2.60.0",
    "Celery": "celery[redis]==5.7.0",
    "RQ": "rq==3.0.0",
}
#: asks for all rows
_ALL = "--all"
#: rounds, and seconds that one system may take in one
_ROUNDS, _TIMEOUT = 3, 300


@dataclass
class Measured:
    """All rounds of one system."""

    name: str
    setting: str = ""
    versions: dict[str, str] = field(default_factory=dict)
    #: row -> what each round gave: a number, or why there is none
    rows: dict[str, list[float | str]] = field(default_factory=dict)

    def add(self, rows: dict[str, float | str]) -> None:
        for name, value in rows.items():
            self.rows.setdefault(name, []).append(value)

    def median(self, row: str) -> float | None:
        numbers = [value for value in self.rows.get(row, ()) if not isinstance(value, str)]
        return statistics.median(numbers) if numbers else None

    def error(self, row: str) -> str:
        return next((value for value in self.rows.get(row, ()) if isinstance(value, str)), "")


def main(arguments: list[str]) -> int:
    names, everything = [each for each in arguments if each != _ALL], _ALL in arguments
    chosen = names or [*OURS, *SYSTEMS]
    for name in (name for name in chosen if name in _PACKAGES):
        install(name.lower(), _PACKAGES[name], "numpy")
    measured = {name: Measured(name) for name in chosen}
    for number in range(_ROUNDS):
        for name in chosen:
            print(f"round {number + 1}: {name} ...", file=sys.stderr, flush=True)
            _measure(measured[name], everything=everything)
    _RESULTS.mkdir(exist_ok=True)
    (_RESULTS / "peers.json").write_text(json.dumps({name: vars(each) for name, each in measured.items()}, indent=1))
    text, picture = page.made(list(measured.values()), _ROUNDS)
    print(text)
    if not names:
        (ROOT / "docs" / "peers.md").write_text(text)
        (ROOT / "docs" / "images" / "peers.svg").write_text(picture)
    return 0


def _measure(measured: Measured, *, everything: bool) -> None:
    """One round of one system, in a process group that ends with it."""
    python = str(python_of(measured.name.lower())) if measured.name in _PACKAGES else sys.executable
    command = [python, "-m", "benchmarks.peers.measure", measured.name, *([_ALL] if everything else [])]
    wanted = measured.name in ("Celery", "RQ")
    with tempfile.TemporaryDirectory(prefix="bp-") as scratch, redis_socket(wanted=wanted) as server:
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": scratch, "PEERS_SERVER": server}
        begun = time.time()
        with (Path(scratch) / "said").open("w+") as said:
            printed, _ = output_of(command, environment, said.fileno(), _TIMEOUT)
            said.seek(0)
            last = (said.read().splitlines() or ["nothing was said"])[-1]
    told: dict[str, Any] = {}
    for line in printed.splitlines():
        with contextlib.suppress(ValueError):
            told |= json.loads(line)
    rows = dict(told.get("rows") or dict.fromkeys(page.rows(everything=everything), f"did not end: {last[:100]}"))
    if "first" in told:
        rows["start"] = told["first"] - begun
    measured.add(rows)
    measured.setting, measured.versions = told.get("setting", measured.setting), told.get("versions", measured.versions)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
