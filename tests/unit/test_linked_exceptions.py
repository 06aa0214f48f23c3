"""Exceptions that hold each other: each is told once, and no more of them than there is room for."""

from __future__ import annotations

from fractions import Fraction
from typing import Any, ClassVar

import numpy as np
import pytest

from actorq import CodecError
from actorq.isolation.reset.kinds import Attributes
from actorq.wire import codec, failure
from actorq.wire.carried.exceptions import build

#: bytes of a failure, whatever it holds
_LARGEST = 1_000_000


class WrappingError(Exception):
    def __init__(self, text: str, inner: BaseException | None = None) -> None:
        super().__init__(text, inner)
        self.inner = inner


class ListingError(Exception):
    def __init__(self, *errors: BaseException) -> None:
        super().__init__(list(errors))
        self.errors = [*errors]


class RegisteredError(Exception):
    """Its class notes those that derive from it, as registries of error codes do."""

    kinds: ClassVar[list[type]] = []

    def __init_subclass__(cls) -> None:
        RegisteredError.kinds.append(cls)

    def __init__(self, response: Any) -> None:
        self.response = response

    def __str__(self) -> str:
        return f"status {self.response.status}"


def sent(error: BaseException) -> Any:
    return failure.rebuild(failure.describe(error), index=0, attempt=1, replica="r")


def nested(kind: Any, levels: int) -> BaseException:
    error: BaseException = ValueError("deepest")
    for level in range(levels):
        try:
            raise kind(f"level {level}", error) if kind is WrappingError else kind(error) from error
        except Exception as raised:
            error = raised
    return error


def test_the_cause_that_an_exception_also_holds_is_one_exception() -> None:
    inner = KeyError("k")
    error = WrappingError("outer", inner)
    error.__cause__ = inner
    got = sent(error)
    assert type(got) is WrappingError
    assert type(got.inner) is KeyError
    assert got.inner is got.args[1]
    report = got.__cause__  # the report of where it ran comes between
    assert report is not None
    assert report.__cause__ is got.inner


def test_the_context_that_an_exception_also_holds_arrives() -> None:
    error = ValueError(inner := KeyError("k"))
    error.__context__ = inner
    got = sent(error)
    assert got.__context__ is got.args[0]


@pytest.mark.parametrize("kind", [WrappingError, ListingError])
def test_a_long_chain_of_exceptions_that_hold_each_other_is_told_in_proportion(kind: Any) -> None:
    data = failure.describe(nested(kind, 60))
    assert len(codec.pack(data)) < _LARGEST
    assert type(failure.rebuild(data, index=0, attempt=1, replica="r")) is kind


def test_a_chain_of_exceptions_that_is_a_value_is_told_in_proportion() -> None:
    data = codec.pack(nested(WrappingError, 20))
    assert len(data) < _LARGEST
    got: Any = codec.unpack(data)
    for _ in range(20):
        assert got.__cause__ is got.inner
        got = got.inner
    assert got.args == ("deepest",)


@pytest.mark.parametrize("args", [["z" * 9000] * 20_000, [object() for _ in range(100_000)]])
def test_a_failure_has_a_size_however_much_it_holds(args: list[Any]) -> None:
    data = failure.describe(ValueError(*args))
    assert len(codec.pack(data)) < _LARGEST
    assert type(failure.rebuild(data, index=0, attempt=1, replica="r")) is ValueError


def test_a_member_that_a_group_has_twice_keeps_its_arguments() -> None:
    member = ValueError(1)
    got = sent(ExceptionGroup("g", [member, member]))
    assert [each.args for each in got.exceptions] == [(1,), (1,)]


def test_no_class_is_derived_where_that_would_run_code() -> None:
    class Response:
        def __init__(self) -> None:
            self.status, self.lock = 500, object()

    sent(RegisteredError(Response()))
    assert RegisteredError.kinds == []


@pytest.mark.parametrize("same", [1, {"__cause__": ["args", 7]}, {"inner": ["state", "nothing"]}])
def test_a_place_that_is_none_is_no_exception(same: Any) -> None:
    try:
        error = build(ValueError, "m", ["m"], {}, {"same": same})
    except CodecError:
        return
    assert error.__cause__ is None


def test_numbers_that_would_take_long_to_make_are_refused_where_they_leave() -> None:
    with pytest.raises(CodecError, match="bits"):
        codec.pack(Fraction(1, 1 << 200_000))
    with pytest.raises(CodecError, match="no bytes"):
        codec.pack(np.void(b""))


def test_slots_that_were_never_set_are_emptied_and_private_ones_are_put_back() -> None:
    class Slotted:
        __slots__ = ("__private", "late")

        def __init__(self) -> None:
            self.__private = 1

        def use(self) -> None:
            self.__private += 1
            self.late = "secret"

        @property
        def private(self) -> int:
            return self.__private

    what = Slotted()
    saved = Attributes(what)
    what.use()
    assert saved.changed()
    saved.restore()
    assert what.private == 1
    assert not hasattr(what, "late")
    assert not saved.changed()
