"""Frames of which anything may be wrong are told from good ones, and never raise anything but that they are damaged."""

from __future__ import annotations

import builtins
import contextlib
from typing import Any

import msgpack
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from actorq import CodecError, PoolError
from actorq.broker.stream import parse_reports
from actorq.declare.map_options import MapOptions
from actorq.declare.retry import Rules
from actorq.errors import TaskError
from actorq.maps.ledger import Ledger
from actorq.maps.segment import Segment
from actorq.maps.sources import MemorySource
from actorq.wire import codec, failure
from actorq.wire.carried.exceptions import add_note
from actorq.wire.lease import Lost, Results
from actorq.wire.messages import PROTOCOL, DamagedFrameError, Frame, Head, join, parse_frame
from tests.support.code.damaging import NOTED


def frame_of(*fields: Any, outputs: bytes = b"\x91\xc0") -> bytes:
    """A frame that has something to say of the code, after the fields given."""
    return join(msgpack.packb([PROTOCOL, *fields, b""]), outputs)


@pytest.mark.parametrize(
    "errors",
    [
        [],
        {0: "text"},
        {0: None},
        {0: {}},
        {"0": NOTED},
        {1: NOTED},
        {-1: NOTED},
        {True: NOTED},
        *({0: NOTED | {field: 5}} for field in NOTED),
        {0: NOTED | {7: 5}},
        {0: NOTED | {"args": "text"}},
        {0: NOTED | {"final": "yes"}},
    ],
)
def test_a_frame_whose_errors_are_none_is_damaged_and_names_its_replica(errors: Any) -> None:
    with pytest.raises(DamagedFrameError, match="The frame of replica-7 cannot be read") as caught:
        parse_frame(frame_of(0, 1, 0.5, "replica-7", errors))
    assert caught.value.replica == "replica-7"


@pytest.mark.parametrize(
    ("count", "outputs"),
    [
        (1, b""),
        (1, b"\x90"),
        (1, b"\x05"),
        (1, b"\x91"),
        (2, b"\x91\xc0"),
        (2, b"\x92\xc0"),
        (3, codec.pack(range(3))),
        (70_000, b"\xdd\x00\x01\x11\x70" + b"\xc0" * 1000),
        (1, b"\xdc\x00"),
        (1, b"\xdd"),
    ],
)
@pytest.mark.parametrize("failed", [False, True])
def test_a_frame_that_holds_another_number_of_outputs_is_damaged(count: int, outputs: bytes, failed: bool) -> None:
    errors = {0: NOTED} if failed else {}
    frame = Frame(start=0, count=count, busy=0.5, replica="replica-7", errors=errors, outputs=outputs)
    with pytest.raises(DamagedFrameError, match=f"of replica-7 cannot be read: it is no list of {count} outputs"):
        parse_frame(frame.packed())


@pytest.mark.parametrize("busy", [-1.0, float("inf"), float("nan"), 1e300])
@pytest.mark.parametrize("failed", [False, True])
def test_a_frame_that_took_no_time_that_there_is_is_damaged(busy: float, failed: bool) -> None:
    errors = {0: NOTED} if failed else {}
    frame = Frame(start=0, count=1, busy=busy, replica="replica-7", errors=errors, outputs=b"\x91\xc0")
    with pytest.raises(DamagedFrameError, match="replica-7"):
        parse_frame(frame.packed())


def test_frames_of_any_length_are_whole() -> None:
    for count in (0, 1, 15, 16, 65_535, 65_536):
        outputs = codec.pack([None] * count)
        frame = Frame(start=0, count=count, busy=0.0, replica="r", errors={}, outputs=outputs)
        assert parse_frame(frame.packed()) == frame


class Silent:
    """A connection that brings nothing."""

    def fetch(self, key: str, most: int = 0) -> None:
        return None


@given(st.lists(st.binary(max_size=30), max_size=9), st.binary(max_size=60))
@settings(max_examples=300)
def test_no_entry_of_a_stream_raises(fields: list[bytes], value: bytes) -> None:
    link: Any = Silent()
    for kind in (b"f", b"c", b"x"):
        for entry in (fields, [b"l", b"m-1", kind, value, *fields], [b"l", value, kind, *fields]):
            with contextlib.suppress(PoolError):  # another version of actorq
                parse_reports([(b"1-0", entry)], link, "e")


def test_a_damaged_frame_is_told_as_one_that_names_its_replica() -> None:
    link: Any = Silent()
    damaged = frame_of(0, 1, 0.5, "replica-7", {0: "text"})
    entries = [(b"1-0", [b"l", b"m-1", b"f", data]) for data in (damaged, b"", b"\xff\xff\xff\xffaq:blob:gone")]
    reports = parse_reports(entries, link, "e")
    assert [(type(report), report.lease) for report in reports] == [(Lost, "m-1")] * 3
    assert [report.replica for report in reports if isinstance(report, Lost) and report.damaged] == [
        "replica-7",
        "?",
        "?",
    ]


# -- the books ---------------------------------------------------------------------------------------------------------


def ledger_of(count: int, **changes: Any) -> Ledger:
    options = MapOptions(
        environment="e", head=Head(task="t"), return_exceptions=True, rules=Rules(max_crashes=2), **changes
    )
    return Ledger("m", MemorySource(iter(range(count)), count), options)


def good(start: int, count: int) -> Frame:
    return Frame(start=start, count=count, busy=1e-6, replica="r", errors={}, outputs=codec.pack([7] * count))


