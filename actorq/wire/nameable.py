"""Which classes bytes from the server may name.

Bytes cannot import a module, but a process has imported hundreds that its tasks know nothing of, and an object of any
class among them, with fields of a stranger's choice, is a tool in the hands of who can write to the server. The one
idea: *only what the tasks' own code could have named is built*: classes of that code, of the packages it imports, of
those that these import, and so on, and of the standard library. What was imported for another reason, as actorq's own
libraries, is not to be had.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from types import BuiltinFunctionType, CodeType, FunctionType, ModuleType
from typing import Any

from actorq.base.names import DECLARING, installed, main_module, module_named, public_module
from actorq.errors import CodecError, DeclarationError

#: characters of a module and a class in it
_LONGEST_NAME = 1000
_OURS = "actorq"
#: the one module of ours whose classes tasks raise
_ERRORS = "actorq.errors"
_CALLABLES = (FunctionType, BuiltinFunctionType, type)

#: file of `__main__` -> the name it would have if it were imported; None where it has none. To ask costs more than the
#: rest of decoding an object
_main_names: dict[str | None, str | None] = {}
#: top-level packages that were found
_known: set[str] = set()
#: how many modules there were, and what had declared environments, when they were looked for
_looked_at: tuple[int, frozenset[str]] = (0, frozenset())


def loaded_object(module: str, qualname: str) -> Any:
    """`module.qualname` among the modules this process has already imported; never imports one.

    Raises `CodecError` when it is not there.
    """
    if not (isinstance(module, str) and isinstance(qualname, str)) or len(module) + len(qualname) > _LONGEST_NAME:
        raise CodecError("The data holds an object of a class whose name is none.")
    known = sys.modules.get(module)
    main = module_named("__main__") if _is_main(module) else None
    if known is None and main is None:
        raise CodecError(f"The data holds a {module}.{qualname}, and {module} is not imported here: import it.")
    if not may_be_named(module):
        raise CodecError(
            f"The data holds a {module}.{qualname}, and the code of the tasks does not import {module}: "
            "import it in the module that declares them, or pass plain data."
        )
    # the running script comes before a copy of it that was imported by its name: whoever handles what arrives has the
    # classes of `__main__`
    found = _inside(main, qualname) if main is not None else None
    if found is None:
        found = _inside(known, qualname)
    if found is None:
        raise CodecError(f"The data holds a {module}.{qualname}, which does not exist here.")
    return found


def _inside(found: Any, qualname: str) -> Any:
    for part in qualname.split("."):
        # not getattr: a module's __getattr__ may import, a descriptor may run code
        found = getattr(found, "__dict__", {}).get(part)
    return found


def _is_main(module: str) -> bool:
    file = vars(sys.modules["__main__"]).get("__file__")
    if file not in _main_names:
        try:
            _main_names[file] = main_module()[0]
        except DeclarationError:
            _main_names[file] = None
    return _main_names[file] == module


def may_be_named(module: str) -> bool:
    """Whether data may hold objects of the classes of `module`."""
    top = _top(module)
    if top in _known or top in sys.stdlib_module_names or module == _ERRORS:
        return True
    _look_again()
    return top in _known


def _look_again() -> None:
    """Follows the imports from the tasks' own code, if anything has been imported since."""
    global _looked_at
    declaring = frozenset(DECLARING)
    state = (len(sys.modules), declaring)
    if state == _looked_at:
        return
    by_package: dict[str, list[ModuleType]] = {}
    for name, module in list(sys.modules.items()):
        if isinstance(module, ModuleType):
            by_package.setdefault(_top(name), []).append(module)
    if (script := module_named("__main__")) is not None and script not in by_package.get("__main__", ()):
        by_package.setdefault("__main__", []).append(script)
    own = {_top(name) for name in declaring} | {top for top, modules in by_package.items() if _is_project(modules)}
    found = set(own)
    with contextlib.suppress(DeclarationError):  # an interactive session, whose classes have no name elsewhere
        found.update({_top(public_module("__main__"))} - {_OURS})  # of a worker it is the command
    waiting = list(own)
    while waiting:
        for module in by_package.get(waiting.pop(), ()):
            for name in _named_by(module, deeply=_top(module.__name__) in own):
                if (top := _top(name)) not in found and top != _OURS and top not in sys.stdlib_module_names:
                    found.add(top)
                    waiting.append(top)
    _known.update(found)
    _looked_at = state


def _is_project(modules: list[ModuleType]) -> bool:
    """Whether these are code of the user's: files that are not installed."""
    files = [file for module in modules if isinstance(file := getattr(module, "__file__", None), str)]
    ours = any(_top(module.__name__) == _OURS for module in modules)
    return not ours and (any(not installed(file) for file in files) or modules[0].__name__ == "__main__")


def _named_by(module: ModuleType, *, deeply: bool) -> Iterator[str]:
    """The modules that a module's globals come from; `deeply`: and what its functions, tasks and methods import."""
    for value in list(vars(module).values()):
        kind = type(value)  # not isinstance, which may run code of the value's
        if issubclass(kind, ModuleType):
            yield value.__name__
        elif issubclass(kind, _CALLABLES) and isinstance(value.__module__, str):
            yield value.__module__
        if deeply:
            yield from _imported_inside(value, module.__name__)


def _imported_inside(value: Any, module: str) -> Iterator[str]:
    """What a function, a task, a cached function or a class of `module` imports when it runs."""
    kind = type(value)
    if _top(kind.__module__) == _OURS:
        value = getattr(value, "__wrapped__", None)  # of a task, or of what @actor_cache made
    if type(value) is FunctionType:
        yield from _imported_by(value.__code__)
    elif issubclass(kind, type) and value.__module__ == module:
        for inner in vars(value).values():
            if type(inner) is FunctionType:
                yield from _imported_by(inner.__code__)


def _imported_by(code: CodeType) -> Iterator[str]:
    """What a function imports when it runs."""
    import dis  # seldom needed, and 3 ms

    for instruction in dis.get_instructions(code):
        if instruction.opname == "IMPORT_NAME":
            yield str(instruction.argval)
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _imported_by(constant)


def _top(module: str) -> str:
    return module.partition(".")[0]
