"""What a failing task looks like to its caller: exceptions, retries, timeouts, deaths."""

from __future__ import annotations

import signal
import time
from pathlib import Path

import psutil
import pytest
from rq import Queue
from rq.job import Job

from actorq import CodecError, NonRecoverableError, PoolError, ReplicaLostError, TaskError, TaskTimeoutError
from actorq.runtime.program import runtime
from tests.conftest import eventually, pool_client
from tests.support.code import tasks


def test_an_exception_comes_back_as_its_own_type() -> None:
    with pytest.raises(ValueError, match="no 3") as caught:
        tasks.fails_at.remote(3)
    report = caught.value.__cause__
    assert isinstance(report, TaskError)
    assert report.index == 0
    assert report.attempt == 1
    assert report.replica.startswith("plain-")
    assert 'raise ValueError(f"no {x}")' in report.remote_traceback
    assert "actorq/replica" not in report.remote_traceback


def test_an_exception_with_a_constructor_of_its_own_keeps_its_state() -> None:
    with pytest.raises(tasks.OwnError, match="code 7") as caught:
        tasks.raises_own.remote(7)
    assert caught.value.code == 7
    assert caught.value.hint == "turn it off and on"


def test_an_exception_of_an_unknown_type_is_a_task_error() -> None:
    with pytest.raises(TaskError, match="HomeMadeError: boom"):
        tasks.raises_unknown.remote(1)


def test_the_error_of_a_map_tells_its_index() -> None:
    with pytest.raises(ValueError, match="no 3") as caught:
        list(tasks.fails_at.map([9, 9, 3, 9]))
    assert isinstance(caught.value.__cause__, TaskError)
    assert caught.value.__cause__.index == 2


def test_a_task_that_exits_fails_and_its_replica_lives() -> None:
    before = tasks.who.remote(0)
    with pytest.raises(TaskError, match="SystemExit"):
        tasks.exits.remote(1)
    assert eventually(lambda: psutil.pid_exists(before))


def test_retries_try_again(tmp_path: Path) -> None:
    assert tasks.flaky.remote(str(tmp_path / "call")) == 2
    outputs = tasks.flaky.map([str(tmp_path / "a"), str(tmp_path / "b")])
    assert list(outputs) == [2, 2]
    assert outputs.stats().retried == 4


def test_a_nonrecoverable_error_is_not_tried_again(tmp_path: Path) -> None:
    with pytest.raises(NonRecoverableError):
        tasks.hopeless.remote(str(tmp_path / "tries"))
    assert (tmp_path / "tries").read_text() == "x"


def test_an_output_that_cannot_be_carried_is_a_named_error() -> None:
    named = r"output of tests\.support\.code\.tasks\.returns_object cannot be carried: builtins\.object.*Pass "
    with pytest.raises(CodecError, match=named):
        tasks.returns_object.remote(1)


def test_an_argument_that_cannot_be_carried_is_named() -> None:
    with pytest.raises(CodecError, match=r"Argument b= of .*add"):
        tasks.add.remote(1, b=object())  # type: ignore[arg-type]  # on purpose
    with pytest.raises(CodecError, match=r"Input 1 of .*echo"):
        list(tasks.echo.map([1, object()]))
    with pytest.raises(CodecError, match=r"Argument c= of .*add"):
        tasks.add.map([1], kwargs={"c": object()})
    with pytest.raises(
        CodecError, match=r"Input 0 of .*add at \[1\]\['deep'\]\[0\] cannot be carried: builtins\.object"
    ):
        list(tasks.add.starmap([(1, {"deep": [object()]})]))


def test_an_argument_of_a_submitted_call_is_named() -> None:
    with pytest.raises(CodecError, match="Argument 1 of"):
        tasks.echo.submit(object())


def test_a_map_whose_calls_would_lack_an_argument_is_refused_at_once() -> None:
    with pytest.raises(
        TypeError, match=r"uses_second\(\), mapped over 1 iterable: missing .*'model'\. .*starmap\(\)\."
    ):
        tasks.uses_second.map([(1, "a")])
    with pytest.raises(TypeError, match=r"double\(\), mapped over 2 iterables: too many positional arguments\."):
        tasks.double.map([1], [2])
    with pytest.raises(TypeError, match="multiple values for argument 'x'"):
        tasks.double.map([1], kwargs={"x": 2})
    assert list(tasks.uses_second.map([1], kwargs={"model": "a"}))


