"""A sealed lease is opened by who has the key and the environment, and by nobody else."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actorq import CodecError, PoolError
from actorq.frames import split
from actorq.seal import seal, unseal
from actorq.settings import settings

KEY = "0123456789abcdef"


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("ACTORQ_SIGNING_KEY", KEY)
    settings.cache_clear()
    yield
    settings.cache_clear()


def set_key(monkeypatch: pytest.MonkeyPatch, value: str | None) -> None:
    monkeypatch.delenv("ACTORQ_SIGNING_KEY") if value is None else monkeypatch.setenv("ACTORQ_SIGNING_KEY", value)
    settings.cache_clear()


SEALED = b"HEAD", b"\x91\x01"


def test_a_sealed_lease_is_opened_with_its_key() -> None:
    head, items = unseal("env", b"".join(seal("env", *SEALED)))
    assert (head, bytes(items)) == SEALED


@given(at=st.integers(0, 10_000), bit=st.integers(0, 7))
def test_a_lease_of_which_any_bit_was_changed_is_refused(at: int, bit: int) -> None:
    payload = bytearray(b"".join(seal("env", *SEALED)))
    payload[at % len(payload)] ^= 1 << bit
    with pytest.raises((PoolError, CodecError)):
        unseal("env", payload)


@given(length=st.integers(0, 200))
def test_a_lease_that_was_cut_short_is_refused(length: int) -> None:
    payload = b"".join(seal("env", *SEALED))
    with pytest.raises((PoolError, CodecError)):
        unseal("env", payload[: length % len(payload)])


def test_a_lease_of_another_environment_is_refused() -> None:
    with pytest.raises(PoolError, match="ACTORQ_SIGNING_KEY"):
        unseal("other", b"".join(seal("env", *SEALED)))


def test_a_lease_without_a_signature_is_refused_by_who_has_a_key(monkeypatch: pytest.MonkeyPatch) -> None:
    set_key(monkeypatch, None)
    payload = b"".join(seal("env", *SEALED))
    set_key(monkeypatch, KEY)
    with pytest.raises(PoolError, match="not signed"):
        unseal("env", payload)


def test_who_has_no_key_reads_signed_leases_too(monkeypatch: pytest.MonkeyPatch) -> None:
    payload = b"".join(seal("env", *SEALED))
    set_key(monkeypatch, None)
    assert bytes(unseal("env", payload)[1]) == SEALED[1]
    assert split(payload)[0] == SEALED[0]
