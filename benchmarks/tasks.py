"""The tasks that are measured."""

from __future__ import annotations

import time

from actorq import ActorEnvironment

two = ActorEnvironment("bench-two", replica_count=2, isolation="none")
two_reset = ActorEnvironment("bench-two-reset", replica_count=2)
eight = ActorEnvironment("bench-eight", replica_count=8, isolation="none")
twenty = ActorEnvironment("bench-twenty", replica_count=20, isolation="none")
hundred = ActorEnvironment("bench-hundred", replica_count=100)


def hello_plain(i: int) -> str:
    return "hello %d" % i  # noqa: UP031 - the form the peers were measured with


@two.task
def hello(i: int) -> str:
    return "hello %d" % i  # noqa: UP031 - see above


@two_reset.task
def hello_reset(i: int) -> str:
    return "hello %d" % i  # noqa: UP031 - see above


@two.task
def echo(value: bytes) -> bytes:
    return value


@eight.task
def nap(seconds: float) -> float:
    time.sleep(seconds)
    return seconds


@twenty.task
def nap_twenty(seconds: float) -> float:
    time.sleep(seconds)
    return seconds


@hundred.task
def idle(i: int) -> int:
    return i


four = ActorEnvironment("bench-four", replica_count=4, isolation="none")


@four.task
def nap_four(seconds: float) -> float:
    time.sleep(seconds)
    return seconds


#: of the replicas of `signed`; who submits has to have it, too
KEY = "a key that everybody may know"

signed = ActorEnvironment("bench-signed", replica_count=2, isolation="none", environment={"ACTORQ_SIGNING_KEY": KEY})


@signed.task
def hello_signed(i: int) -> str:
    return "hello %d" % i  # noqa: UP031 - see above


@signed.task
def echo_signed(value: bytes) -> bytes:
    return value
