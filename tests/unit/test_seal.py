"""What is signed is taken from who has the key, in the place it was signed for, and nowhere else."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actorq import CodecError, PoolError
from actorq.base.settings import settings
from actorq.wire.messages import DamagedFrameError, Frame, parse_frame, split
from actorq.wire.seal import body, map_keys, seal, seal_results, unseal, unseal_results

KEY, OTHER = "0123456789abcdef", "fedcba9876543210"
LEASE = "m-owner-1"
SEALED = b"HEAD", b"\x91\x01"


def set_key(monkeypatch: pytest.MonkeyPatch, value: str | None, name: str = "ACTORQ_SIGNING_KEY") -> None:
    monkeypatch.delenv(name, raising=False) if value is None else monkeypatch.setenv(name, value)
    settings.cache_clear()


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    set_key(monkeypatch, KEY)
    yield
    monkeypatch.undo()
    settings.cache_clear()


def sealed(environment: str = "env", lease: str = LEASE) -> bytes:
    return b"".join(seal(environment, lease, *SEALED))


def results(lease: str = LEASE, start: int = 0) -> bytes:
    frame = Frame(start=start, count=1, busy=0.1, replica="r", errors={}, outputs=b"\x91\x01")
    return b"".join(seal_results("env", lease, frame.parts()))


def test_a_sealed_lease_is_opened_with_its_key() -> None:
    head, items = unseal("env", LEASE, sealed())
    assert (head, bytes(items)) == SEALED


def test_sealed_results_are_opened_with_their_key() -> None:
    assert parse_frame(unseal_results("env", LEASE, results(start=3))).start == 3


@given(at=st.integers(0, 10_000), bit=st.integers(0, 7))
def test_what_was_changed_in_any_bit_is_refused(at: int, bit: int) -> None:
    payload, frame = bytearray(sealed()), bytearray(results())
    payload[at % len(payload)] ^= 1 << bit
    frame[at % len(frame)] ^= 1 << bit
    with pytest.raises((PoolError, CodecError)):
        unseal("env", LEASE, payload)
    with pytest.raises(DamagedFrameError):
        unseal_results("env", LEASE, frame)


@given(length=st.integers(0, 200))
def test_what_was_cut_short_is_refused(length: int) -> None:
    payload, frame = sealed(), results()
    with pytest.raises((PoolError, CodecError)):
        unseal("env", LEASE, payload[: length % len(payload)])
    with pytest.raises(DamagedFrameError):
        unseal_results("env", LEASE, frame[: length % len(frame)])


@pytest.mark.parametrize(
    ("environment", "lease"),
    [("other", LEASE), ("env", "n-owner-1"), ("env", "m-other-1"), ("env", "m-owner-2"), ("env", f"{LEASE}-1")],
    ids=["environment", "map", "owner", "serial", "requeued"],
)
def test_what_was_signed_for_another_place_is_refused(environment: str, lease: str) -> None:
    with pytest.raises(PoolError, match="not for this place"):
        unseal("env", LEASE, sealed(environment, lease))
    with pytest.raises(PoolError, match="not for this place"):
        unseal(environment, lease, sealed())
    with pytest.raises(DamagedFrameError, match="ACTORQ_SIGNING_KEY"):
        unseal_results(environment, lease, results())


def test_a_lease_is_no_results_and_results_are_no_lease() -> None:
    with pytest.raises(PoolError):
        unseal("env", LEASE, results())
    with pytest.raises(DamagedFrameError):
        unseal_results("env", LEASE, sealed())


def test_a_lease_that_is_older_than_a_day_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    payload = sealed()
    monkeypatch.setattr("time.time", lambda: 4e9)
    with pytest.raises(PoolError, match="clocks"):
        unseal("env", LEASE, payload)


@pytest.mark.parametrize("other", [None, OTHER])
def test_what_is_not_signed_or_with_another_key_is_refused(monkeypatch: pytest.MonkeyPatch, other: str | None) -> None:
    set_key(monkeypatch, other)
    payload, frame = sealed(), results()
    set_key(monkeypatch, KEY)
    with pytest.raises(PoolError, match="not signed"):
        unseal("env", LEASE, payload)
    with pytest.raises(DamagedFrameError, match="not signed"):
        unseal_results("env", LEASE, frame)


def test_who_has_no_key_reads_what_is_signed_too(monkeypatch: pytest.MonkeyPatch) -> None:
    payload, frame = sealed(), results()
    set_key(monkeypatch, None)
    assert bytes(unseal("env", LEASE, payload)[1]) == SEALED[1]
    assert split(body(payload))[0] == SEALED[0]
    assert parse_frame(unseal_results("env", LEASE, frame)).replica == "r"


def test_two_keys_are_accepted_and_the_first_one_signs(monkeypatch: pytest.MonkeyPatch) -> None:
    old = sealed()
    set_key(monkeypatch, f"{OTHER}\n{KEY}\n")
    new = sealed()
    assert unseal("env", LEASE, old)[0] == unseal("env", LEASE, new)[0] == SEALED[0]
    set_key(monkeypatch, OTHER)
    unseal("env", LEASE, new)
    with pytest.raises(PoolError):
        unseal("env", LEASE, old)


def test_the_key_of_a_map_opens_and_signs_that_map_and_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    mine, others, keys = sealed(), sealed(lease="n-owner-1"), map_keys("env", "m-owner")
    set_key(monkeypatch, None)
    set_key(monkeypatch, " ".join(keys), "ACTORQ_MAP_KEYS")
    assert unseal("env", LEASE, mine)[0] == SEALED[0]
    frame, forged = results(), results("n-owner-1")
    with pytest.raises(PoolError):
        unseal("env", "n-owner-1", others)
    set_key(monkeypatch, None, "ACTORQ_MAP_KEYS")
    set_key(monkeypatch, KEY)
    unseal_results("env", LEASE, frame)
    with pytest.raises(DamagedFrameError):
        unseal_results("env", "n-owner-1", forged)
