"""Which globals are named as not restored, and that everything beside them still is."""

from __future__ import annotations

import subprocess
import sys
import types
from pathlib import Path
from typing import Any

import pytest

from actorq.isolation.reset.globals import GlobalState
from tests.conftest import ROOT

_SMALL = "names, table, limit = ['a'], {'a': 1}, 10\n"
_LEFT = {
    "an instance of a third-party class": "import argparse\nleft = argparse.Namespace(a=1)\n",
    "many of them": "import argparse\nleft = [argparse.Namespace(a=1) for _ in range(100)]\n",
    "one that can be called": "import click\nleft = click.Command('x')\n",
    "a numpy array": "import numpy\nleft = numpy.zeros(3)\n",
    "a generator": "left = (x for x in 'abc')\n",
    "an iterator": "import itertools\nleft = itertools.count()\n",
    "a stream": "import io\nleft = io.BytesIO(b'a')\n",
    "an array": "import array\nleft = array.array('d', [1.0])\n",
    "a context variable": "import contextvars\nleft = contextvars.ContextVar('x')\n",
    "a huge dict": "left = {i: i for i in range(300_000)}\n",
    "a huge list": "left = [0] * 300_000\n",
}


def state_of(source: str, monkeypatch: pytest.MonkeyPatch) -> tuple[dict[str, Any], GlobalState]:
    module = types.ModuleType("holding")
    exec(source, vars(module))
    monkeypatch.setitem(sys.modules, "holding", module)
    return vars(module), GlobalState(["holding"], ())


@pytest.mark.parametrize("what", list(_LEFT))
def test_what_cannot_be_restored_in_place_is_named_once_and_the_rest_is_restored(
    what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    space, state = state_of(_LEFT[what] + _SMALL, monkeypatch)
    assert state.unrestored == ["holding.left"]
    space["names"].append("b")
    space["left"] = None
    state.restore()
    assert space["names"] == ["a"]
    assert space["left"] is not None


_ORDINARY = """
from __future__ import annotations
import enum, functools, json, logging, re, typing
from pathlib import Path
place, log, word, Table = Path("x"), logging.getLogger("x"), re.compile("a"), dict[str, int]
T = typing.TypeVar("T")
class Kind(enum.Enum):
    a = 1
class Pair(typing.NamedTuple):
    a: int
class Own:
    @functools.cached_property
    def size(self): return 1
    @property
    def half(self): return 2
own = Own()
@functools.singledispatch
def shown(x): return str(x)
large = {i: i for i in range(90_000)}
"""


def test_ordinary_code_and_large_tables_of_numbers_are_restored_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    space, state = state_of(_ORDINARY + _SMALL + "last = []\n", monkeypatch)
    assert state.unrestored == []
    space["large"][1] = 2
    space["last"].append(1)
    assert space["own"].size == 1
    state.restore()
    assert (space["large"][1], space["last"], vars(space["own"])) == (1, [], {})


def test_they_are_named_when_a_replica_starts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = tmp_path / "naming.py"
    script.write_text(
        "from actorq import ActorEnvironment\nimport numpy\nweights = numpy.zeros(3)\n"
        "env = ActorEnvironment('naming', replica_count=1)\n"
        "@env.task\ndef f(x): return x\n"
        "if __name__ == '__main__': f.remote(1)\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("ACTORQ_LOG_LEVEL", "info")
    done = subprocess.run(
        [sys.executable, str(script)], capture_output=True, text=True, timeout=50, check=True, cwd=tmp_path
    )
    (line,) = [line for line in done.stderr.splitlines() if "globals_not_restored" in line]
    assert line.endswith("names=['naming.weights']")
