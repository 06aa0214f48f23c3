"""Probes, metrics and status tell the truth about running work."""

from __future__ import annotations

import json
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest
import redis
from click.testing import CliRunner
from prometheus_client.parser import text_string_to_metric_families
from rq.suspension import resume, suspend

from actorq.cli.main import main
from tests.conftest import ROOT, Worker, eventually
from tests.support.code import tasks


def get(port: int, path: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as reply:
            return reply.status, reply.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def samples(text: str) -> dict[str, float]:
    """`name{label values}` -> value."""
    found = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            found[" ".join([sample.name, *sample.labels.values()])] = sample.value
    return found


def actorq(*arguments: str, url: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "actorq.cli", *arguments, "-u", url]
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=40, check=False)


def told(*arguments: str, url: str) -> Any:
    """What a command tells as JSON, without a process for each look."""
    done = CliRunner().invoke(main, [*arguments, "-o", "json", "-u", url], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


@pytest.fixture
def watched(on_server: str) -> Iterator[Worker]:
    worker = Worker(on_server, http_port=0)
    worker.wait_ready()
    yield worker
    worker.stop()


def test_a_worker_answers_probes_and_tells_its_counters(watched: Worker) -> None:
    port = watched.http_port()
    assert get(port, "/livez") == (200, "ok\n")
    assert eventually(lambda: get(port, "/readyz")[0] == 200, timeout=30)
    assert list(tasks.double.map(range(100))) == [2 * i for i in range(100)]
    assert len(list(tasks.fails_at.map(range(5), return_exceptions=True))) == 5

    def counters() -> dict[str, float]:
        return samples(get(port, "/metrics")[1])

    assert eventually(lambda: counters()["actorq_inputs_total plain succeeded"] == 104)
    assert counters()["actorq_inputs_total plain failed"] == 1
    assert counters()["actorq_replicas plain idle"] == 2
    assert get(port, "/nonsense")[0] == 404


def test_what_is_cached_is_told_by_function_and_no_argument_is_shown(watched: Worker) -> None:
    port = watched.http_port()
    # ten of each in a row, of which one replica sees several
    assert len(set(tasks.uses_secrets.map([f"secret-{i // 10}" for i in range(300)]))) == 30

    def counters() -> dict[str, float]:
        return samples(get(port, "/metrics")[1])

    name = "plain tests.support.code.tasks.opened"
    assert eventually(lambda: counters().get(f"actorq_cache_hits_total {name}", 0) > 0, timeout=30)
    found = counters()
    loads = found[f"actorq_cache_loads_total {name}"]
    assert 30 <= loads == found[f"actorq_cache_misses_total {name}"] <= 60
    assert found[f"actorq_cache_evictions_total {name}"] + found[f"actorq_cache_entries {name}"] == loads
    assert found[f"actorq_cache_bytes {name}"] > 10_000
    assert found[f"actorq_cache_load_seconds_total {name}"] > 0
    assert "secret" not in get(port, "/metrics")[1].replace("uses_secrets", "")

    def workers() -> list[dict[str, Any]]:
        return list(told("workers", url=watched.url))

    assert eventually(lambda: any(r["cached"] for r in workers()), timeout=30)
    replica = max(workers(), key=lambda r: int(r["cached"]))
    functions = {f["function"]: f for f in replica["caches"]["functions"]}
    assert functions["tests.support.code.tasks.opened"]["entries"] == replica["cached"]
    assert 1 <= len(replica["caches"]["values"]) <= 20
    value = replica["caches"]["values"][0]
    assert value["function"] == "tests.support.code.tasks.opened"
    assert value["label"].startswith("password=str:")
    assert value["bytes"] > 800
    assert "secret-" not in json.dumps(replica)
    assert "BYTES" in actorq("workers", url=watched.url).stdout


def test_a_worker_without_its_server_lives_and_is_not_ready(watched: Worker) -> None:
    port = watched.http_port()
    assert eventually(lambda: get(port, "/readyz")[0] == 200, timeout=30)
    watched.stop_server()
    assert eventually(lambda: get(port, "/readyz")[0] == 503, timeout=30)
    assert get(port, "/livez")[0] == 200


def test_a_replaced_executor_is_counted(watched: Worker) -> None:
    port = watched.http_port()
    watched.executors()[0].kill()
    assert eventually(lambda: samples(get(port, "/metrics")[1])["actorq_executor_restarts_total plain"] == 1)


def test_status_shows_a_running_map_and_its_replicas(shared_worker: Worker) -> None:
    handle = tasks.sleeps.map([0.05] * 10_000, map_id="shown", max_outstanding=10_000)  # nobody takes the outputs
    next(handle)

    def look() -> list[dict[str, object]]:
        return list(told("status", "plain", url=shared_worker.url)[0]["maps"])

    def replicas() -> list[dict[str, object]]:
        return list(told("workers", url=shared_worker.url))

    assert eventually(lambda: [m["id"] for m in look()] == ["shown"], timeout=30)
    (shown,) = look()
    assert shown["total"] == 10_000
    assert shown["task"] == "tests.support.code.tasks.sleeps"
    assert {r["state"] for r in replicas()} <= {"busy", "idle"}
    assert eventually(lambda: "shown" in {r["map"] for r in replicas()}, timeout=30)
    table = actorq("status", url=shared_worker.url).stdout
    assert "plain: replicas" in table
    assert "/10,000" in table
    assert "plain" in actorq("queues", url=shared_worker.url).stdout
    handle.close()
    assert eventually(lambda: look() == [], timeout=30)


def test_inputs_that_wait_are_counted_as_inputs(on_server: str) -> None:
    handle = tasks.double.map(range(50), map_id="waits")
    time.sleep(0)

    def queue() -> dict[str, object]:
        found = told("queues", url=on_server)
        return dict(found[0]) if found else {}

    assert eventually(lambda: queue().get("queued_leases", 0) != 0, timeout=30)
    assert queue()["queued_inputs"] == queue()["queued_leases"]
    handle.close()


def test_a_map_of_which_nothing_runs_is_starved_and_one_that_runs_is_not(shared_worker: Worker) -> None:
    def look() -> dict[str, Any]:
        return dict(told("status", "plain", url=shared_worker.url)[0])

    first = tasks.sleeps.map([0.2] * 100, map_id="runs")
    assert eventually(lambda: look()["running_leases"] == 2, timeout=30)
    alone = look()
    assert alone["oldest_seconds"] > 0
    assert alone["starved_seconds"] == 0
    with redis.Redis.from_url(shared_worker.url) as client:
        suspend(client)  # what runs ends, and nothing begins
        second = tasks.sleeps.map([0.2], map_id="starves")
        assert eventually(lambda: look()["starved_seconds"] > 0, timeout=30)
        resume(client)
    second.close()
    first.close()


def test_ping_needs_none_of_the_code(shared_worker: Worker) -> None:
    done = actorq("ping", "plain", "--inputs", "5", url=shared_worker.url)
    assert (done.returncode, done.stdout) == (0, "plain: 5 of 5 inputs came back\n")


def test_ping_waits_for_a_replica(on_server: str) -> None:
    waiting = subprocess.Popen(
        [sys.executable, "-m", "actorq.cli", "ping", "plain", "-u", on_server],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert waiting.stderr is not None
    assert "no replica serves it yet" in waiting.stderr.readline()
    worker = Worker(on_server)
    try:
        assert waiting.communicate(timeout=30)[0] == "plain: 3 of 3 inputs came back\n"
    finally:
        worker.stop()


def test_ping_of_an_environment_without_replicas_fails(on_server: str) -> None:
    done = actorq("ping", "nobody", "--timeout", "1", url=on_server)
    assert done.returncode == 1
    assert "nobody: no replica serves it yet; environments with replicas: none\n" in done.stderr
    assert done.stderr.endswith("nobody: no replica serves it.\n")
    with redis.Redis.from_url(on_server) as client:
        assert not client.keys("rq:*")  # a misspelt name is not a queue from now on


def test_status_of_an_unknown_environment_says_so(on_server: str) -> None:
    done = actorq("status", "nobody", url=on_server)
    assert done.returncode == 1
    assert "no replica serves it" in done.stderr


def test_a_worker_refuses_a_target_of_another_environment(server: str) -> None:
    done = actorq("worker", "tests.support.code.tasks:plain", "-e", "other", url=server)
    assert done.returncode == 1
    assert "other" in done.stderr


def test_the_exporter_tells_depths_and_that_the_server_is_gone(worker: Worker) -> None:
    command = [sys.executable, "-m", "actorq.cli", "exporter", "-u", worker.url, "--http-port", "0"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, cwd=ROOT)
    try:
        assert process.stderr is not None
        port = int(process.stderr.readline().split()[-1])
        found = samples(get(port, "/metrics")[1])
        assert found["actorq_live_replicas plain idle"] == 2
        assert found["actorq_broker_up"] == 1
        assert get(port, "/readyz")[0] == 200
        with redis.Redis.from_url(worker.url) as client:
            client.hset("aq:map:odd", mapping={"done": "\x1b[2J"})
            client.zadd("aq:maps:plain", {"odd": time.time() + 100})
        assert samples(get(port, "/metrics")[1])["actorq_maps plain"] == 1
        assert process.stderr.readline() == "odd cannot be read in full: done is '\\x1b[2J', no whole number\n"
        worker.stop_server()
        assert samples(get(port, "/metrics")[1])["actorq_broker_up"] == 0
        assert get(port, "/readyz")[0] == 503
        assert get(port, "/livez")[0] == 200
    finally:
        process.terminate()
        process.communicate(timeout=10)
    assert process.returncode == 0


def test_replicas_whose_worker_was_killed_are_stale_after_a_lease(watched: Worker, on_server: str) -> None:
    def states() -> set[str]:
        (view,) = told("status", "plain", url=on_server)
        return {replica["state"] for replica in view["replicas"]}

    assert eventually(lambda: states() == {"idle"}, timeout=30)
    watched.process.kill()
    assert eventually(lambda: states() == {"stale"}, timeout=30)
    assert "replicas 2 stale;" in actorq("status", "plain", url=on_server).stdout


@pytest.mark.parametrize("seconds", [None, 300])
def test_ping_says_that_the_queues_are_suspended(watched: Worker, on_server: str, seconds: int | None) -> None:
    with redis.Redis.from_url(on_server) as client:
        suspend(client, ttl=seconds)
        told = actorq("ping", "plain", url=on_server)
        assert told.returncode == 1
        assert "suspended" in told.stderr
        assert ("s more" in told.stderr) is (seconds is not None)
        resume(client)
    assert actorq("ping", "plain", url=on_server).returncode == 0
