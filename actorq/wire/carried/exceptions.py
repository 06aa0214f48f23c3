"""Exceptions: the type, the arguments, and all that was set, by the task or by Python itself.

The one idea: *no constructor is called*. It may want other arguments than it has kept, or fail, and the type would be
lost. An exception is made empty by the constructor of the built-in class that it derives from, and filled.

One that is a value, an argument or an output, is carried in full or refused. One that was raised must arrive whatever
it holds: what cannot be carried is replaced by an `Unsent`, see `actorq/wire/failure.py`.
"""

from __future__ import annotations

import sys
from typing import Any

from actorq.errors import CodecError, TaskError, Unsent
from actorq.wire import extensions as ext
from actorq.wire.carried.classes import class_name, set_state, slots_of, state_of
from actorq.wire.carried.standard import Encoded
from actorq.wire.nameable import loaded_object

_HEAP_TYPE = 1 << 9
#: characters of a message that travel; an exception may hold a whole document
MESSAGE_LIMIT = 10_000
_SHOWN = 300

_TEXT = (str, type(None))
_NUMBER = (int, type(None))
_ANY = (object,)
#: what Python keeps of an exception where neither `args` nor attributes have it, and of which types it may be: what
#: shows an exception reads it without a look. `obj` of an AttributeError is left out: suggestions are made from it
_BUILT_IN: dict[type[BaseException], dict[str, tuple[type, ...]]] = {
    OSError: dict.fromkeys(("errno", "strerror", "filename", "filename2"), _ANY),
    ImportError: dict.fromkeys(("msg", "name", "path"), _ANY),
    AttributeError: {"name": _ANY},
    NameError: {"name": _ANY},
    StopIteration: {"value": _ANY},
    SystemExit: {"code": _ANY},
    SyntaxError: {
        "msg": _ANY,
        **dict.fromkeys(("filename", "text"), _TEXT),
        **dict.fromkeys(("lineno", "offset", "end_lineno", "end_offset"), _NUMBER),
    },
}
#: of pydantic: they derive from built-in ones in Rust, and can be made by their constructors only
_OF_MESSAGE = ("SchemaError", "PydanticSerializationError", "PydanticSerializationUnexpectedValue")
_UNICODE = (UnicodeDecodeError, UnicodeEncodeError, UnicodeTranslateError)
_SLOTS = vars(BaseException)


class Told:
    """An exception in another one that was raised, as plain data already."""

    __slots__ = ("plain",)

    def __init__(self, plain: list[Any]) -> None:
        self.plain = plain


def message_of(error: BaseException) -> str:
    try:
        return str(error)[:MESSAGE_LIMIT]
    except Exception as broken:
        return f"(its __str__ raised {type(broken).__name__})"


def args_of(error: BaseException) -> list[Any]:
    """The arguments, past what the class may define in their place."""
    return list(_SLOTS["args"].__get__(error))


def parts_of(error: BaseException) -> tuple[list[Any], dict[str, Any], dict[str, Any]]:
    """The arguments of an exception, its attributes, and what Python keeps beside them, none of it looked at."""
    kind = type(error)
    state = state_of(error, slots_of(kind))
    args = args_of(error)
    notes = state.pop("__notes__", None)
    more: dict[str, Any] = {}
    if isinstance(error, BaseExceptionGroup):
        group = vars(BaseExceptionGroup)
        more["group"] = [group["message"].__get__(error), list(group["exceptions"].__get__(error))]
        args = [] if len(args) == len(("message", "exceptions")) else args
    if isinstance(error, _UNICODE):
        more["unicode"] = [getattr(error, n, None) for n in ("encoding", "object", "start", "end", "reason")]
    if validation := _validation_error(kind):
        more["lines"] = [error.title, error.errors(include_url=False)] if validation else None  # type: ignore[attr-defined]
    built_in = _built_in(error)
    if built_in:
        more["built_in"] = built_in
    if isinstance(notes, list) and notes:
        more["notes"] = [note for note in notes if isinstance(note, str)]
    if error.__cause__ is not None:
        more["cause"] = error.__cause__
    if error.__context__ is not None and error.__context__ is not error.__cause__:
        more["context"] = error.__context__
    if error.__suppress_context__:
        more["suppress"] = True
    _tell_once(args, state, more)
    return args, state, more


