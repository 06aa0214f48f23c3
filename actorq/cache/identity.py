"""Which code a value belongs to: the function and what it uses, so that an edit never finds what older code loaded.

Looked at once, when the function is first called and its module is complete: the function's code and default
arguments, then what it names, and what that names in turn, as far as it is the user's own code: functions by their
code, constants by their content, modules by what is used of them. A class counts as itself: the next version of a
bundle has another class, of which an object made before would be no instance.

Not seen: what is found by other ways than a name (a registry that fills itself, `getattr`, files that are read), what
installed packages hold, and of a module that is imported in a function's body what lies beyond its own file.
"""

from __future__ import annotations

import dis
import enum
import functools
import hashlib
import importlib.util
import sys
import types
from collections import deque
from collections.abc import Iterator
from dataclasses import fields
from itertools import islice
from pathlib import Path
from typing import Any

from actorq.cache import keys
from actorq.cache.numbers import OBJECTS
from actorq.cache.options import Options
from actorq.cache.sizes import estimate
from actorq.errors import CodecError
from actorq.names import installed

#: objects looked at: some 50 ms. A function that uses more than this is told apart by what comes first.
_MOST_OBJECTS = 10_000
#: a constant above this is data, and is told apart by its type alone, bytes
_MOST_BYTES = 1_000_000

_SCALARS = frozenset({int, float, complex, bool, str, bytes, type(None), type(Ellipsis)})
#: how the path of what the decorator was given begins. What its callables hold counts as itself: the same content in
#: another list is another place to tell what leaves.
_OPTION = "@"
#: what of an object decides what it does
_PARTS = {
    types.MethodType: ("__func__", "__self__"),
    functools.partial: ("func", "args", "keywords"),
    types.BuiltinFunctionType: ("__module__", "__qualname__", "__self__"),
}
_IMPORT = dis.opmap["IMPORT_NAME"]


def identity(function: types.FunctionType, options: Options) -> str:
    """Equal for functions that load the same value from the same arguments; good within this process."""
    walk = _Walk(function)
    walk.add("function", function)
    for field in fields(options):
        walk.add(_OPTION + field.name, getattr(options, field.name))
    walk.run()
    return hashlib.blake2b("\0".join(sorted(walk.facts)).encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


def code_hash(code: types.CodeType) -> str:
    """Changes when the code does; the same in every process."""
    digest = hashlib.blake2b(code.co_code, digest_size=10)
    shape = (code.co_argcount, code.co_posonlyargcount, code.co_kwonlyargcount, code.co_flags)
    parameters = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]
    digest.update(repr((code.co_names, code.co_freevars, shape, parameters)).encode())
    digest.update(code.co_exceptiontable)
    for constant in code.co_consts:
        digest.update(_constant(constant).encode("utf-8", "surrogatepass"))
    return digest.hexdigest()


def _constant(value: Any) -> str:
    if isinstance(value, types.CodeType):
        return code_hash(value)
    if isinstance(value, frozenset):
        return repr(sorted(map(repr, value)))  # the order of a set differs from process to process
    return repr(value)


def _codes(code: types.CodeType) -> Iterator[types.CodeType]:
    """`code` and the functions in it."""
    yield code
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _codes(constant)


