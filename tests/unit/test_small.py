"""Small parts: failures as data, sizing, settings, names, frames."""

from __future__ import annotations

import struct
from typing import Any

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from actorq import CodecError, DeclarationError, PoolError, TaskError
from actorq.base.log import local_log
from actorq.base.settings import settings
from actorq.isolation.fork.forkable import held
from actorq.maps import sizing
from actorq.maps.sizing import MAX_BYTES, MAX_INPUTS, LeaseSizer, Sizes
from actorq.replica.start import hugepages
from actorq.wire import failure
from actorq.wire.messages import PROTOCOL, Frame, Head, join, parse_frame, parse_head, split


def rebuilt(error: BaseException) -> Exception:
    return failure.rebuild(failure.describe(error), index=1, attempt=1, replica="r")


@pytest.mark.parametrize(
    "error",
    [
        ValueError("a", 1),
        KeyError("k"),
        FileNotFoundError(2, "no", "f"),
        UnicodeDecodeError("utf-8", b"a", 0, 1, "bad"),
    ],
)
def test_builtin_exceptions_are_rebuilt_with_their_arguments(error: Exception) -> None:
    back = rebuilt(error)
    assert type(back) is type(error)
    assert back.args == error.args
    assert str(back) == str(error)


class NastyError(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no text")


@pytest.mark.parametrize("error", [NastyError(), ValueError(object()), SystemExit(3), Exception("x" * 10**6)])
def test_any_exception_can_be_described(error: BaseException) -> None:
    back = rebuilt(error)
    assert isinstance(back.__cause__ or back, TaskError)
    assert len(str(back)) < 200_000


@given(
    st.dictionaries(st.sampled_from(["kind", "module", "type", "message", "args", "state"]), st.text() | st.binary())
)
def test_a_hostile_description_is_still_an_exception(data: dict[str, Any]) -> None:
    assert isinstance(failure.rebuild(data, index=0, attempt=1, replica=""), Exception)


def test_exit_reasons_name_the_signal() -> None:
    assert "SIGKILL" in failure.exit_reason(9)
    assert failure.exit_reason(3 << 8) == "exited with status 3"


def test_the_first_lease_is_one_input() -> None:
    assert LeaseSizer().size(None, 4) == 1


@given(st.lists(st.tuples(st.integers(1, 10_000), st.floats(0, 10), st.integers(0, 10**7)), max_size=20))
def test_lease_sizes_stay_in_bounds(frames: list[tuple[int, float, int]]) -> None:
    sizer = LeaseSizer()
    for count, busy, size in frames:
        sizer.observe(count, busy, size)
        assert 1 <= sizer.size(None, 2) <= MAX_INPUTS


def test_small_outputs_do_not_make_leases_of_many_large_inputs() -> None:
    sizer = LeaseSizer()
    sizer.packed(1, 8_000_000)
    for _ in range(100):
        sizer.observe(1, 1e-5, 8)
    assert sizer.size(None, 2) == 1


def test_a_late_lease_makes_the_next_ones_small() -> None:
    sizer = LeaseSizer()
    sizer.observe(1000, 0.001, 1000)
    assert sizer.size(None, 2) > 1000
    sizer.late()
    assert sizer.size(None, 2) == 1


def test_a_map_begins_with_leases_as_large_as_those_of_the_last_map_of_its_task() -> None:
    sizes = Sizes()
    first = sizes.of("env", "task")
    assert first.size(1000, 2) == 1
    first.observe(1000, 0.001, 1000)
    assert sizes.of("env", "other").size(1000, 2) == 1
    assert sizes.of("else", "task").size(1000, 2) == 1
    assert sizes.of("env", "task").size(1000, 2) == 500  # one for each replica: perhaps its inputs take longer
    second = sizes.of("env", "task")
    second.observe(500, 0.0005, 500)
    assert second.size(1000, 2) == 1000
    second.late()
    assert sizes.of("env", "task").size(1000, 2) == 1


def test_a_program_remembers_the_tasks_that_it_used_last(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sizing, "_REMEMBERED", 2)
    sizes = Sizes()
    for task in ("a", "b", "a", "c"):
        sizes.of("env", task).observe(1000, 0.001, 1000)
    assert [sizes.of("env", task).size(1000, 1) for task in ("a", "c", "b")] == [1000, 1000, 1]


def test_a_long_input_now_and_then_keeps_leases_short() -> None:
    sizer = LeaseSizer()
    for seconds in (0.001, 0.05, 0.001, 0.0005, 0.001):
        sizer.observe(1, seconds, 10)
        alone = sizer.size(None, 2) == 1
    assert alone
    for _ in range(10):  # a first input that was slow, as first ones are, is soon forgotten
        count = sizer.size(None, 2)
        sizer.observe(count, 1e-6 * count, 10 * count)
    for _ in range(40):
        count = sizer.size(None, 2)
        sizer.observe(count, 1e-6 * count, 10 * count)
    assert sizer.size(None, 2) > 10_000


def test_a_first_input_that_loads_a_model_is_soon_forgotten() -> None:
    sizer = LeaseSizer()
    sizer.observe(1, 30.0, 10)
    alone = 0
    while sizer.size(None, 2) == 1:
        sizer.observe(1, 1e-5, 10)
        alone += 1
    assert 10 < alone < 30


def test_large_outputs_make_small_leases() -> None:
    sizer = LeaseSizer()
    sizer.observe(100, 0.0001, 100 * MAX_BYTES // 4)
    assert sizer.size(None, 2) <= 4


def test_the_end_of_a_sized_map_is_shared() -> None:
    sizer = LeaseSizer()
    sizer.observe(1000, 0.01, 1000)
    assert sizer.size(400, 2) <= 100


@given(st.binary(max_size=100))
def test_garbage_is_no_frame_and_no_head(data: bytes) -> None:
    with pytest.raises((CodecError, PoolError)):
        parse_frame(data)
    with pytest.raises((CodecError, PoolError)):
        parse_head(data)


FAILED: dict[int, dict[str, Any]] = {0: {"kind": "error"}}


@pytest.mark.parametrize("errors", [{}, FAILED])
@pytest.mark.parametrize("kind", [bytes, bytearray])
def test_frames_come_back(errors: dict[int, dict[str, Any]], kind: type[bytes | bytearray]) -> None:
    frame = Frame(start=1, count=2, busy=0.5, replica="ré", errors=errors, outputs=b"\x92\xc0\x01")
    assert parse_frame(kind(frame.packed())) == frame


@pytest.mark.parametrize("errors", [{}, FAILED])
def test_a_frame_that_was_cut_is_none(errors: dict[int, dict[str, Any]]) -> None:
    packed = Frame(start=0, count=1, busy=0.5, replica="r", errors=errors, outputs=b"").packed()
    for end in range(len(packed)):
        with pytest.raises(CodecError):
            parse_frame(packed[:end])


@pytest.mark.parametrize(
    "fields",
    [
        ("0", 1, 0.5, "r", {}, b""),
        (0, -1, 0.5, "r", {}, b""),
        (0, 1, float("nan"), "r", {}, b""),
        (0, 1, 0.5, 7, {}, b""),
        (0, 1, 0.5, "r", {}, "text"),
        (0, 1, 0.5, "r", {}),
    ],
)
def test_a_frame_with_a_field_of_another_kind_is_none(fields: tuple[Any, ...]) -> None:
    with pytest.raises(CodecError):
        parse_frame(join(msgpack.packb([PROTOCOL, *fields]), b"\x91\x01"))
    plain = bytearray(Frame(start=0, count=1, busy=0.5, replica="r", errors={}, outputs=b"\x91\x01").packed())
    plain[14:22] = struct.pack(">d", float("nan"))
    with pytest.raises(CodecError):
        parse_frame(plain)


def test_heads_come_back() -> None:
    head = Head(task="t", mode=2, kwargs=b"k", timeout=1.5, final=False, fingerprint="f", strict=True)
    assert parse_head(head.packed()) == head
    assert bytes(split(join(b"head", b"items"))[1]) == b"items"


def test_another_protocol_version_is_refused() -> None:
    with pytest.raises(PoolError, match="protocol 99"):
        parse_frame(join(msgpack.packb([99, 1, 2]), b"\x90"))
    plain = bytearray(Frame(start=0, count=1, busy=0.5, replica="r", errors={}, outputs=b"\x91\x01").packed())
    plain[5] = 99
    with pytest.raises(PoolError, match="protocol 99"):
        parse_frame(plain)
    with pytest.raises(PoolError, match="protocol 99"):
        parse_head(msgpack.packb([99, "something", "new"]))


def test_settings_refuse_what_is_no_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACTORQ_MAX_PAYLOAD_BYTES", "lots")
    settings.cache_clear()
    with pytest.raises(DeclarationError, match="ACTORQ_MAX_PAYLOAD_BYTES"):
        settings()
    monkeypatch.delenv("ACTORQ_MAX_PAYLOAD_BYTES")
    settings.cache_clear()


def test_a_level_of_logs_that_there_is_not_is_refused_before_a_pool_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACTORQ_LOG_LEVEL", "loud")
    with pytest.raises(DeclarationError, match="ACTORQ_LOG_LEVEL is 'loud': choose one of debug"):
        local_log()
    monkeypatch.setenv("ACTORQ_LOG_LEVEL", "Info")
    assert local_log()[1] == "Info"
    monkeypatch.setenv("ACTORQ_LOG_LEVEL", "")
    assert local_log()[1] == "warning"


def test_a_secret_can_come_from_a_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    (tmp_path / "url").write_text("redis://from-file\n")
    monkeypatch.setenv("ACTORQ_REDIS_URL_FILE", str(tmp_path / "url"))
    settings.cache_clear()
    assert settings().redis_url == "redis://from-file"
    settings.cache_clear()


@pytest.mark.parametrize(
    ("descriptor", "named"),
    [
        ("/dev/nvidia0", "CUDA"),
        ("/dev/nvidia-uvm", "CUDA"),
        ("/dev/kfd", "ROCm"),
        ("anon_inode:[eventpoll]", "event loop"),
    ],
)
def test_an_open_descriptor_says_why_a_process_cannot_be_forked(descriptor: str, named: str) -> None:
    assert named in str(held(["/tmp/file", "socket:[1]", descriptor]))
    assert held(["/tmp/file", "socket:[1]"]) is None


def test_huge_pages_are_asked_for_unless_the_user_has_settings_of_their_own() -> None:
    assert hugepages.asked_by({})["PYTHONMALLOC"] == "malloc"
    assert hugepages.asked_by({"PYTHONMALLOC": "debug"}) == {}


def test_many_replicas_are_not_given_leases_one_input_at_a_time() -> None:
    """Each lease costs the server and the submitter the same, however many replicas ask for one."""
    few, many = LeaseSizer(), LeaseSizer()
    for _ in range(50):
        few.observe(1, 0.005, 10)
        many.observe(4, 0.02, 10)
        assert few.size(None, 2) == 1
        many.size(None, 20)
    assert many.size(None, 20) == 4
    assert many.size(10, 20) <= 4
    many.late()
    assert many.size(None, 20) == 1


def test_long_inputs_travel_alone_however_many_replicas_there_are() -> None:
    sizer = LeaseSizer()
    for _ in range(50):
        sizer.size(None, 100)
        sizer.observe(1, 1.0, 10)
    assert sizer.size(None, 100) == 1
