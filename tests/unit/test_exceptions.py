"""An exception arrives as its own type, with its message, whatever it holds."""

from __future__ import annotations

import asyncio
import http.client
import importlib
import inspect
import ssl
import threading
import types
import urllib.error
import warnings
from collections.abc import Iterator
from typing import Any

import msgpack
import pydantic
import pytest
import requests
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from actorq import CodecError, TaskError
from actorq.errors import Unsent
from actorq.wire import codec, failure
from actorq.wire.nameable import may_be_named

LIBRARIES = ("requests", "httpx", "urllib3", "pydantic", "pydantic_core", "sqlalchemy")
#: modules of the standard library that declare exceptions
STANDARD = """
    argparse asyncio binascii builtins bz2 calendar concurrent.futures configparser copy csv ctypes dataclasses
    decimal email.errors fractions ftplib getopt gettext gzip http.client http.cookiejar imaplib json lzma mailbox
    multiprocessing netrc nntplib optparse os pickle plistlib poplib pstats queue re sched select shelve shutil
    smtplib socket sqlite3 ssl statistics struct subprocess tarfile threading tokenize traceback unittest
    urllib.error uuid weakref xml.dom xml.etree.ElementTree xml.parsers.expat xml.sax xmlrpc.client zipfile zlib
"""


class Name(str):  # markup-safe text, a column name: such classes are everywhere
    __slots__ = ()


class HoldingError(Exception):
    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.lock = threading.Lock()
        self.code = 7


class PickyError(Exception):
    """Its constructor takes something else than it keeps, and its text needs what cannot travel."""

    def __init__(self, *, response: Any) -> None:
        self.response = response

    def __str__(self) -> str:
        return f"status {self.response.status}"


class SlottedError(Exception):
    __slots__ = ("where",)

    def __init__(self, where: str) -> None:
        self.where = where

    def __str__(self) -> str:
        return f"at {self.where}"


class ManyError(ExceptionGroup[Exception]):
    """A group with an attribute."""

    found = 0


class Model(pydantic.BaseModel):
    size: int
    name: str

    @pydantic.field_validator("name")
    @classmethod
    def short(cls, name: str) -> str:
        if len(name) > 3:
            raise ValueError("too long")
        return name


def sent(error: BaseException) -> Any:
    return failure.rebuild(failure.describe(error), index=1, attempt=1, replica="r")


def raised(action: Any) -> Exception:
    try:
        action()
    except Exception as error:
        return error
    raise AssertionError("nothing was raised")


def declared() -> Iterator[type[Exception]]:
    """Exceptions of the standard library and of those libraries that are installed."""
    for name in (*STANDARD.split(), *LIBRARIES):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                module = importlib.import_module(name)
            except ImportError:
                continue
            inside = [module, *(getattr(module, each, None) for each in ("exceptions", "exc", "errors"))]
            for each in (m for m in inside if isinstance(m, types.ModuleType)):
                for kind in vars(each).values():
                    if inspect.isclass(kind) and issubclass(kind, Exception) and kind.__name__ in vars(each):
                        yield kind


def made(kind: type[Exception], args: tuple[Any, ...]) -> Exception | None:
    """One whose constructor takes the arguments, or some others."""
    for each in (args, ("text", *args), ("text", 1, 2, 3), (1, "text", b"b"), ("utf-8", b"abc", 0, 1, "bad"), ()):
        try:
            return kind(*each)
        except Exception:
            continue
    return None


#: raised out of a generator these would be something else
LEFT_OUT = {StopIteration, StopAsyncIteration}
#: two that have tests of their own, and want arguments that fit; and of pydantic what validators raise to pydantic
#: alone, which is made in Rust
INTERNAL = {"ValidationError", "HTTPError"}
INTERNAL |= {"PydanticOmit", "PydanticUseDefault", "PydanticCustomError", "PydanticKnownError"}
KINDS = sorted({kind for kind in declared() if kind not in LEFT_OUT and kind.__name__ not in INTERNAL}, key=repr)

arguments = st.lists(
    st.integers()
    | st.text(max_size=5)
    | st.binary(max_size=3)
    | st.none()
    | st.builds(Name, st.text(max_size=3))
    | st.builds(threading.Lock)
    | st.builds(object)
    | st.builds(ValueError, st.text(max_size=3))
    | st.just("x" * 70_000),
    max_size=4,
).map(tuple)


