"""Actors beside regular tasks on a cluster: three scenarios, two workloads. `make bench-cluster`.

Uses the cluster of the current KUBECONFIG, in a namespace of its own that goes with the run. The server is the chart's.

    python -m benchmarks.cluster --inputs 40 --replicas 5 --image actorq:0.1.0 [--cold]
"""

from __future__ import annotations

import json
import os
import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import click

from actorq.base.settings import settings

RESULTS = Path(__file__).parent / "results"


@dataclass(frozen=True, kw_only=True)
class Line:
    """One line of the report."""

    workload: str
    tasks: str
    concurrency: str
    seconds: float
    #: beside what the inputs alone take on that many replicas; None where they take nothing
    over_floor: float | None


@click.command()
@click.option("--inputs", "-n", default=40, show_default=True, help="Inputs of each map.")
@click.option("--replicas", "-r", default=5, show_default=True, help="Replicas, and pods of the bounded scenario.")
@click.option("--sleep", default=5.0, show_default=True, help="Seconds of the second workload.")
@click.option("--rounds", default=1, show_default=True, help="Runs of each scenario; the median counts.")
@click.option("--cold", is_flag=True, help="Start the pool of actors with each map instead of before the first.")
@click.option("--image", default="actorq:0.1.0", show_default=True, help="Image of actorq that the nodes have.")
@click.option("--helm-args", envvar="ACTORQ_TEST_HELM_ARGS", default="", help="More arguments of `helm install`.")
def main(inputs: int, replicas: int, sleep: float, rounds: int, cold: bool, image: str, helm_args: str) -> None:
    """Measures, prints the tables and writes them to benchmarks/results/cluster.{md,json}."""
    os.environ |= {"ACTORQ_TEST_IMAGE": image, "ACTORQ_TEST_HELM_ARGS": helm_args}
    from tests.cluster.conftest import Release

    release = Release()
    try:
        release.install("--set", "environments.hello.replicas=1")
        os.environ["ACTORQ_REDIS_URL"] = url = release.redis_url()
        os.environ["ACTORQ_ACL_URL"] = release.acl_url(url)
        os.environ["ACTORQ_KUBERNETES_NAMESPACE"] = release.namespace
        os.environ["ACTORQ_POD_REDIS_URL"] = "redis://rel-actorq-redis:6379/0"
        settings.cache_clear()
        lines = _measure(inputs, replicas, sleep, rounds, cold)
        pods = ", ".join(_nodes(release))
    finally:
        from actorq.runtime.program import shutdown

        shutdown()
        release.close()
    report = _report(lines, inputs, replicas, sleep, "cold" if cold else "warm", pods)
    click.echo(report)
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "cluster.md").write_text(report + "\n")
    (RESULTS / "cluster.json").write_text(json.dumps([asdict(line) for line in lines], indent=2) + "\n")


def _measure(inputs: int, replicas: int, sleep: float, rounds: int, cold: bool) -> list[Line]:
    from benchmarks import cluster_tasks as tasks

    tasks.actors.replica_count = replicas
    lines = []
    for workload, seconds in (("Hello World", 0.0), (f"{sleep:g}s Sleep", sleep)):

        def regular(most: int | None, seconds: float = seconds) -> None:
            tasks.regular.concurrency = most
            assert list(tasks.in_a_pod.map([seconds] * inputs)) == ["Hello World"] * inputs

        def actors(seconds: float = seconds) -> None:
            assert list(tasks.on_a_replica.map([seconds] * inputs)) == ["Hello World"] * inputs

        def warm_up() -> None:
            if cold:
                tasks.actors.down()
                _until(lambda: tasks.actors.status().wanted == 0)
            else:
                tasks.actors.up()
                _until(lambda: tasks.actors.status().ready == replicas)
                list(tasks.on_a_replica.map([0.05] * 10 * replicas))

        scenarios: list[tuple[str, str, int, Callable[[], None], Callable[[], None]]] = [
            ("Without Actors", "unbound", inputs, lambda: None, lambda: regular(None)),
            ("Without Actors", str(replicas), replicas, lambda: None, lambda: regular(replicas)),
            ("With Actors", str(replicas), replicas, warm_up, actors),
        ]
        for kind, concurrency, parallel, before, run in scenarios:
            taken = []
            for _ in range(rounds):
                before()
                began = time.perf_counter()
                run()
                taken.append(time.perf_counter() - began)
                click.echo(f"{workload}, {kind}, {concurrency}: {taken[-1]:.3f} s", err=True)
            floor = -(-inputs // parallel) * seconds
            median = statistics.median(taken)
            over = median / floor if floor else None
            lines.append(Line(workload=workload, tasks=kind, concurrency=concurrency, seconds=median, over_floor=over))
        tasks.actors.down()
    return lines


def _until(done: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 300
    while not done():
        assert time.monotonic() < deadline, "the pool did not get there in five minutes"
        time.sleep(0.5)


def _nodes(release: object) -> list[str]:
    from tests.cluster.conftest import Release

    assert isinstance(release, Release)
    nodes = json.loads(release.kubectl("get", "nodes", "-o", "json", namespaced=False))["items"]
    return [f"{n['status']['capacity']['cpu']} cores ({n['status']['nodeInfo']['kubeletVersion']})" for n in nodes]


def _report(lines: list[Line], inputs: int, replicas: int, sleep: float, state: str, nodes: str) -> str:
    text = [f"{inputs} inputs, {replicas} replicas, {state} pool; nodes: {nodes}."]
    for workload in dict.fromkeys(line.workload for line in lines):
        mine = [line for line in lines if line.workload == workload]
        text += ["", f'## "{workload}" Benchmark', ""]
        text += [
            "| Task Type | Concurrency/Replicas | Duration (seconds) | Over the floor |",
            "| --- | --- | --- | --- |",
        ]
        for line in mine:
            over = "-" if line.over_floor is None else f"{line.over_floor:.3f}"
            text.append(f"| {line.tasks} | {line.concurrency} | {line.seconds:.3g} | {over} |")
        unbound, matched, actors = (line.seconds for line in mine)
        saved, saved_unbound = 1 - actors / matched, 1 - actors / unbound
        text += [
            "",
            f"Actors take {saved:.1%} off if live pods are matched, {saved_unbound:.1%} off the unbounded map.",
        ]
    text += ["", f"The floor is inputs x {sleep:g} s / replicas; a map of no-ops has none."]
    return "\n".join(text)


if __name__ == "__main__":
    main()