class _Walk:
    """Collects what is known of one function's code, as lines of text."""

    def __init__(self, root: types.FunctionType) -> None:
        self.facts: set[str] = set()
        self._root = str(root.__globals__.get("__name__", root.__module__))
        self._todo: deque[tuple[str, Any, frozenset[str]]] = deque()
        self._seen: set[tuple[int, frozenset[str]]] = set()
        self._keep: list[Any] = []  # or the id of what was seen could be used again

    def add(self, path: str, value: Any, names: frozenset[str] = frozenset()) -> None:
        """`value`, found as `path`; of a module only `names` are used."""
        self._todo.append((path, value, names))

    def run(self) -> None:
        looked = 0
        while self._todo and looked < _MOST_OBJECTS:
            looked += 1
            path, value, names = self._todo.popleft()
            kind = type(value)
            if kind in _SCALARS:
                self._fact(path, kind.__name__, repr(value))
                continue
            names = names if kind is types.ModuleType else frozenset()
            if (id(value), names) in self._seen:
                continue
            self._seen.add((id(value), names))
            self._keep.append(value)
            try:
                self._look(path, value, names)
            except Exception:  # a lazy proxy, a property that raises: its type is what can be said
                self._fact(path, "unseen", kind.__qualname__)

    def _fact(self, *parts: str) -> None:
        self.facts.add("\1".join(parts))

    def _look(self, path: str, value: Any, names: frozenset[str]) -> None:
        if isinstance(value, types.FunctionType):
            self._function(path, value)
        elif isinstance(value, types.ModuleType):
            if self._own(value.__name__, _place(value)):
                for name in sorted(names & vars(value).keys()):
                    self.add(f"{value.__name__}.{name}", vars(value)[name], names)
        elif isinstance(value, type):
            which = str(OBJECTS.of(value)) if self._own_class(value) else value.__module__
            self._fact(path, "class", value.__qualname__, which)
        elif (parts := _PARTS.get(type(value))) is not None:
            for name in parts:
                self.add(f"{path}.{name}", getattr(value, name))
        elif path.startswith(_OPTION):
            self._fact(path, "itself", _number(value))
        elif isinstance(value, (list, tuple, set, frozenset, dict)):
            self._container(path, value)
        else:
            self._object(path, value)

    def _function(self, path: str, function: types.FunctionType) -> None:
        namespace = function.__globals__
        module = str(namespace.get("__name__"))
        if (wrapped := vars(function).get("__wrapped__")) is not None:  # a library may have decorated it
            self.add(f"{path}.wrapped", wrapped)
        if not self._own(module, namespace.get("__file__")):
            self._fact(path, "function", module, function.__qualname__)
            return
        self._fact(path, "code", module, function.__qualname__, code_hash(function.__code__))
        for position, default in enumerate(function.__defaults__ or ()):
            self.add(f"{path}.{position}", default)
        for name, default in (function.__kwdefaults__ or {}).items():
            self.add(f"{path}.{name}", default)
        for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
            try:
                self.add(f"{path}<{name}>", cell.cell_contents)
            except ValueError:  # not yet filled
                continue
        used = frozenset(name for code in _codes(function.__code__) for name in code.co_names)
        for name in sorted(used & namespace.keys()):
            self.add(f"{module}.{name}", namespace[name], used)
        for code in _codes(function.__code__):
            if _IMPORT in code.co_code[::2]:
                self._imports(code, str(namespace.get("__package__") or ""))

    def _container(self, path: str, value: Any) -> None:
        self._fact(path, type(value).__name__, str(len(value)))
        if isinstance(value, dict):
            for key, content in islice(value.items(), _MOST_OBJECTS):
                self.add(f"{path}[{key!r}]" if type(key) in _SCALARS else f"{path}[]", content)
                if type(key) not in _SCALARS:
                    self.add(f"{path}.key", key)
        elif isinstance(value, (list, tuple)):
            for position, content in enumerate(value[:_MOST_OBJECTS]):
                self.add(f"{path}[{position}]", content)
        else:
            for content in islice(value, _MOST_OBJECTS):  # in any order
                self.add(f"{path}{{}}", content)

    def _object(self, path: str, value: Any) -> None:
        kind = type(value)
        inner = getattr(value, "__dict__", {}).get("__wrapped__")  # a cached function, a task, a decorated function
        if inner is not None:
            self.add(f"{path}.wrapped", inner)
            return
        self._fact(path, "object", kind.__module__, kind.__qualname__)
        self.add(f"{path}.class", kind)
        if isinstance(value, enum.Enum):
            self._fact(path, "member", str(value._name_))
        elif keys.is_dataclass(value):
            for field in fields(value):
                self.add(f"{path}.{field.name}", getattr(value, field.name, None))
        elif estimate(value) <= _MOST_BYTES:
            try:
                self._fact(path, "content", hashlib.blake2b(keys.encode(value)).hexdigest())
            except CodecError:  # a logger, a client, a lock
                return

    # -- whose code ----------------------------------------------------------------------------------------------------

    def _own(self, module: str, file: Any) -> bool:
        """Whether `module` is of the same project as the function."""
        if module == self._root:
            return True
        top = module.partition(".")[0]
        if top == "actorq":
            return False
        return top == self._root.partition(".")[0] or (isinstance(file, str) and not installed(file))

    def _own_class(self, kind: type) -> bool:
        module = kind.__module__
        return self._own(module, getattr(sys.modules.get(module), "__file__", None))

    def _imports(self, code: types.CodeType, package: str) -> None:
        """The files of the project that `code` imports when it runs: they may not have been imported yet."""
        instructions = list(dis.get_instructions(code))
        for at, instruction in enumerate(instructions):
            if instruction.opname != "IMPORT_NAME":
                continue
            level, names = instructions[at - 2].argval, instructions[at - 1].argval
            target = str(instruction.argval)
            if level:
                target = importlib.util.resolve_name("." * level + target, package)
            for name in (target, *(f"{target}.{name}" for name in names or ())):
                file = _file_of(name)
                if file is not None and self._own(name, str(file)):
                    self._fact("import", name, hashlib.blake2b(file.read_bytes()).hexdigest())


def _number(value: Any) -> str:
    """Of an object that the options hold, and so of no other while there are values of this identity."""
    try:
        return str(OBJECTS.of(value))
    except TypeError:  # a list, whose `append` is told what leaves
        return str(id(value))


def _file_of(module: str) -> Path | None:
    """The source of `module`, which is not imported for it."""
    top, *rest = module.split(".")
    try:
        spec = importlib.util.find_spec(top)
    except (ImportError, ValueError):
        return None
    if spec is None:
        return None
    path = Path(spec.origin or "")
    if rest:
        folders = list(spec.submodule_search_locations or ())
        path = Path(*folders[:1], *rest)
        path = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    return path if path.suffix == ".py" and path.is_file() else None


def _place(module: types.ModuleType) -> str | None:
    """Where `module` lies; a folder for a package without an `__init__.py`."""
    file = getattr(module, "__file__", None)
    return file if file is not None else next(iter(getattr(module, "__path__", ())), None)
