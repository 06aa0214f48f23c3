"""What a function's code uses: what it names, and what that names in turn, as far as it is the user's own code.

The one idea: *code is walked by the names in it*, from namespace to namespace, breadth first and in the order of the
names, so that two walks of the same code say the same. What is noted of a value (its content, its class, nothing) is up
to whoever walks.

Not seen: what is found by other ways than a name (a registry that fills itself, `getattr`, files that are read), what
installed packages hold, and of a module that is imported in a function's body what lies beyond its own file.
"""

from __future__ import annotations

import dis
import functools
import hashlib
import importlib.util
import types
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from actorq.base.names import installed, module_named

#: objects looked at: some 50 ms. A function that uses more than this is told apart by what comes first.
MOST_OBJECTS = 10_000

SCALARS = frozenset({int, float, complex, bool, str, bytes, type(None), type(Ellipsis)})
CONTAINERS = (list, tuple, set, frozenset, dict)
#: what of an object decides what it does
_PARTS = {
    types.MethodType: ("__func__", "__self__"),
    functools.partial: ("func", "args", "keywords"),
    types.BuiltinFunctionType: ("__module__", "__qualname__", "__self__"),
}
_IMPORT = dis.opmap["IMPORT_NAME"]


def code_hash(code: types.CodeType) -> str:
    """Changes when the code does; the same in every process with this version of Python."""
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


class Walk(ABC):
    """Collects facts of one function's code, each of which begins with what it is a fact of.

    Args:
        root: the function whose module tells which other code is of the same project.
    """

    def __init__(self, root: types.FunctionType) -> None:
        self.facts: set[tuple[str, ...]] = set()
        self._root = str(root.__globals__.get("__name__", root.__module__))
        self._todo: deque[tuple[str, Any, frozenset[str]]] = deque()
        self._seen: set[tuple[int, frozenset[str]]] = set()
        self._keep: list[Any] = []  # or the id of what was seen could be used again

    def add(self, path: str, value: Any, names: frozenset[str] = frozenset()) -> None:
        """`value`, found as `path`; of a module only `names` are used."""
        self._todo.append((path, value, names))

    def run(self) -> None:
        looked = 0
        while self._todo and looked < MOST_OBJECTS:
            looked += 1
            path, value, names = self._todo.popleft()
            kind = type(value)
            if kind in SCALARS:
                self._scalar(path, value)
                continue
            names = names if kind is types.ModuleType else frozenset()
            if (id(value), names) in self._seen:
                continue
            self._seen.add((id(value), names))
            self._keep.append(value)
            try:
                self._look(path, value, names)
            except Exception:  # a lazy proxy, a property that raises: its type is what can be said
                self._unseen(path, kind)

    def _fact(self, *parts: str) -> None:
        self.facts.add(parts)

    # -- what is noted -------------------------------------------------------------------------------------------------

    @abstractmethod
    def _scalar(self, path: str, value: Any) -> None:
        """A number, a text or another plain constant."""

    @abstractmethod
    def _class(self, path: str, value: type) -> None:
        """A class, of anybody's."""

    @abstractmethod
    def _instance(self, path: str, value: Any) -> None:
        """A container, or any other object."""

    @abstractmethod
    def _code(self, path: str, module: str, function: types.FunctionType) -> None:
        """A function of the user's own."""

    @abstractmethod
    def _foreign(self, path: str, module: str, function: types.FunctionType) -> None:
        """A function of somebody else's."""

    @abstractmethod
    def _unseen(self, path: str, kind: type) -> None:
        """A value that cannot be looked at."""

    def _default(self, path: str, function: types.FunctionType, value: Any) -> None:
        """What a parameter of a function of the user's own is by default."""
        self.add(path, value)

    def _global(self, namespace: Mapping[str, Any], module: str, name: str, used: frozenset[str]) -> None:
        """A global that a function of the user's own names; `used` are all names in it."""
        self.add(f"{module}.{name}", namespace[name], used)

    def _module_name(self, name: str) -> str:
        return name

    # -- the walk ------------------------------------------------------------------------------------------------------

    def _look(self, path: str, value: Any, names: frozenset[str]) -> None:
        if isinstance(value, types.FunctionType):
            self._function(path, value)
        elif isinstance(value, types.ModuleType):
            if self._own(value.__name__, _place(value)):
                for name in sorted(names & vars(value).keys()):
                    self._global(vars(value), value.__name__, name, names)
        elif isinstance(value, type):
            self._class(path, value)
        elif (parts := _PARTS.get(type(value))) is not None:
            for name in parts:
                self.add(f"{path}.{name}", getattr(value, name))
        else:
            self._instance(path, value)

    def _function(self, path: str, function: types.FunctionType) -> None:
        namespace = function.__globals__
        module = str(namespace.get("__name__"))
        if (wrapped := vars(function).get("__wrapped__")) is not None:  # a library may have decorated it
            self.add(f"{path}.wrapped", wrapped)
        if not self._own(module, namespace.get("__file__")):
            self._foreign(path, module, function)
            return
        self._code(path, module, function)
        for position, default in enumerate(function.__defaults__ or ()):
            self._default(f"{path}.{position}", function, default)
        for name, default in (function.__kwdefaults__ or {}).items():
            self._default(f"{path}.{name}", function, default)
        for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
            try:
                self.add(f"{path}<{name}>", cell.cell_contents)
            except ValueError:  # not yet filled
                continue
        used = frozenset(name for code in _codes(function.__code__) for name in code.co_names)
        for name in sorted(used & namespace.keys()):
            self._global(namespace, module, name, used)
        for code in _codes(function.__code__):
            if _IMPORT in code.co_code[::2]:
                self._imports(code, str(namespace.get("__package__") or ""))

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
        return self._own(module, getattr(module_named(module), "__file__", None))

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
                    self._fact(f"import {name}", hashlib.blake2b(file.read_bytes()).hexdigest())


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
