"""`make bench-leaks`: runs the probes on actorq and on its peers, and writes the page benchmarks/LEAKS.md.

With names of systems it runs only those, and leaves the page alone: `python -m benchmarks.leaks reset celery`.
"""

from __future__ import annotations

import datetime as dt
import json
import platform
import sys
from dataclasses import asdict

from benchmarks.apart import ROOT, install
from benchmarks.leaks import probes
from benchmarks.leaks.systems import ACTORQ, PEER_SYSTEMS, Outcome, Result, System, run

_PAGE = ROOT / "benchmarks" / "LEAKS.md"
_RESULTS = ROOT / "benchmarks" / "results"
#: of importlib.metadata, where a package to install is called otherwise
_PINNED = {"dask": "distributed", "celery": "celery[redis]"}

#: systems that have warm replicas, and cannot be run without their own servers. What is said of them was read.
_NOT_RUN = """\
## Not run

* **Union actors** (union 0.1.204, flytekit 1.16.31) and **Flyte 2 reusable environments** (flyte 2.12.1): both install
  here, and both run a task in the calling process when there is no backend (`f(x=1)`, and
  `flyte.with_runcontext(mode="local")`, printed the caller's process id), so there is no replica to probe. What was
  read in their sources and documentation: between two tasks of one Union actor the modules of the shipped code are
  imported anew, so their globals are clean and the class of a cached object is another one; the working directory and
  the variables that the platform set are restored; variables, patches, files, threads and child processes of user code
  are not. Flyte 2 restores none of these, and keeps globals on purpose.
"""


def main(names: list[str]) -> int:
    chosen = [system for system in (*ACTORQ, *PEER_SYSTEMS) if not names or system.name in names]
    for package in dict.fromkeys(system.package for system in chosen if system.package):
        install(package, _PINNED.get(package, package))
    results = []
    for system in chosen:
        print(f"{system.title} ...", file=sys.stderr, flush=True)
        results.append(run(system))
    page = _page(results)
    print(page)
    _RESULTS.mkdir(exist_ok=True)
    data = [asdict(result) | {"system": result.system.title} for result in results]
    (_RESULTS / "leaks.json").write_text(json.dumps(data, indent=1))
    (_RESULTS / "leaks.md").write_text(page)
    if not names:
        _PAGE.write_text(page)
    return 0


def _page(results: list[Result]) -> str:
    today = dt.datetime.now(tz=dt.UTC).date()
    ours = [result for result in results if result.system in ACTORQ]
    peers = [result for result in results if result.system not in ACTORQ]
    lines = [
        "# What an input sees of the one before it",
        "",
        "Made by `make bench-leaks`; the probes are in `benchmarks/leaks/probes.py`. Each changes one piece of state",
        "in one input, and looks at it in the next. One worker, so that the next input meets the same one.",
        "",
        f"Run on {today}, Python {platform.python_version()}, {platform.system()}: {_versions(results)}.",
        "",
        "* **-**: clean. The second input saw what the first had seen before it changed it.",
        "* **leaks**: the second input saw what the first had changed, or what it left still ran.",
        "* **reported**: leaks, and actorq said so once, with the name of the task and what it left.",
        "* **kept**, **lost**: whether what was loaded once was still there for the second input.",
        "",
        "## actorq",
        "",
        *_table(ours),
        "",
        "## Others",
        "",
        "Set up as their documentation does it. They have nothing of their own for what is loaded once, so it is in",
        "`functools.lru_cache`: where that row leaks is the other side of *kept*. Those with an option after the name",
        "make a process for every task, as does RQ's Worker.",
        "",
        *_table(peers),
        "",
        *_notes(results),
        _NOT_RUN,
    ]
    return "\n".join(lines)


def _versions(results: list[Result]) -> str:
    found: dict[str, str] = {}
    for result in results:
        found |= result.versions
    return ", ".join(f"{name} {version}" for name, version in found.items())


def _table(results: list[Result]) -> list[str]:
    """The systems as columns."""
    if not results:
        return []
    rows = [["probe", *(_title(result.system) for result in results)], ["---"] * (len(results) + 1)]
    rows += [[probe.name, *(_cell(result.outcomes.get(probe.name)) for result in results)] for probe in probes.PROBES]
    same = [{outcome.same_process for outcome in result.outcomes.values()} - {None} for result in results]
    rows.append(["*both inputs in one process*", *(_yes(each) for each in same)])
    return [f"| {' | '.join(row)} |" for row in rows]


def _title(system: System) -> str:
    return system.title.replace("actorq ", "")


def _cell(outcome: Outcome | None) -> str:
    if outcome is None or outcome.verdict.startswith("not run"):
        return "not run"
    return "-" if outcome.verdict == probes.CLEAN else outcome.verdict


def _yes(found: set[bool | None]) -> str:
    if not found:
        return "not run"
    return "some" if len(found) > 1 else "yes" if True in found else "no"


def _notes(results: list[Result]) -> list[str]:
    """Why something was not run."""
    notes = [f"* {result.system.title}: did not run: {result.failure}" for result in results if result.failure]
    for result in results:
        notes += [
            f"* {result.system.title}, {name}: {outcome.verdict}."
            for name, outcome in result.outcomes.items()
            if outcome.verdict.startswith("not run")
        ]
    return [*notes, ""] if notes else []


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
