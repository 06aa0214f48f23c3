"""Commands that look at work which outlives its script: `runs`, `results` and `failures`."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from actorq.base.amounts import rate, size, whole_span
from actorq.base.settings import settings
from actorq.cli.options import output, redis_url, say, server_url
from actorq.cli.tables import print_table
from actorq.errors import ActorqError, CodecError, PoolError, TaskError

if TYPE_CHECKING:
    from actorq.broker.client import Client
    from actorq.monitor.jobs import JobView
    from actorq.monitor.records import Problems
    from actorq.monitor.runs import RunView

#: seconds to try a server that cannot be reached
_PATIENCE = 5.0
#: failures of a plain map that are shown
_MOST = 10_000


@contextmanager
def client_of(url: str | None, *, follows: bool = False) -> Iterator[Client]:
    """A client of the server that was given, or that is set; one that `follows` bears an outage as programs do."""
    from actorq.broker.client import Client

    client = Client(server_url(url), settings().broker_timeout if follows else _PATIENCE)
    try:
        yield client
    finally:
        client.close()


@click.command(short_help="Runs: maps that outlive the script that started them.")
@click.argument("environment", required=False, metavar="[ENVIRONMENT_OR_RUN]")
@redis_url
@output
def runs(environment: str | None, redis_url: str | None, output: str) -> None:
    """Show the maps that were started with `spawn_map`: those that go on, then those that ended, the last one first."""
    from actorq.monitor.records import Problems
    from actorq.monitor.runs import runs as all_runs

    with client_of(redis_url) as client, client.lent() as link:
        problems = Problems()
        found = [run for run in all_runs(link, problems=problems) if environment in (None, run.environment, run.id)]
    _tell(problems)
    if environment is not None and not found:
        raise PoolError(f"There is no run {environment!r} on this server, and none of an environment of this name.")
    if output == "json":
        say(json.dumps([asdict(run) for run in found], indent=2))
        return
    print_table(
        ("RUN", "ENVIRONMENT", "TASK", "STATE", "DONE", "FAILED", "RATE", "AGE", "DRIVER", "SIZE"),
        [_row(run) for run in found],
        [run.problem for run in found],
    )


@click.command(short_help="Single jobs: those that run, wait or are scheduled, and those that ended.")
@click.argument("environment", required=False)
@redis_url
@click.option(
    "--most", default=100, show_default=True, type=click.IntRange(min=1), help="How many of each kind are looked for."
)
@output
def jobs(environment: str | None, redis_url: str | None, most: int, output: str) -> None:
    """Show the jobs that were made with `spawn`: what runs, what waits, what is scheduled, and the last that ended."""
    from actorq.monitor.jobs import jobs as all_jobs
    from actorq.monitor.records import Problems

    problems = Problems()
    with client_of(redis_url) as client, client.lent() as link:
        found = all_jobs(link, environment, most=most, problems=problems)
    _tell(problems)
    if output == "json":
        say(json.dumps([asdict(job) for job in found], indent=2))
        return
    print_table(
        ("JOB", "ENVIRONMENT", "TASK", "STATUS", "RETRIED", "AGE", "DUE IN", "REPLICA"),
        [_job_row(job) for job in found],
        [job.problem for job in found],
    )


def _tell(problems: Problems) -> None:
    if str(problems):
        say(f"A list cannot be read, and what it names is not shown: {problems}.", err=True)


def _job_row(job: JobView) -> tuple[Any, ...]:
    times = (whole_span(job.age_seconds), whole_span(job.due_seconds))
    return (job.id, job.environment, job.task, job.status, job.retried, *times, job.replica or "-")


def _row(run: RunView) -> tuple[Any, ...]:
    total = f"{run.stored:,}+" if run.total is None else f"{run.total:,}"
    driver = run.driver or ("nobody" if run.state == "running" else "-")
    numbers = (f"{run.done:,}/{total}", run.failed, f"{rate(run.rate)}/s", whole_span(run.age_seconds))
    return (run.id, run.environment, run.task, run.state, *numbers, driver, size(run.bytes))


@click.command(short_help="The outputs of a run.")
@click.argument("run")
@redis_url
@click.option("--start", default=0, show_default=True, type=click.IntRange(min=0), help="Index of the first output.")
@click.option("--follow", is_flag=True, help="Wait for those that are still to come.")
@click.option(
    "-o",
    "--output",
    type=click.Choice(["jsonl", "msgpack"]),
    default="jsonl",
    show_default=True,
    help="A line of JSON each, or msgpack objects, packed as they travel.",
)
def results(run: str, redis_url: str | None, start: int, follow: bool, output: str) -> None:
    """Write the outputs of RUN in the order of its inputs, as far as they are there.

    An input that failed ends it with its exception, unless the run tolerates failures: then it is null.
    """
    from actorq.runs.reader import Reader
    from actorq.wire import codec

    with client_of(redis_url, follows=follow) as client:
        if (of_job := _result_of_job(client, run, follow=follow)) is not None:
            write_out(codec.pack(*of_job) if output == "msgpack" else line_of(0, *of_job), flush=True)
            return
        reader = Reader(client, run, ordered=True, start=start)
        index = start
        try:
            if not follow:
                reader.catch_up()
            while (some := reader.some(wait=follow)) is not None:
                for value in some:
                    write_out(codec.pack(value) if output == "msgpack" else line_of(index, value))
                    index += 1
                write_out(b"", flush=True)
        except (ActorqError, click.exceptions.Exit):
            raise
        except Exception as error:  # what the task raised
            told = f"input {index} failed with {type(error).__name__}: {error}"
            raise TaskError(told, remote_traceback=remote_traceback(error)) from error
        finally:
            reader.close()
        write_out(b"", flush=True)
        if not reader.over:
            there = f"{index:,} outputs are there" if index > start else f"There is no output from index {start:,} on"
            say(f"{there}, and the run goes on: --follow waits for the others.", err=True)


def write_out(data: bytes, *, flush: bool = False) -> None:
    """To standard output. Ends the program quietly where nobody reads it any more, as `head` does not."""
    try:
        sys.stdout.buffer.write(data)
        if flush:
            sys.stdout.buffer.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # what the interpreter would flush at its end
        raise click.exceptions.Exit(1) from None


def _result_of_job(client: Client, name: str, *, follow: bool) -> tuple[Any] | None:
    """The output of a single job, waited for with `follow`; None where that is no job."""
    from actorq.broker.job_records import job_record
    from actorq.runs.job import Job

    with client.lent() as link:
        if job_record(link, name) is None:
            return None
    job = Job[Any](client, name)
    if not follow and job.status() not in ("finished", "failed", "canceled"):
        raise PoolError(f"Job {name!r} is {job.status()}: --follow waits for it.")
    try:
        return (job.result(),)
    except ActorqError:
        raise
    except Exception as error:  # what the task raised
        told = f"job {name} failed with {type(error).__name__}: {error}"
        raise TaskError(told, remote_traceback=remote_traceback(error)) from error


def line_of(index: int, value: Any) -> bytes:
    """An output as a line of JSON. Raises `CodecError` for what JSON cannot hold."""
    if isinstance(value, Exception):  # with return_exceptions=True
        value = {"error": type(value).__name__, "message": str(value)}
    try:
        return json.dumps(value, ensure_ascii=False, allow_nan=False).encode() + b"\n"
    except (TypeError, ValueError) as error:
        raise CodecError(
            f"Output {index} has what JSON cannot hold ({error}): have the task return something else, or take the "
            "outputs as msgpack, or in Python."
        ) from None


@click.command(short_help="The inputs that failed, and why.")
@click.argument("run", metavar="RUN_OR_MAP_OR_JOB")
@redis_url
@click.option("--traceback", is_flag=True, help="Show where each was raised.")
@click.option("-o", "--output", type=click.Choice(["text", "json"]), default="text", show_default=True)
def failures(run: str, redis_url: str | None, traceback: bool, output: str) -> None:
    """Show the inputs of a run that have failed for good: index, exception and input; at most 10,000.

    Of a plain map, while it runs and for a day: those that RQ's registry of failed jobs has. A job that failed is one.
    """
    with client_of(redis_url) as client:
        rows = _failure_of_job(client, run)
        if rows is None:
            rows = _failures_of_map_or_run(client, run)
    if output == "json":
        say(json.dumps(rows, indent=2))
        return
    for row in rows:
        say(f"{row['index']}  {row['type']}: {row['message']}\n    input: {row['input']}")
        if traceback and row["traceback"]:
            say("    " + row["traceback"].rstrip().replace("\n", "\n    "))


def _failure_of_job(client: Client, name: str) -> list[dict[str, Any]] | None:
    """Of a single job; None where that is none."""
    from actorq.broker.job_records import job_record
    from actorq.runs.job import Job

    with client.lent() as link:
        record = job_record(link, name)
    if record is None:
        return None
    if record.status != "failed":
        return []
    try:
        Job[Any](client, name).result()
    except Exception as error:  # what has ended it
        message = Exception.__str__(error) if isinstance(error, TaskError) else str(error)  # its own has the traceback
        told = {"type": type(error).__name__, "message": message, "traceback": remote_traceback(error)}
        return [{"index": 0, **told, "input": "(that of the job)"}]
    return []


def _failures_of_map_or_run(client: Client, name: str) -> list[dict[str, Any]]:
    """Raises `PoolError` for the name of nothing."""
    from actorq.broker import records, run_records
    from actorq.monitor.failures import failures as recorded
    from actorq.monitor.failures import failures_of_run

    with client.lent() as link:
        found = []
        if run_records.run_record(link, name) is None:
            environments = records.environments(link)
            found = [
                each for environment in environments for each in recorded(link, environment, map_id=name, most=_MOST)
            ]
        plain = bool(found) or records.map_lives(link, name)
    if not plain:
        found = failures_of_run(client, name)
    kept = ("index", "type", "message", "traceback", "input")
    return [{key: getattr(each, key) for key in kept} for each in sorted(found, key=lambda each: each.index or 0)]


def remote_traceback(error: Exception) -> str:
    """Where a task raised `error`, as text; "" where nobody knows."""
    remote = error if isinstance(error, TaskError) else error.__cause__
    return str(getattr(remote, "remote_traceback", ""))