def _tell_once(args: list[Any], state: dict[str, Any], more: dict[str, Any]) -> None:
    """An exception that is there twice (`raise X(e) from e`) is told in one place; the others say where.

    Else a chain of them would take twice as long, or three times, with each link.
    """
    places: dict[int, list[Any]] = {}
    same: dict[str, list[Any]] = {}
    for at, part in enumerate(args):
        if isinstance(part, BaseException):
            places.setdefault(id(part), ["args", at])
    for name, part in list(state.items()):
        if isinstance(part, BaseException) and not name.startswith("__"):
            if id(part) in places:
                same[name] = places[id(part)]
                del state[name]
            else:
                places[id(part)] = ["state", name]
    for name in ("cause", "context"):
        if id(more.get(name)) in places:
            same[f"__{name}__"] = places[id(more.pop(name))]
    if same:
        more["same"] = same


def _tell_again(args: list[Any], state: dict[str, Any], more: dict[str, Any]) -> None:
    """The inverse."""
    same = more.get("same", {})
    if not isinstance(same, dict):
        raise CodecError("The data holds an exception that is none.")
    for name, (where, at) in same.items():
        part = state.get(at) if where == "state" else args[at] if type(at) is int and 0 <= at < len(args) else None
        if isinstance(part, BaseException) and isinstance(name, str):
            if name in ("__cause__", "__context__"):
                more[name.strip("_")] = part
            elif not name.startswith("__"):
                state[name] = part


def _built_in(error: BaseException) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for base, names in _BUILT_IN.items():
        if isinstance(error, base):
            found |= {name: vars(base)[name].__get__(error) for name in names}
    built_in = {name: content for name, content in found.items() if content is not None}
    if isinstance(error, OSError) and OSError.__str__(error) != BaseException.__str__(error):
        built_in |= {"errno": error.errno, "strerror": error.strerror}  # it shows them also where they are None
    return built_in


def _validation_error(kind: type) -> bool:
    """Whether it is pydantic's, which is made by a function of its own: it derives from ValueError in Rust."""
    core = sys.modules.get("pydantic_core")
    return core is not None and kind is vars(core).get("ValidationError")


def encode(error: Any) -> Encoded:
    """One that is a value: all of it, or a `CodecError`."""
    args, state, more = parts_of(error)
    return ext.EXCEPTION, [*class_name(type(error)), message_of(error), args, state, more]


def decode(value: Any) -> BaseException:
    module, name, message, args, state, more = value
    lenient = isinstance(more, dict) and more.get("raised") is True
    try:
        kind = loaded_object(module, name)
        return build(kind, message, args, state, more)
    except Exception as error:
        if lenient and isinstance(message, str):  # its own part of a group or chain does not cost the rest
            return TaskError(f"{module!s:.{_SHOWN}}.{name!s:.{_SHOWN}}: {message:.{MESSAGE_LIMIT}}")
        if isinstance(error, CodecError):
            raise
        raise CodecError(f"The data holds an exception that is none: {type(error).__name__}") from None


def build(kind: Any, message: Any, args: Any, state: Any, more: Any) -> BaseException:
    """The exception. Raises an error of any kind where that cannot be made of the parts."""
    if not (isinstance(kind, type) and issubclass(kind, BaseException)):
        raise CodecError(f"{kind!r:.{_SHOWN}} is not an exception.")
    if not (isinstance(args, list) and isinstance(state, dict) and isinstance(more, dict)):
        raise CodecError("The data holds an exception that is none.")
    _tell_again(args, state, more)
    error = _empty(kind, message, more)
    if args or not issubclass(kind, BaseExceptionGroup):
        _SLOTS["args"].__set__(error, tuple(args))
    _fill(error, more)
    plain = {name: part for name, part in state.items() if isinstance(name, str) and not name.startswith("__")}
    set_state(error, slots_of(kind), plain)
    _chain(error, more)
    lossy = any(type(part) is Unsent for part in (*args, *state.values(), *more.get("built_in", {}).values()))
    return _shown_as(error, message, lossy=lossy)


def _empty(kind: Any, message: Any, more: dict[str, Any]) -> BaseException:
    if _validation_error(kind):
        title, lines = more["lines"]
        if type(title) is not str or not all(_is_line(line) for line in lines):
            raise CodecError("The data holds a pydantic error that is none.")
        lines = [line | {"input": _of_its_name(line.get("input"))} for line in lines]
        validation: BaseException = kind.from_exception_data(title, lines)
        return validation
    if issubclass(kind, BaseExceptionGroup):
        title, members = more["group"]
        group: BaseException = BaseExceptionGroup.__new__(kind, title, members)
        return group
    core = sys.modules.get("pydantic_core")
    if core is not None and any(kind is vars(core).get(name) for name in _OF_MESSAGE):
        made: Any = kind
        wrong: BaseException = made(message)
        return wrong
    base: Any = next(base for base in kind.__mro__ if not base.__flags__ & _HEAP_TYPE)
    empty: BaseException = base.__new__(kind)
    return empty