def text_of(error: BaseException) -> str | None:
    try:
        return str(error)
    except Exception:
        return None


@given(st.sampled_from(KINDS), arguments, st.booleans())
@settings(max_examples=300, derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_every_exception_arrives_as_its_type_with_its_message(
    kind: type[Exception], args: tuple[Any, ...], more: bool
) -> None:
    error = made(kind, args)
    if error is None or not may_be_named(type(error).__module__):
        return
    if more and hasattr(error, "__dict__"):
        error.__dict__["held"] = threading.Lock()
    back = sent(error)
    assert isinstance(back, type(error)), (back, type(error))
    assert type(back).__qualname__ == type(error).__qualname__
    if isinstance(error, ssl.SSLError) and not isinstance(error.strerror, str):
        return  # shown by C, by whether that is a str
    if (text := text_of(error)) is not None and len(text) < 10_000:
        assert str(back) == text
    elif text is not None and len(text) < 80_000:
        assert str(back)[:9_000] == text[:9_000]
    assert isinstance(back.__cause__, TaskError)
    repr(back)


def test_there_are_many_exceptions_to_try() -> None:
    assert len(KINDS) > 200
    assert {"requests", "urllib3", "pydantic_core", "sqlalchemy"} <= {
        kind.__module__.partition(".")[0] for kind in KINDS
    }


def test_what_cannot_travel_costs_neither_type_nor_message() -> None:
    back: Any = sent(HoldingError("x"))
    assert type(back) is HoldingError
    lock: Any = vars(back)["lock"]
    assert type(lock) is Unsent
    assert lock.type == "_thread.lock"
    assert (str(back), vars(back)["code"]) == ("x", 7)
    assert lock.startswith("<unlocked _thread.lock")


def test_a_text_that_needs_what_could_not_travel_is_kept() -> None:
    back = sent(PickyError(response=types.SimpleNamespace(status=503)))
    assert isinstance(back, PickyError)
    assert type(back).__name__ == "PickyError"
    assert str(back) == "status 503"
    assert isinstance(sent(back), PickyError)
    assert str(sent(back)) == "status 503"


def test_attributes_without_a_dict_travel() -> None:
    back = sent(SlottedError("home"))
    assert type(back) is SlottedError
    assert str(back) == "at home"


def test_the_exceptions_of_requests_and_of_urllib_arrive() -> None:
    response = requests.Response()
    response.status_code = 503
    back = sent(raised(response.raise_for_status))
    assert type(back) is requests.HTTPError
    assert "503" in str(back)
    back = sent(urllib.error.URLError(ConnectionRefusedError(111, "refused")))
    assert type(back) is urllib.error.URLError
    assert type(back.reason) is ConnectionRefusedError
    assert back.reason.errno == 111
    back = sent(urllib.error.HTTPError("http://a", 404, "no", http.client.HTTPMessage(), None))
    assert type(back) is urllib.error.HTTPError
    assert back.code == 404


def test_a_key_that_is_a_subclass_of_str_is_its_text() -> None:
    back = sent(raised(lambda: dict[str, int]()[Name("missing")]))
    assert type(back) is KeyError
    assert str(back) == "'missing'"
    assert back.args == ("missing",)


def test_a_validation_error_arrives_with_its_lines() -> None:
    error: Any = raised(lambda: Model.model_validate({"size": "x", "name": "long one"}))
    back = sent(error)
    assert type(back) is type(error)
    assert str(back) == str(error)
    assert [line["loc"] for line in back.errors()] == [("size",), ("name",)]
    held: Any = raised(lambda: Model(size=threading.Lock(), name="a"))  # type: ignore[arg-type]
    assert str(sent(held)) == str(held)


def test_a_group_arrives_with_all_that_is_in_it() -> None:
    async def fails() -> None:
        raise HoldingError("a")

    async def both() -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(fails())
            group.create_task(fails())

    back = sent(raised(lambda: asyncio.run(both())))
    assert type(back) is ExceptionGroup
    assert [type(each) for each in back.exceptions] == [HoldingError, HoldingError]
    nested = ExceptionGroup("outer", [ManyError("inner", [KeyError("k"), TaskError("t")]), OSError(2, "no", "f")])
    inner, missing = sent(nested).exceptions
    assert type(inner) is ManyError
    assert [type(each) for each in inner.exceptions] == [KeyError, TaskError]
    assert (type(missing), missing.filename) == (FileNotFoundError, "f")


def test_a_group_keeps_its_type_however_many_are_in_it() -> None:
    same = ValueError("a")
    back = sent(ExceptionGroup("g", [*(ValueError(str(i)) for i in range(1000)), same, same]))
    assert type(back) is ExceptionGroup
    assert all(isinstance(each, ValueError) for each in back.exceptions)


def test_of_a_group_a_member_of_an_unknown_type_is_a_task_error() -> None:
    class Local(Exception):  # noqa: N818
        pass

    back = sent(ExceptionGroup("g", [Local("a"), ValueError("b")]))
    assert [type(each) for each in back.exceptions] == [TaskError, ValueError]
    assert "Local: a" in str(back.exceptions[0])


def test_notes_causes_and_contexts_arrive() -> None:
    error = ValueError("v")
    error.add_note("row 7")
    error.__cause__ = KeyError("why")
    error.__cause__.__context__ = OSError(5, "before")
    back = sent(error)
    assert back.__notes__[0] == "row 7"
    told = back.__cause__
    assert type(told) is TaskError
    assert type(told.__cause__) is KeyError
    assert type(told.__cause__.__context__) is OSError
    plain = ValueError("v")
    plain.__context__ = KeyError("while")
    assert type(sent(plain).__context__) is KeyError


def test_a_chain_that_is_a_loop_or_long_is_cut() -> None:
    first, second = ValueError("1"), ValueError("2")
    first.__context__, second.__context__ = second, first
    assert type(sent(first).__context__) is ValueError
    error: BaseException = ValueError("0")
    for number in range(500):
        following = ValueError(str(number))
        following.__cause__ = error
        error = following
    assert type(sent(error)) is ValueError


def test_what_python_keeps_beside_the_arguments_arrives() -> None:
    back = sent(raised(lambda: importlib.import_module("no_such_module")))
    assert (type(back), back.name) == (ModuleNotFoundError, "no_such_module")
    back = sent(raised(lambda: compile("a b", "f.py", "exec")))
    assert (type(back), back.filename, back.lineno) == (SyntaxError, "f.py", 1)
    back = sent(raised(lambda: open("/no/such/file")))  # noqa: PTH123, SIM115
    assert (back.errno, back.filename) == (2, "/no/such/file")
    back = sent(raised((b"a" * 100_000 + b"\xff").decode))
    assert type(back) is UnicodeDecodeError
    assert back.object == b"\xff"


def test_long_texts_are_kept_and_longer_ones_cut() -> None:
    assert str(sent(ValueError("x" * 100_000))) == "x" * 100_000
    back = sent(ValueError("x" * 1_000_000))
    assert type(back) is ValueError
    assert "1,000,000 characters" in str(back)


def test_an_exception_can_be_a_value() -> None:
    for error in (ValueError("a", 1), OSError(2, "no", "f"), SlottedError("x"), ExceptionGroup("g", [KeyError(1)])):
        back = codec.unpack(codec.pack([error]))[0]
        assert type(back) is type(error)
        assert back.args == error.args or type(back) is ExceptionGroup
        assert str(back) == str(error)
    with pytest.raises(CodecError, match=r"_thread\.lock"):
        codec.pack(HoldingError("a"))


def test_a_unicode_error_whose_places_are_none_is_refused() -> None:
    for more in ([b"ab", -5, -4], ["ab", 0, 1], [b"ab", "0", 1], [5, 0, 1]):
        data = {"unicode": ["utf-8", *more, "bad"]}
        plain = msgpack.ExtType(24, codec.pack(["builtins", "UnicodeDecodeError", "m", [], {}, data]))
        with pytest.raises(CodecError):
            codec.unpack(codec.pack(plain))


def test_a_class_of_the_data_that_is_no_exception_is_refused() -> None:
    for module, name in (
        ("builtins", "dict"),
        ("os", "system"),
        ("builtins", "nothing"),
        ("tests.support.code.tasks", "OwnError.x"),
    ):
        plain = msgpack.ExtType(24, codec.pack([module, name, "m", [], {}, {}]))
        with pytest.raises(CodecError):
            codec.unpack(codec.pack(plain))
