"""No password is shown, no setting that guards something is off unnoticed, and no log moves a cursor."""

from __future__ import annotations

import io
import json
import logging
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from actorq import DeclarationError
from actorq.base import log, masking
from actorq.base.masking import masked, printable
from actorq.base.settings import Settings, settings
from actorq.broker.redis_py import connection_pool
from actorq.kube.address import PodAddress
from actorq.replica.spec import ExecutorSpec, SupervisorSpec, ZygoteSpec


@pytest.fixture(autouse=True)
def anew(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(masking, "_known", ())
    settings.cache_clear()
    yield
    settings.cache_clear()


@pytest.mark.parametrize(
    "text",
    [
        "redis://:hunter2@h/0",
        "rediss://user:hunter2@h:1",
        "x redis://u:hunter2@h y",
        "redis://:p@hunter2@h",
        "redis://u:hunter2 with blanks@h/0",
        "redis://u:pass hunter2@h/0",
        "redis://u:p/a?s#hunter2@h/0",
        "unix:///x.sock?password=hunter2&db=1",
        "rediss://h/0?ssl_password=hunter2",
        "rediss://h/0?db=1&ssl_keyfile_password=hunter2&x=1",
        "rediss://h/0?password=pass hunter2&x=1",
        "https://h/?access_token=hunter2",
        "Connection(host='h', password='hunter2', db=0)",
        "{'url': 'redis://u:hunter2@h', 'ssl_password': b'hunter2'}",
        '{"signing_key": "hunter2"}',
        "redis://u:hunter2@h and redis://u:hunter2@i",
    ],
)
def test_passwords_are_masked(text: str) -> None:
    assert "hunter2" not in masked(text)
    assert "***" in masked(text)
    assert masked(masked(text)) == masked(text)


def test_what_is_no_password_stays() -> None:
    for text in ("redis://h:6379/0 cannot be reached", "unix:///x.sock?db=1", "a@b: token of a word", "x: 1 @ y"):
        assert masked(text) == text
    assert masked("redis://u:a@h and redis://u:b@i") == "redis://u:***@h and redis://u:***@i"


passwords = st.text(st.characters(codec="utf-8", exclude_characters="\n"), min_size=8)


@given(passwords)
def test_a_password_this_program_was_given_is_hidden_wherever_it_turns_up(password: str) -> None:
    quoted = quote(password, safe="")
    masking.hide(addresses=(f"redis://user:{quoted}@host/0", f"rediss://h?ssl_password={quoted}"))
    for text in (f"broken: {password}!", f"'{password}'", quote(password, safe="")):
        assert password not in masked(text)
    masking._known = ()


def test_an_address_that_is_none_is_told_without_a_part_of_its_password() -> None:
    with pytest.raises(DeclarationError) as caught:
        connection_pool("redis://u:hun#ter2@h/0")
    assert caught.value.__cause__ is None
    assert "hun" not in str(caught.value)


def test_nothing_that_holds_a_secret_shows_it() -> None:
    url = "redis://u:hunter2@h"
    holders: list[object] = [
        Settings(redis_url=url, pod_redis_url=url, signing_key="hunter2"),
        PodAddress(url=url, signing_key="hunter2"),
        SupervisorSpec(url=url, replicas=1, zygote=ZygoteSpec(targets=[])),
        ExecutorSpec(url=url, environment="e", workers=["w"], lease_seconds=1, isolation="none", scratch=""),
    ]
    for holder in holders:
        assert "hunter2" not in repr(holder)
        assert "hunter2" not in f"{[holder]}"


GUARDS = [
    "ACTORQ_SIGNING_KEY",
    "ACTORQ_REDIS_CA_FILE",
    "ACTORQ_REDIS_SECRET",
    "ACTORQ_KUBERNETES_NAMESPACE",
    "ACTORQ_MEMORY_LIMIT_BYTES",
    "ACTORQ_MAX_PAYLOAD_BYTES",
    "ACTORQ_BROKER_TIMEOUT",
    "ACTORQ_DRAIN_SECONDS",
]


@pytest.mark.parametrize("name", GUARDS)
@pytest.mark.parametrize("value", ["", " ", "\t\n"])
def test_a_setting_that_guards_something_is_not_switched_off_by_an_empty_value(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(DeclarationError, match=f"{name} is set and empty"):
        settings()
    monkeypatch.delenv(name)
    monkeypatch.setenv(f"{name}_FILE", "")
    with pytest.raises(DeclarationError, match=f"{name}_FILE is set and empty"):
        settings()


@pytest.mark.parametrize("name", [*GUARDS, "ACTORQ_REDIS_URL"])
@pytest.mark.parametrize("content", [b"", b" \n", b"\xff\xfe"])
def test_a_file_that_holds_no_value_is_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str, content: bytes
) -> None:
    file = tmp_path / "value"
    file.write_bytes(content)
    monkeypatch.setenv(f"{name}_FILE", str(file))
    with pytest.raises(DeclarationError, match=f"{name}_FILE names .*which is (empty|no text)"):
        settings()


def test_a_key_that_can_be_guessed_is_warned_of_once_by_the_program_that_has_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("ACTORQ_SIGNING_KEY", "fifteen bytes..")
    with pytest.warns(RuntimeWarning, match="ACTORQ_SIGNING_KEY has 15 bytes"):
        assert settings().signing_key == "fifteen bytes.."
    settings.cache_clear()
    monkeypatch.setenv("ACTORQ_REPLICA_OF", "e")
    assert settings().signing_key == "fifteen bytes.."
    settings.cache_clear()
    monkeypatch.delenv("ACTORQ_REPLICA_OF")
    monkeypatch.setenv("ACTORQ_SIGNING_KEY", "sixteen bytes...")
    assert settings().signing_key == "sixteen bytes..."


@pytest.mark.parametrize("value", ["nan", "inf", "0", "-1", "x"])
def test_a_number_of_bytes_is_a_number_of_bytes(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("ACTORQ_MAX_PAYLOAD_BYTES", value)
    with pytest.raises(DeclarationError, match="ACTORQ_MAX_PAYLOAD_BYTES"):
        settings()


class Logged:
    """What our programs write, in one of their formats."""

    def __init__(self, log_format: str) -> None:
        self._buffer = io.StringIO()
        log.configure(log_format, "info")
        handler = logging.getLogger("actorq").handlers[0]
        assert isinstance(handler, logging.StreamHandler)
        handler.setStream(self._buffer)

    @property
    def text(self) -> str:
        return self._buffer.getvalue()


@pytest.fixture(params=["json", "console"])
def logged(request: pytest.FixtureRequest) -> Iterator[Logged]:
    yield Logged(request.param)
    forget_logging()
    structlog.reset_defaults()


def forget_logging() -> None:
    """As if this were no program of ours."""
    log.run_tasks()
    ours = logging.getLogger("actorq")
    ours.handlers.clear()
    ours.setLevel(logging.NOTSET)
    ours.propagate = True
    log._handler, log._runs_tasks = None, False


def fail(password: str, data: dict[str, Any]) -> None:
    local = f"local-{password}"
    error = ValueError("cannot reach redis://u:pass hunter2@h")
    error.add_note("at redis://u:hunter2@h")
    raise error from KeyError(f"redis://u:{len(local)}hunter2@h")


@pytest.mark.parametrize("whose", ["ours", "foreign"])
def test_a_logged_exception_shows_no_variable_and_no_password(logged: Logged, whose: str) -> None:
    logger: Any = log.logger() if whose == "ours" else logging.getLogger("redis.of.somebody")
    try:
        fail("swordfish", {"input": "private"})
    except ValueError:
        logger.exception("failed")
    assert "cannot reach redis://u:***@h" in logged.text
    for secret in ("swordfish", "private", "hunter2"):
        assert secret not in logged.text.replace('fail("swordfish", {"input": "private"})', "")  # a line of the source


class Unshowable:
    def __repr__(self) -> str:
        raise RuntimeError("not now")


def test_what_is_logged_is_masked_however_deep_it_lies(logged: Logged) -> None:
    url = "redis://u:hunter2@h"
    log.logger().warning(
        "event",
        text=url,
        nested={"urls": [url, (url, {url})], url: 1},
        error=ConnectionError(url),
        spec=SupervisorSpec(url=url, replicas=1, zygote=ZygoteSpec(targets=[])),
        password="hunter2",
        inner={"signing_key": "hunter2", "number": 7},
        odd=Unshowable(),
    )
    logging.getLogger("redis").warning("cannot reach %s of %s", url, [url])
    assert "hunter2" not in logged.text
    assert "7" in logged.text
    assert "not now" not in logged.text
    assert "RuntimeError" in logged.text


def test_nothing_that_is_logged_moves_a_cursor_or_begins_a_line(logged: Logged) -> None:
    odd = "a\x1b[2J\x9b1mb\nlevel=error\r\u202e"
    log.logger().warning("event", lease=odd, leases=[odd], named={odd: odd})
    logging.getLogger("rq").warning("of %s", odd)
    assert "\x1b[2J" not in logged.text
    assert not set(logged.text) & set("\x9b\r\u202e")
    begun = [line for line in logged.text.splitlines() if line.startswith("level=error")]
    assert len(begun) <= 1  # what others log may have several lines


def test_json_logs_are_json(capsys: pytest.CaptureFixture[str]) -> None:
    logged = Logged("json")
    log.logger().warning("event", value=b"\xff", when=object())
    assert json.loads(logged.text)["value"] == r"b'\xff'"
    forget_logging()


@given(st.text(max_size=30))
def test_what_is_printable_has_nothing_that_a_terminal_obeys(text: str) -> None:
    shown = printable(text)
    assert shown.isprintable() or all(c.isprintable() or c.isspace() or c > "\xa0" for c in shown)
    assert not any(c < " " or "\x7f" <= c <= "\x9f" for c in shown)
    shown.encode()
    assert printable(shown) == shown
    assert {c for c in printable(text, lines=True) if c < " "} <= set("\n\t")


def test_masking_takes_time_in_proportion() -> None:
    """Each of these once took seconds where a search begins anew at every character."""
    with warnings.catch_warnings():
        for text in ("a", "://", "a://u:", "?token", "password='", "passwordpassword", " ", "?password=", "@"):
            assert len(masked(text * (100_000 // len(text)))) > 0


@pytest.mark.parametrize("address", ["unix:/run/redis.sock", "127.0.0.1:6379", "localhost", "redis:/127.0.0.1"])
def test_a_mistyped_address_without_a_place_for_a_secret_is_shown(address: str) -> None:
    masking.hide(addresses=[address])
    assert masked(f"{address!r} is no address.") == f"{address!r} is no address."


@pytest.mark.parametrize("address", ["unix:/run/redis.sock?password=hunter2", "redis:/me:hunter2@host", "me:hunter2@h"])
def test_a_mistyped_address_that_may_hold_a_secret_is_hidden(address: str) -> None:
    masking.hide(addresses=[address])
    assert "hunter" not in masked(f"{address!r} is no address.")