def _is_line(line: Any) -> bool:
    """Whether it says what pydantic says of one wrong value. What it is made into does not look."""
    named = type(line["type"]) is str and type(line["loc"]) is tuple and isinstance(line.get("ctx", {}), dict)
    return named and all(type(step) in (str, int) for step in line["loc"])


def _of_its_name(part: Any) -> Any:
    """Pydantic shows the name of the class of what was wrong."""
    if type(part) is not Unsent:
        return part
    named: Any = type(part.type.rpartition(".")[2], (Unsent,), {"__slots__": ()})
    return named.made(*part.plain()[:1], part.type, *part.plain()[2:])


def _fill(error: BaseException, more: dict[str, Any]) -> None:
    """Sets what Python keeps beside arguments and attributes."""
    if isinstance(error, _UNICODE) and "unicode" in more:
        encoding, content, start, end, reason = more["unicode"]
        of_type = bytes if isinstance(error, UnicodeDecodeError) else str
        # what shows it reads the content at these places without a look
        if type(content) is not of_type or type(start) is not int or type(end) is not int or start < 0 or end < 0:
            raise CodecError("The data holds a UnicodeError that is none.")
        given: Any = (content, start, end, reason)
        if isinstance(error, UnicodeTranslateError):
            UnicodeTranslateError.__init__(error, *given)
        elif isinstance(error, UnicodeEncodeError):
            UnicodeEncodeError.__init__(error, encoding, *given)
        else:
            UnicodeDecodeError.__init__(error, encoding, *given)
    for base, names in _BUILT_IN.items():
        if isinstance(error, base):
            for name, content in more.get("built_in", {}).items():
                if name in names and isinstance(content, names[name]):
                    vars(base)[name].__set__(error, content)


def _chain(error: BaseException, more: dict[str, Any]) -> None:
    """Sets notes, cause and context, past whatever the class does with attributes."""
    for name in ("cause", "context"):
        if isinstance(linked := more.get(name), BaseException):
            _SLOTS[f"__{name}__"].__set__(error, linked)
    _SLOTS["__suppress_context__"].__set__(error, more.get("suppress") is True)
    for note in more.get("notes", ()):
        add_note(error, note)


def add_note(error: BaseException, note: Any) -> None:
    """Past whatever the class does with attributes."""
    if isinstance(note, str):
        _SLOTS["__dict__"].__get__(error).setdefault("__notes__", []).append(note)


def set_cause(error: BaseException, cause: BaseException) -> BaseException | None:
    """The same; returns the cause there was."""
    before = error.__cause__
    _SLOTS["__cause__"].__set__(error, cause)
    return before


def _shown_as(error: BaseException, message: Any, *, lossy: bool) -> BaseException:
    """`error`; where its class cannot show what is left of it, as one of a class of that name that shows the message.

    It may want attributes that could not travel, or that only its constructor would have set.
    """
    kind: Any = type(error)
    works = False
    try:
        text = str(error)
        repr(error)
        works = True
        if not lossy or not isinstance(message, str) or text[:MESSAGE_LIMIT] == message:
            return error
    except Exception:
        if not isinstance(message, str):
            message = ""
    if any("__init_subclass__" in vars(base) for base in kind.__mro__ if base is not object):  # it would run
        if not works:
            raise CodecError(f"An exception of {kind.__qualname__} cannot be shown without what it held.")
        return error
    names = {"__str__": lambda _: message, "__repr__": BaseException.__repr__, "__slots__": ()}
    try:
        shown: Any = type.__new__(type(kind), kind.__name__, (kind,), {**names, "__module__": kind.__module__})
        shown.__qualname__ = kind.__qualname__
        BaseException.__setattr__(error, "__class__", shown)
    except TypeError:  # of a class in C nothing can be made; it shows some text
        if not works:
            raise
    return error


DECODERS = {ext.EXCEPTION: decode, ext.UNSENT: lambda v: Unsent.made(*v)}
ENCODERS = {Told: lambda v: (ext.EXCEPTION, v.plain), Unsent: lambda v: (ext.UNSENT, v.plain())}
