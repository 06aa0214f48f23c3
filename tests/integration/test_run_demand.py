"""Work that nobody has leased yet is wanted work: pools wake up for it, and stay."""

from __future__ import annotations

import time

from actorq.broker import keys, records
from actorq.broker.link import Link
from actorq.broker.scripts import running
from actorq.monitor.metrics import queue_families
from actorq.monitor.view import environments
from actorq.runs.driver import Driver
from tests.conftest import Worker, drivers, eventually
from tests.support.code import tasks


def metric(link: Link, name: str) -> float:
    families = {family.name: family for family in queue_families(environments(link))}
    return float(next((s.value for s in families[name].samples if s.labels.get("environment") == "plain"), 0.0))


def test_runs_and_jobs_that_nobody_serves_are_counted_and_keep_a_pool(on_server: str) -> None:
    link = Link(on_server, patience=0.0)
    run = tasks.double.spawn_map(range(500), map_id="waits")
    job = tasks.double.spawn(1, delay=0.05)
    later = tasks.double.spawn(1, delay=1000)
    assert eventually(lambda: metric(link, "actorq_queue_leases") > 0)
    assert metric(link, "actorq_map_inputs_remaining") == 500
    assert metric(link, "actorq_runs") == 1
    assert eventually(lambda: metric(link, "actorq_scheduled_jobs") == 1)
    assert records.idle_seconds(link, "plain", time.time() + 100) == 0.0
    worker = Worker(on_server)
    assert run.wait(timeout=60) == "done"
    assert job.result(timeout=60) == 2
    assert metric(link, "actorq_map_inputs_remaining") == 0
    assert records.idle_seconds(link, "plain", time.time()) == 0.0  # a job waits for its time
    later.cancel()
    assert records.idle_seconds(link, "plain", time.time() + 100) != 0.0
    worker.stop()
    link.close()


def test_a_run_without_any_driver_is_counted(on_server: str) -> None:
    link = Link(on_server, patience=0.0)
    run = tasks.double.spawn_map(range(500), map_id="alone")
    from actorq.runtime.program import runtime

    for driver in list(runtime()._drivers.values()):
        assert isinstance(driver, Driver)
        driver.stop()
    assert eventually(lambda: not link.command("EXISTS", keys.lead("alone")))
    assert metric(link, "actorq_map_inputs_remaining") == 500
    assert metric(link, "actorq_runs") == 1
    run.delete()
    assert metric(link, "actorq_runs") == 0
    link.close()


def test_a_worker_that_drains_hands_its_runs_over(on_server: str) -> None:
    """As in a rolling upgrade: the driver goes with its worker, and another one goes on at once."""
    first, second = Worker(on_server), Worker(on_server)
    first.wait_ready(4)
    link = Link(on_server, patience=0.0)
    run = tasks.wait.spawn_map([0.02] * 400, map_id="rolling")
    from actorq.runtime.program import runtime

    for driver in list(runtime()._drivers.values()):
        driver.stop()
    assert eventually(lambda: bool(drivers(first) or drivers(second)), timeout=60)
    assert eventually(lambda: run.stats().succeeded > 40, timeout=60)
    leads = [worker for worker in (first, second) if drivers(worker)]
    assert leads
    first.stop()
    assert run.wait(timeout=60) == "done"
    assert run.stats().submitted == 400
    assert run.results() == [0.02] * 400
    second.stop()
    assert running.lead(link, "plain", "rolling", "late", 2, "nobody", take=True) == running.ENDED
    link.close()
    run.delete()
