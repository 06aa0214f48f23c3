"""The pages of the documentation, and the fenced blocks in them.

A page's ```python blocks run in their order in one script, as replicas import it: declarations stay where they are, and
what calls something goes under `if __name__ == "__main__":`. Its ```console blocks run in one shell, in a folder of the
page's own; a line that begins with `$ ` is a command, and any other a line that it prints.

    <!-- file: NAME -->      the block below is that file, for the page's commands
    <!-- not run: WHY -->    the block below cannot run here; test_pages.py lists all of them
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]

_MARK = re.compile(r"<!-- (file|not run): (.+) -->")
#: what a printed line is to hold, behind the `print` that prints it
_PRINTS = re.compile(r"# -> (.+)$", re.MULTILINE)
#: calls that declare something, which a replica makes, too
_DECLARING = {"ActorEnvironment", "TaskEnvironment", "TypeVar", "actor_cache", "prewarm", "register"}
_DECLARATIONS = (ast.Import, ast.ImportFrom, ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)


@dataclass(frozen=True, kw_only=True)
class Block:
    """A fenced block."""

    page: str
    #: of its fence
    line: int
    language: str
    text: str
    #: marks above it: kind -> text
    marks: dict[str, str]

    @property
    def runs(self) -> bool:
        return "not run" not in self.marks

    @property
    def title(self) -> str:
        """What the list of blocks that do not run calls it: its first line."""
        return self.text.partition("\n")[0]


@dataclass(frozen=True, kw_only=True)
class Page:
    """A page, by its path."""

    name: str
    text: str
    blocks: list[Block]

    @property
    def prose(self) -> str:
        """The page without its blocks, each of which leaves an empty line."""
        return "\n".join(line for line, block in _lines(self.text) if block is None)

    @property
    def files(self) -> dict[str, str]:
        """Files that its commands find: name -> content."""
        return {block.marks["file"]: block.text for block in self.blocks if "file" in block.marks}

    @property
    def script(self) -> str:
        """Its Python blocks as one script, empty where there is none."""
        blocks = [b for b in self.blocks if b.language == "python" and b.runs and "file" not in b.marks]
        return "\n\n".join("\n".join(_guarded(block.text)) for block in blocks)

    @property
    def printed(self) -> list[str]:
        """What the script is to print, among other lines, in this order."""
        return _PRINTS.findall(self.script)

    @property
    def commands(self) -> list[tuple[str, list[str]]]:
        """Each command that runs, with lines that it is to print, among others, in this order."""
        found: list[tuple[str, list[str]]] = []
        for block in self.blocks:
            if block.language != "console" or not block.runs:
                continue
            for line in block.text.replace("\\\n", " ").splitlines():
                if line.startswith("$ "):
                    found.append((line.removeprefix("$ "), []))
                elif line.strip():
                    found[-1][1].append(line.strip())
        return found


@cache
def pages() -> dict[str, Page]:
    """Every page: the README, and those in docs/."""
    paths = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
    return {page.name: page for page in map(read, paths)}


def read(path: Path) -> Page:
    name, text = str(path.relative_to(ROOT)), path.read_text(encoding="utf-8")
    return Page(name=name, text=text, blocks=list(blocks(name, text)))


def blocks(page: str, text: str) -> Iterator[Block]:
    """The fenced blocks of a page."""
    marks: dict[str, str] = {}
    body: list[str] = []
    for number, (line, language) in enumerate(_lines(text), start=1):
        if language is None:
            found = _MARK.fullmatch(line.strip())
            marks = {found[1]: found[2]} if found else marks if not line.strip() else {}
        elif not line.startswith("```"):
            body.append(line)
        elif line == "```":
            start = number - len(body) - 1
            yield Block(page=page, line=start, language=language, text="\n".join(body) + "\n", marks=marks)
            marks, body = {}, []


def _lines(text: str) -> Iterator[tuple[str, str | None]]:
    """Every line, with the language of the block that it is in. The fences belong to their block."""
    language: str | None = None
    for line in text.splitlines():
        if line.startswith("```") and language is None:
            language = line.removeprefix("```").strip()
            if not language:
                raise ValueError(f"A fence says no language: {text[text.find(line) - 80 :]:.160}")
            yield line, language
        elif line == "```":
            yield line, language
            language = None
        else:
            yield line, language


def _guarded(text: str) -> Iterator[str]:
    """A block's lines; statements that do more than declare something are put under the guard, where they stand."""
    lines = text.splitlines()
    for statement in ast.parse(text).body:
        decorators = getattr(statement, "decorator_list", [])
        first = min(node.lineno for node in (statement, *decorators))
        part = lines[first - 1 : statement.end_lineno]
        if _declares(statement):
            yield from part
        else:
            yield 'if __name__ == "__main__":'
            yield from (f"    {line}" if line else line for line in part)


def _declares(statement: ast.stmt) -> bool:
    if isinstance(statement, _DECLARATIONS):
        return True
    if isinstance(statement, ast.If):  # the guard
        return True
    if not isinstance(statement, ast.Assign | ast.AnnAssign | ast.Expr):
        return False
    if isinstance(statement.value, ast.Call):
        return ast.unparse(statement.value.func).split(".")[-1] in _DECLARING
    return not any(isinstance(node, ast.Call) for node in ast.walk(statement))
