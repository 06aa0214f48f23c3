"""`make demo`: a real job on real files, to see in a minute what actors are for.

Identifies the content type of the files of this Python installation with magika, an ONNX model that takes half a second
to load and some milliseconds a file. Warm replicas load it once each; regular tasks load it for every file.
"""

from __future__ import annotations

import os
import random
import sys
import sysconfig
import time
from collections import Counter
from pathlib import Path
from typing import Any

from actorq import ActorEnvironment, TaskEnvironment, actor_cache

#: files to identify, and how many of them also as regular tasks
_FILES, _SAMPLE = 2000, 8

env = ActorEnvironment("magika", replica_count=4)
regular = TaskEnvironment("magika-regular", concurrency=2)


@actor_cache
def model() -> Any:
    """The model: loaded once per replica."""
    from magika import Magika

    return Magika()


@env.task
def identify(path: str) -> tuple[str, int, int]:
    """(content type, models this replica has loaded, pid of the replica)."""
    label = str(model().identify_path(path).output.label)
    return label, model.cache_info().misses, os.getpid()


@regular.task
def identify_fresh(path: str) -> str:
    """The same in a fresh process, which has to load the model first."""
    return str(model().identify_path(path).output.label)


def _files() -> list[str]:
    """Files of the running Python installation, the same ones every time."""
    roots = {sysconfig.get_path("stdlib"), sysconfig.get_path("purelib")}
    found = sorted(str(p) for root in roots for p in Path(root).rglob("*") if p.is_file() and not p.is_symlink())
    return random.Random(0).sample(found, min(_FILES, len(found)))


def main() -> None:
    files = _files()
    print(f"Identifying {len(files):,} files with a model on {env.replica_count} warm replicas.\n")
    started = time.perf_counter()
    results = identify.map(files, progress=True).results()
    warm = time.perf_counter() - started
    labels = Counter(label for label, _, _ in results)
    loads = {pid: misses for _, misses, pid in results}
    print(f"\n  most frequent    {', '.join(f'{label} {n:,}' for label, n in labels.most_common(6))}")
    print(f"  model loaded     {sum(loads.values())} times, by {len(loads)} replicas, for {len(files):,} files")
    print(f"  time             {warm:.1f} s, start of server and replicas included\n")

    sample = files[:_SAMPLE]
    print(f"The same as regular tasks: a fresh process for every file, {regular.concurrency} at a time.\n")
    started = time.perf_counter()
    fresh = identify_fresh.map(sample, progress=True).results()
    cold = time.perf_counter() - started
    if fresh != [label for label, _, _ in results[:_SAMPLE]]:
        sys.exit("The two ways gave different answers.")
    estimate = cold / len(sample) * len(files)
    print(f"\n  time             {cold:.1f} s for {len(sample)} files, same answers")
    print(f"  extrapolated     {estimate:,.0f} s for all {len(files):,} files: {estimate / warm:.0f} times as long")


if __name__ == "__main__":
    main()
