"""Which of a module's values are written in its source, and so are code.

`BATCH = 32` is code: where the value differs, somebody has edited the file. `STARTED = time.time()` is not: it differs
in every process. The one idea: *a value counts where its statement, alone at the top of the module, is a literal*. The
statement is found by its text and parsed by itself: parsing a module takes 10 us a line, in every replica.
"""

from __future__ import annotations

import ast
import importlib.util
import re
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from types import ModuleType
from typing import Any

from actorq.base.names import module_named

#: a literal longer than this, characters, is data
_LONGEST = 20_000
#: modules that a name may be imported through
_MOST_IMPORTS = 10
_SCALARS = (int, float, complex, bool, str, bytes, type(None), type(Ellipsis))
#: of what is no literal
_NONE = object()
#: a line that begins a statement: not one that goes on, closes a bracket, or says nothing
_BEGIN = re.compile(r"^(?=[^\s#)\]}])", re.MULTILINE)
#: statements that are looked for: an assignment, a class, a function, an import of names
_FOUND = r"^(?:{0}\s*(?::[^=\n]+)?=(?!=)|class\s+{0}\b|(?:async\s+)?def\s+{0}\b|from\s[^\n]*\bimport\b[^\n]*\b{0}\b)"
#: the name is given another value, who knows when
_AGAIN = r"^[ \t]+{0}\s*(?::[^=\n]+)?[-+*/|&^%@<>]*=(?!=)|^{0}\s*[-+*/|&^%@<>]+=(?!=)|\bglobal\b[^\n]*\b{0}\b"


class Literals:
    """What the source of one module says of its values."""

    def __init__(self, module: ModuleType) -> None:
        self._module = module

    def value(self, name: str, value: Any) -> str | None:
        """The global `name`, which is `value` now, as a text; None where that is not written in the source."""
        return self._value(name, value, _MOST_IMPORTS)

    def attributes(self, name: str, values: Mapping[str, Any]) -> list[tuple[str, str]]:
        """The attributes of the class `name` that are written in the source, and what they are among `values`."""
        statement = self._statement(name)
        found: dict[str, list[ast.expr | None]] = {}
        for each in statement.body if isinstance(statement, ast.ClassDef) else ():
            if isinstance(each, (ast.Assign, ast.AnnAssign)):
                for target in each.targets if isinstance(each, ast.Assign) else [each.target]:
                    if isinstance(target, ast.Name):
                        found.setdefault(target.id, []).append(each.value)
        texts = [
            (attribute, _as_written(nodes[0], values[attribute]))
            for attribute, nodes in found.items()
            if len(nodes) == 1 and attribute in values
        ]
        return [(attribute, text) for attribute, text in texts if text is not None]

    def has_literal_defaults(self, qualname: str) -> bool:
        """Whether all default arguments of a function, or of a method, are written in the source."""
        name, *rest = qualname.split(".")
        statement: ast.AST | None = self._statement(name)
        for inner in rest:
            body = statement.body if isinstance(statement, ast.ClassDef) else ()
            defined = [each for each in body if getattr(each, "name", None) == inner]
            statement = defined[0] if len(defined) == 1 else None
        if not isinstance(statement, (ast.FunctionDef, ast.AsyncFunctionDef)):
            return False
        given = [*statement.args.defaults, *(each for each in statement.args.kw_defaults if each is not None)]
        return all(map(_is_literal, given))

    # -- parts ---------------------------------------------------------------------------------------------------------

    @cached_property
    def _source(self) -> str:
        loader: Any = getattr(self._module, "__loader__", None)
        try:
            name = getattr(loader, "name", self._module.__name__)  # of what `python -m` runs as `__main__`
            if loader is None:  # pdb runs a script without one
                return importlib.util.decode_source(Path(str(self._module.__file__)).read_bytes())
            return loader.get_source(name) or ""
        except Exception:  # any loader's, and a file that is gone
            return ""

    def _statement(self, name: str) -> ast.stmt | None:
        """The one statement that gives `name` its value; None where there is none, or several."""
        escaped = re.escape(name)
        found = list(re.finditer(_FOUND.format(escaped), self._source, re.MULTILINE))
        if len(found) != 1 or re.search(_AGAIN.format(escaped), self._source, re.MULTILINE):
            return None
        begin = found[0].start()
        end = _BEGIN.search(self._source, found[0].end())
        text = self._source[begin : len(self._source) if end is None else end.start()]
        if len(text) > _LONGEST:
            return None
        try:
            parsed = ast.parse(text).body
        except SyntaxError:  # what looks like the begin of a statement is in the middle of a text
            return None
        return parsed[0] if len(parsed) == 1 else None

    def _value(self, name: str, value: Any, imports: int) -> str | None:
        statement = self._statement(name)
        if isinstance(statement, (ast.Assign, ast.AnnAssign)):
            return _as_written(statement.value, value)
        if not isinstance(statement, ast.ImportFrom) or imports == 0:
            return None
        original = next((each.name for each in statement.names if (each.asname or each.name) == name), None)
        target = "." * statement.level + (statement.module or "")
        if statement.level:
            target = importlib.util.resolve_name(target, getattr(self._module, "__package__", None) or "")
        module = module_named(target)
        if original is None or module is None:
            return None
        return Literals(module)._value(original, value, imports - 1)


def _as_written(node: ast.expr | None, value: Any) -> str | None:
    """`value` as a text that is the same in every process, if `node` is a literal.

    A list, a set or a dict may have been filled since: it counts as long as it is what was written.
    """
    text = _plain(value) if _is_literal(node) else None
    if text is None or isinstance(value, (*_SCALARS, tuple, frozenset)):
        return text
    return text if _plain(_evaluated(node)) == text else None


def _is_literal(node: ast.expr | None) -> bool:
    if isinstance(node, ast.BinOp):  # 60 * 60
        return _is_literal(node.left) and _is_literal(node.right)
    return node is not None and _evaluated(node) is not _NONE


def _evaluated(node: ast.expr | None) -> Any:
    try:
        return ast.literal_eval(node)  # type: ignore[arg-type]
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        return _NONE


def _plain(value: Any) -> str | None:
    """A value of plain constants as a text; None for any other."""
    if type(value) in _SCALARS:
        return repr(value)
    if type(value) not in (dict, list, tuple, set, frozenset):
        return None
    parts = [_plain(each) for each in (value.items() if type(value) is dict else value)]
    known = [part for part in parts if part is not None]
    if len(known) < len(parts):
        return None
    if isinstance(value, (set, frozenset)):
        known.sort()
    return f"{type(value).__name__}({', '.join(known)})"