def test_an_input_whose_frames_stay_damaged_ends_and_all_others_have_their_results() -> None:
    ledger, runs, outcomes = ledger_of(1000), 0, {}
    while not ledger.finished:
        for lease in ledger.offer(2, 0.0):
            runs += 500 in lease.indexes
            if 500 in lease.indexes:
                ledger.lost(lease.id, "The frame of replica-7 cannot be read", None, "replica-7", 0.0, damaged=True)
            else:
                ledger.results(lease.id, good(0, lease.count), 0.0)
        while (segment := ledger.take()) is not None:
            for at in range(segment.count):
                outcomes[segment.lo + at] = segment.errors.get(at)
    assert len(outcomes) == 1000
    assert [index for index, error in outcomes.items() if error is not None] == [500]
    error = outcomes[500]
    assert type(error) is CodecError
    assert "replica-7" in str(error)
    assert runs < 10


@pytest.mark.parametrize(("start", "count"), [(0, 5), (3, 1), (2, 3), (10**6, 1)])
def test_results_of_inputs_that_are_not_its_own_are_damage(start: int, count: int) -> None:
    ledger = ledger_of(1000)
    while (lease := ledger.offer(1, 0.0)[0]).count < 4:
        for each in list(ledger.outstanding.values()):
            ledger.results(each.id, good(0, each.count), 0.0)
        while ledger.take() is not None:
            pass
    before = ledger.counters.recovered
    frame = good(start, count) if start else good(0, lease.count + count)
    ledger.results(lease.id, frame, 0.0)
    assert lease.id not in ledger.outstanding
    assert ledger.counters.recovered == before + lease.count
    assert ledger.counters.late == 0


def test_outputs_that_cannot_be_read_are_errors_of_their_inputs() -> None:
    segment = Segment(lo=10, count=3, outputs=b"\x93\x01\xa1\xff\x03", errors={}, replica="replica-7")
    values, whole = segment.values()
    assert not whole
    assert (values[0], values[2]) == (1, 3)
    assert "output of input 11 from replica-7 cannot be read" in str(values[1])
    for outputs in (b"\x93\x01\x02", b"\x93\x01\xc1\x03", b"\x92\x01\x02", b"\x05", b""):
        values, _ = Segment(lo=10, count=3, outputs=outputs, errors={}, replica="replica-7").values()
        assert [type(value) for value in values] == [CodecError] * 3
        assert "output of input 12 from replica-7" in str(values[2])


# -- errors ------------------------------------------------------------------------------------------------------------

plain = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary()
nested = st.recursive(plain, lambda inner: st.lists(inner) | st.dictionaries(plain, inner), max_leaves=8)
PARTS = ["__notes__", "args", "group", "unicode", "built_in", "cause", "lines", "raised", "notes"]
packed = nested.map(codec.pack) | st.dictionaries(
    st.text() | st.sampled_from(PARTS),
    nested,
).map(codec.pack)
builtin_errors = [
    name for name, kind in vars(builtins).items() if isinstance(kind, type) and issubclass(kind, Exception)
]
fields = {
    "kind": st.sampled_from(["error", "timeout", "lost", "cancelled", "damaged"]) | nested,
    "module": st.sampled_from(["builtins", __name__, "actorq.errors", "json"]) | nested,
    "type": st.sampled_from([*builtin_errors, "Refuses", "Shy", "TaskError", "JSONDecodeError"]) | nested,
    "message": nested,
    "args": st.lists(nested, max_size=5).map(codec.pack) | packed | nested,
    "state": packed | nested,
    "more": st.dictionaries(st.sampled_from(PARTS), plain | st.lists(plain, max_size=5)).map(codec.pack) | plain,
    "traceback": nested,
    "final": nested,
    "other": nested,
}


class Refuses(Exception):  # noqa: N818
    """Lets nothing be added to it."""

    def __setattr__(self, name: str, value: Any) -> None:
        raise RuntimeError("no")

    def add_note(self, note: str) -> None:
        raise RuntimeError("no")


class Shy(Exception):  # noqa: N818
    """Shows itself only when `__init__` has run."""

    def __init__(self, text: str) -> None:
        self.text = text

    def __repr__(self) -> str:
        return f"Shy({self.shown})"  # type: ignore[attr-defined]


@given(st.fixed_dictionaries({}, optional=fields))
@settings(max_examples=250, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_whatever_a_description_holds_an_exception_is_made_of_it(data: dict[str, Any]) -> None:
    error = failure.rebuild(data, index=3, attempt=2, replica="r")
    assert isinstance(error, Exception)
    assert isinstance(str(error), str)
    assert isinstance(repr(error), str)
    told = error if isinstance(error, TaskError) else error.__cause__
    assert isinstance(told, TaskError)
    assert (told.index, told.replica) == (3, "r")
    add_note(error, "one more")


@pytest.mark.parametrize("kind", [Refuses, Shy])
def test_an_exception_of_a_class_that_resists_is_of_that_class(kind: type[Exception]) -> None:
    data = NOTED | {"module": __name__, "type": kind.__name__}
    error = failure.rebuild(data, index=0, attempt=1, replica="r")
    assert isinstance(error, kind)
    assert isinstance(error.__cause__, TaskError)
    assert str(error) == "noted"
    assert "noted" in repr(error)


def test_notes_that_are_none_are_left_out() -> None:
    error = failure.rebuild(NOTED, index=0, attempt=1, replica="r")
    assert type(error) is ValueError
    assert error.__notes__ == ["raised for input 0 (attempt 1) on replica r"]


def test_a_good_frame_is_one() -> None:
    link: Any = Silent()
    (report,) = parse_reports([(b"1-0", [b"l", b"m-1", b"f", frame_of(0, 1, 0.5, "r", {0: NOTED})])], link, "e")
    assert isinstance(report, Results)
    assert report.frame.errors == {0: NOTED}
