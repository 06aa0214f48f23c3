"""Variables of the environment that look like settings, and are none."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest

import actorq
from actorq import DeclarationError
from actorq.base import variables
from actorq.base.settings import settings
from actorq.cli.main import main

PACKAGE = Path(actorq.__file__).parent


@pytest.fixture(autouse=True)
def fresh(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(variables, "_told", False)
    settings.cache_clear()
    yield
    settings.cache_clear()


def told() -> list[str]:
    settings.cache_clear()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        settings()
    return [str(each.message) for each in caught]


def test_a_misspelt_setting_is_told_once_with_the_one_that_was_meant(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACTORQ_REDDIS_URL", "redis://localhost")
    monkeypatch.setenv("ACTORQ_NONSENSE", "1")
    (text,) = told()
    assert "ACTORQ_NONSENSE, ACTORQ_REDDIS_URL (did you mean ACTORQ_REDIS_URL?)" in text
    assert told() == []


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("ACTORQ_SIGNING_KEYS", "ACTORQ_SIGNING_KEY"),
        ("ACTORQ_SIGN", "ACTORQ_SIGNING_KEY"),
        ("ACTORQ_SINGING_KEY_FILE", "ACTORQ_SIGNING_KEY"),
        ("ACTORQ_REDIS_CA_FILES", "ACTORQ_REDIS_CA_FILE"),
    ],
)
def test_one_that_was_to_protect_something_is_refused(monkeypatch: pytest.MonkeyPatch, name: str, meant: str) -> None:
    monkeypatch.setenv(name, "x" * 32)
    for _ in range(2):
        with pytest.raises(DeclarationError, match=f"{name} is no setting.*did you mean {meant}"):
            settings()


@pytest.mark.parametrize(
    "name",
    [
        *("ACTORQ_WORKER_REPLICAS", "ACTORQ_TEST_CLUSTER", "ACTORQ_SPAWN_JOB", "ACTORQ_REDIS_SERVICE_HOST"),
        *("ACTORQ_REDIS_PORT", "ACTORQ_REDIS_PORT_6379_TCP_ADDR", "ACTORQ_REDIS_SERVICE_PORT_HTTP", "ACTORQ_PORT"),
    ],
)
def test_what_others_read_is_known(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(name, "1")
    assert told() == []


def test_a_replica_does_not_say_it_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACTORQ_REDDIS_URL", "redis://localhost")
    monkeypatch.setenv("ACTORQ_REPLICA_OF", "e")
    assert told() == []


def test_every_variable_that_the_package_reads_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    read = {name for file in PACKAGE.rglob("*.py") for name in re.findall(r'"(ACTORQ_[A-Z_]+[A-Z])"', file.read_text())}
    assert len(read) > 20
    # ACTORQ_REDIS_CA only names a file, with _FILE behind it
    for name in read - {"ACTORQ_REPLICA_OF", "ACTORQ_OWNED", "ACTORQ_REDIS_URL", "ACTORQ_REDIS_CA"}:
        monkeypatch.setenv(name, "1" * 32)
    assert not [text for text in told() if "no setting" in text]
    assert {name.upper().replace("-", "_") for name in main.commands} == set(variables.COMMANDS)