def test_a_call_without_an_argument_names_the_task() -> None:
    with pytest.raises(TypeError, match=r"tests\.support\.code\.tasks\.add\(\): missing a required argument: 'a'"):
        tasks.add.remote()  # type: ignore[call-arg]  # on purpose


def test_a_timeout_stops_the_body() -> None:
    started = time.monotonic()
    with pytest.raises(TaskTimeoutError, match=r"0\.3 s"):
        tasks.sleeps.remote(30)
    assert time.monotonic() - started < 5


def test_a_timeout_costs_only_its_own_input() -> None:
    outputs = list(tasks.sleeps.map([0.0, 30, 0.01, 0.0], return_exceptions=True))
    assert isinstance(outputs[1], TaskTimeoutError)
    assert [outputs[0], *outputs[2:]] == [0.0, 0.01, 0.0]


def test_a_body_stuck_in_c_is_killed_and_the_others_do_not_suffer() -> None:
    outputs = list(tasks.stuck_in_c.map([0.0, 30, 0.01, 0.0], return_exceptions=True))
    assert isinstance(outputs[1], TaskTimeoutError)
    assert [outputs[0], *outputs[2:]] == [0.0, 0.01, 0.0]
    with pytest.raises(TaskTimeoutError):
        tasks.stuck_in_c.remote(30)


def test_a_replica_that_dies_costs_no_result(tmp_path: Path) -> None:
    outputs = tasks.dies_once.map(range(200), kwargs={"flag": str(tmp_path / "flag")})
    assert list(outputs) == list(range(200))
    assert outputs.stats().recovered >= 1


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSEGV])
def test_an_input_that_kills_replicas_is_isolated(how: int) -> None:
    outputs = list(tasks.dies.map(range(8), kwargs={"how": int(how)}, return_exceptions=True))
    assert isinstance(outputs[3], ReplicaLostError)
    assert how.name in str(outputs[3])  # type: ignore[attr-defined]  # it is a Signals
    assert outputs[:3] + outputs[4:] == [0, 1, 2, 4, 5, 6, 7]


def test_a_call_that_kills_replicas_says_so() -> None:
    with pytest.raises(ReplicaLostError, match="3 replicas died"):
        tasks.dies.remote(3)


def test_killing_an_executor_from_outside_is_noticed_at_once() -> None:
    outputs = tasks.wait.map([0.05] * 40)
    next(outputs)
    supervisor = runtime().pools.local["plain"]._process.pid
    executors = [p for p in psutil.Process(supervisor).children(recursive=True) if not p.children()]
    executors[0].kill()
    assert len(list(outputs)) == 39


def test_a_task_that_waits_for_its_own_full_pool_is_told() -> None:
    outputs = list(tasks.calls_itself.map([1, 2], return_exceptions=True))
    assert any(isinstance(output, PoolError) for output in outputs)
    assert "wait for itself" in str(next(o for o in outputs if isinstance(o, PoolError)))


def failed_jobs(description: str) -> list[str]:
    """The tracebacks of the jobs in RQ's registry of failed ones whose description has this."""
    with pool_client() as server:
        ids = Queue("plain", connection=server).failed_job_registry.get_job_ids()
        jobs = [Job.fetch(job_id, connection=server) for job_id in ids]
        results = [job.latest_result() for job in jobs if description in (job.description or "")]
        return [str(result.exc_string) for result in results if result is not None]


def test_a_failed_input_is_a_failed_job_of_rq() -> None:
    with pytest.raises(ValueError, match="no 3"):
        tasks.fails_at.remote(3)
    assert "ValueError: no 3" in failed_jobs("fails_at: ValueError: no 3")[-1]


def test_the_last_input_of_a_map_that_kills_replicas_is_a_failed_job_of_rq() -> None:
    before = len(failed_jobs("dies: killed by SIGKILL"))
    outputs = tasks.dies.map([3], kwargs={"how": int(signal.SIGKILL)}, return_exceptions=True)
    assert isinstance(next(outputs), ReplicaLostError)
    outputs.close()
    assert len(failed_jobs("dies: killed by SIGKILL")) == before + 1
