"""What a server refuses: whether waiting helps, and what a person is told."""

from __future__ import annotations

import warnings

import pytest
import redis
from redis.exceptions import AuthenticationError, BusyLoadingError, ReadOnlyError

from actorq.broker.patience import Patience, never
from actorq.broker.redis_py import of_redis_py
from actorq.broker.refusals import (
    CallError,
    LoginRefusedError,
    LostError,
    NotPermittedError,
    ServerFullError,
    explain,
    refusal,
    typed,
)
from actorq.errors import BrokerError

URL = "redis://:secret@host:6379/0"

PASSING = [
    "LOADING Redis is loading the dataset in memory",
    "BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE.",
    "MISCONF Errors writing to the AOF file: No space left on device",
    "NOREPLICAS Not enough good replicas to write.",
    "MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.",
    "READONLY You can't write against a read only replica.",
    "UNBLOCKED force unblock from blocking operation, instance state changed (master -> replica?)",
    "TRYAGAIN Multiple keys request during rehashing of slot",
    "CLUSTERDOWN The cluster is down",
    "NOSCRIPT No matching script.",
    "OOM command not allowed when used memory > 'maxmemory'.",
    "ERR max number of clients reached",
    # a script's error, as Redis 6.2 wraps it
    "ERR Error running script (call to f_1): @user_script:3: @user_script: 3: -MISCONF Errors writing to the AOF file",
]
FINAL = [
    "WRONGTYPE Operation against a key holding the wrong kind of value",
    "NOPERM this user has no permissions to run the 'evalsha' command",
    "ERR unknown command 'EVALSHA'",
    "ERR wrong number of arguments",
    "DENIED Running in protected mode",
]


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time, and nobody sleeps."""
    now = [0.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    monkeypatch.setattr("time.sleep", lambda seconds: now.__setitem__(0, now[0] + seconds))
    return now


def patience(seconds: float = 10.0, *, stubborn: bool = False, at_once: bool = False) -> Patience:
    return Patience(URL, seconds, stubborn=stubborn, at_once=at_once, is_gone=never)


def bear_for_ever(borne: Patience, error: CallError, clock: list[float]) -> None:
    while True:
        borne.bear(error, clock[0], full=True)


@pytest.mark.parametrize("text", PASSING)
def test_what_passes_is_borne_and_told_once(text: str, clock: list[float]) -> None:
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        with pytest.raises(BrokerError):
            bear_for_ever(patience(), typed(text), clock)
    assert [str(each.message).endswith(" Trying for 10 s.") for each in told] == [True]
    assert clock[0] == pytest.approx(10.0)


@pytest.mark.parametrize("text", FINAL)
def test_what_is_final_is_told_at_once(text: str, clock: list[float]) -> None:
    with pytest.raises(BrokerError):
        patience(stubborn=True).bear(typed(text), 0.0, full=True)
    assert clock == [0.0]


@pytest.mark.parametrize("text", ["NOAUTH Authentication required.", "WRONGPASS invalid username-password pair"])
def test_a_refused_login_is_borne_by_who_stays(text: str, clock: list[float]) -> None:
    with pytest.raises(LoginRefusedError):
        patience().bear(typed(text), 0.0, full=True)
    patience(stubborn=True).bear(typed(text), 0.0, full=True)
    assert clock[0] > 0


def test_patience_is_spent_once_in_an_outage_however_many_calls_meet_it(clock: list[float]) -> None:
    borne = patience(2.0)
    borne.bear(LostError("cut"), 0.0, full=True)
    clock[0] = 1.5
    borne.bear(LostError("cut"), 1.5, full=True)  # another call
    clock[0] = 2.5
    with pytest.raises(BrokerError):
        borne.bear(LostError("cut"), 2.5, full=True)
    borne.answered()
    borne.bear(LostError("cut"), 2.5, full=True)  # another outage


def test_who_is_to_hurry_tries_no_longer_than_that(clock: list[float]) -> None:
    borne = patience()
    borne.hurry(1.0)
    assert not borne.hurry(5.0)
    assert borne.time_for(10.0) == 1.0
    with pytest.raises(BrokerError):
        bear_for_ever(borne, LostError("cut"), clock)
    assert clock[0] == pytest.approx(1.0)
    assert 0 < borne.time_for(10.0) < 0.1
    borne.answered()
    assert borne.renew(10.0)
    assert borne.time_for(10.0) == 10.0


def test_one_reply_that_is_missing_is_not_worth_a_warning(clock: list[float]) -> None:
    borne = patience()
    clock[0] = 5.0
    borne.bear(LostError("no reply in time"), 0.0, full=True)  # a warning would be an error
    with pytest.warns(RuntimeWarning, match="cannot be reached"):
        borne.bear(LostError("no reply in time"), 5.0, full=True)


def test_a_server_that_never_answered_is_an_error_at_once_where_that_is_wanted(clock: list[float]) -> None:
    with pytest.raises(BrokerError, match="cannot be reached"):
        patience(at_once=True).bear(LostError("refused"), 0.0, full=True)
    patience(at_once=True).bear(typed(PASSING[0]), 0.0, full=True)  # it has answered
    heard = patience(at_once=True)
    heard.answered()
    heard.bear(LostError("refused"), 0.0, full=True)
    assert clock[0] > 0


def test_a_full_server_is_borne_by_who_can_make_no_room(clock: list[float]) -> None:
    full = typed("OOM command not allowed when used memory > 'maxmemory'.")
    with pytest.raises(ServerFullError):
        patience().bear(full, 0.0, full=False)
    patience().bear(full, 0.0, full=True)
    assert clock[0] > 0


@pytest.mark.parametrize(
    ("error", "kind", "told"),
    [
        (AuthenticationError("invalid username-password pair or user is disabled."), LoginRefusedError, "login"),
        (BusyLoadingError("is loading the dataset in memory"), BrokerError, "loading its data"),
        (ReadOnlyError("You can't write against a read only replica."), BrokerError, "address of the primary"),
        (redis.ConnectionError("max number of clients reached"), BrokerError, "maxclients"),
        (redis.ResponseError("NOPERM no permissions"), NotPermittedError, "ACL"),
        (redis.ConnectionError("Error 111 connecting"), BrokerError, "cannot be reached"),
        (redis.ConnectionError("Error 24 connecting to h:1. Too many open files."), BrokerError, "ulimit -n"),
    ],
)
def test_what_redis_py_makes_of_a_refusal_is_told_as_the_same(error: redis.RedisError, kind: type, told: str) -> None:
    ours = of_redis_py(error)
    explained = explain(ours, URL)
    assert type(explained) is kind
    assert told in str(explained)
    assert "secret" not in str(explained)
    assert refusal(ours).means in str(explained)
