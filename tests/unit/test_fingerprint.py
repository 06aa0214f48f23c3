"""Which edits make two processes have different code, and what makes no difference."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
from pathlib import Path
from types import FunctionType
from typing import Any

import msgpack
import pytest

from actorq.code.difference import tell
from actorq.code.fingerprint import FINGERPRINTS, Fingerprint, Fingerprints, is_comparable
from tests.support.code import tasks
from tests.support.edited_project import Project

ROOT = Path(__file__).parents[2]
BEFORE = (
    "import dataclasses, enum, functools, time, aq_beside\nfrom aq_beside import *\nfrom actorq import actor_cache\n"
)
BESIDE = "BESIDE = 1\nLABELS = ('a', 'b')\ndef near(x):\n    return x + far(x)\ndef far(x):\n    return EDIT\n"


def fingerprint_of(project: Project, text: str, beside: str = "") -> Fingerprint:
    module = project.load(aq_job=BEFORE + text, aq_beside=beside)
    return Fingerprints().of(module.task)


def differing(project: Project, text: str, old: str, new: str, beside: str = "") -> list[str]:
    """The names whose code is another one after an edit; the same for two imports of the same."""
    first, again, edited = (
        fingerprint_of(project, text.replace("EDIT", what), beside.replace("EDIT", what)) for what in (old, old, new)
    )
    assert first == again
    assert (first.digest == edited.digest) == (first.parts == edited.parts)
    names = first.parts.keys() | edited.parts.keys()
    return sorted(name for name in names if first.parts.get(name) != edited.parts.get(name))


TASK = "def task(x):\n    return "
EDITS = {
    "its own code": (TASK + "x * EDIT\n", "1", "2", "aq_job.task"),
    "a function in it": (TASK + "(lambda: EDIT)()\n", "1", "2", "aq_job.task"),
    "a default argument": ("def task(x, y=EDIT):\n    return x * y\n", "1", "2", "aq_job.task"),
    "a keyword's default": ("def task(x, *, y=(EDIT,)):\n    return x * y\n", "1", "2", "aq_job.task"),
    "a helper": ("def helper():\n    return EDIT\n" + TASK + "helper()\n", "1", "2", "aq_job.helper"),
    "a helper in a partial": (
        "def helper(n):\n    return EDIT\nbound = functools.partial(helper, 1)\n" + TASK + "bound()\n",
        "1",
        "2",
        "aq_job.helper",
    ),
    "a helper in a dict": (
        "def helper():\n    return EDIT\nBY_NAME = {'a': helper}\n" + TASK + "BY_NAME[x]()\n",
        "1",
        "2",
        "aq_job.helper",
    ),
    "a decorator's inner function": (
        "def doubled(f):\n    @functools.wraps(f)\n    def inner(x):\n        return EDIT\n    return inner\n@doubled\n"
        + TASK
        + "x\n",
        "1",
        "2",
        "aq_job.task",
    ),
    "what it caches": (
        "@actor_cache\ndef load():\n    return EDIT\n" + TASK + "load()\n",
        "1",
        "2",
        "aq_job.load",
    ),
    "a constant": ("FACTOR = EDIT\n" + TASK + "x * FACTOR\n", "1", "2", "aq_job.FACTOR"),
    "an annotated constant": ("FACTOR: int = EDIT\n" + TASK + "x * FACTOR\n", "1", "2", "aq_job.FACTOR"),
    "a constant of constants": ("DAY = EDIT * 24\n" + TASK + "x * DAY\n", "60", "3600", "aq_job.DAY"),
    "a list over several lines": (
        "NAMES = [\n    'a',\n    'EDIT',\n]\n" + TASK + "NAMES\n",
        "b",
        "c",
        "aq_job.NAMES",
    ),
    "a dict": ("SIZES = {'a': [EDIT]}\n" + TASK + "SIZES\n", "1", "2", "aq_job.SIZES"),
    "a method": (
        "class Model:\n    def run(self):\n        return EDIT\nmodel = Model()\n" + TASK + "model.run()\n",
        "1",
        "2",
        "aq_job.Model.run",
    ),
    "a method's default": (
        "class Model:\n    def run(self, n=EDIT):\n        return n\n" + TASK + "Model().run()\n",
        "1",
        "2",
        "aq_job.Model.run",
    ),
    "a property": (
        "class Model:\n    @property\n    def size(self):\n        return EDIT\n" + TASK + "Model().size\n",
        "1",
        "2",
        "aq_job.Model.size",
    ),
    "a class attribute": ("class Model:\n    size = EDIT\n" + TASK + "Model.size\n", "1", "2", "aq_job.Model.size"),
    "a field of a dataclass": (
        "@dataclasses.dataclass\nclass Point:\n    x: int = 0\n    EDIT: int = 0\n" + TASK + "Point()\n",
        "y",
        "z",
        "aq_job.Point",
    ),
    "a member of an enum": (
        "class Level(enum.Enum):\n    LOW = EDIT\n" + TASK + "Level.LOW.value\n",
        "1",
        "2",
        "aq_job.Level.LOW",
    ),
    "what a base does": (
        "class Base:\n    def run(self):\n        return EDIT\nclass Model(Base):\n    pass\n"
        + TASK
        + "Model().run()\n",
        "1",
        "2",
        "aq_job.Base.run",
    ),
}


@pytest.mark.parametrize("what", EDITS)
def test_an_edit_is_seen_and_named(project: Project, what: str) -> None:
    text, old, new, name = EDITS[what]
    assert name in differing(project, text, old, new)


@pytest.mark.parametrize("call", ["near(x)", "aq_beside.near(x)"])
def test_an_edit_of_what_lies_beside_is_seen(project: Project, call: str) -> None:
    assert differing(project, TASK + call, "1", "2", BESIDE) == ["aq_beside.far"]


def test_an_edit_of_a_constant_that_is_imported_is_seen(project: Project) -> None:
    beside = "BESIDE = EDIT\n"
    text = "from aq_beside import BESIDE as FACTOR\n" + TASK + "x * FACTOR + aq_beside.BESIDE\n"
    assert differing(project, text, "1", "2", beside) == ["aq_beside.BESIDE", "aq_job.FACTOR"]


def test_an_edit_of_a_module_that_the_task_imports_when_it_runs_is_seen(project: Project) -> None:
    text = "def task(x):\n    import aq_beside\n    return aq_beside.far(x)\n"
    assert "import aq_beside" in differing(project, text, "1", "2", BESIDE)


NOT_CODE = {
    "a comment": (TASK + "x  # EDIT\n", "one", "two"),
    "lines between": ("EDIT\n" + TASK + "x\n", "", "\n\n\n"),
    "a function that it does not use": ("def other():\n    return EDIT\n" + TASK + "x\n", "1", "2"),
    "a constant that it does not use": ("OTHER = EDIT\n" + TASK + "x\n", "1", "2"),
    "what the process computes": ("STARTED = EDIT\n" + TASK + "STARTED\n", "time.time()", "time.time()"),
    "a computed default": ("def task(x, now=EDIT):\n    return now\n", "time.time_ns()", "time.time_ns()"),
    "what depends on the machine": (
        "DEVICE = 'cpu'\nif EDIT:\n    DEVICE = 'cuda'\n" + TASK + "DEVICE\n",
        "True",
        "False",
    ),
    "what a condition chooses": ("DEVICE = 'cuda' if EDIT else 'cpu'\n" + TASK + "DEVICE\n", "time.time()", "0.0"),
    "what a function sets": (
        "COUNT = 0\ndef count():\n    global COUNT\n    COUNT += 1\n" + "count()\n" * 2 + TASK + "COUNT\nEDIT\n",
        "",
        "count()",
    ),
    "what is filled later": ("SEEN = []\n" + TASK + "SEEN\nSEEN.append(EDIT)\n", "1", "2"),
    "the content of an object": ("LOCK = [object(), EDIT]\n" + TASK + "LOCK\n", "1", "2"),
    "an installed package": ("from msgpack import EDIT as f\n" + TASK + "f(x)\n", "packb", "unpackb"),
}


@pytest.mark.parametrize("what", NOT_CODE)
def test_what_nobody_edited_makes_no_difference(project: Project, what: str) -> None:
    assert differing(project, *NOT_CODE[what]) == []


SCRIPT = """
    import time
    from actorq.code.fingerprint import FINGERPRINTS
    NAMES = {"a", "b", "c", "d"}
    KINDS = frozenset({"a", "b", "c", "d"})
    STARTED = time.time()
    def helper(x, names=("a",)):
        return x in {"a", "b", "c", "d"} or x in NAMES or x in KINDS or STARTED
    def task(x):
        return helper(x)
    print(FINGERPRINTS.of(task).text)
"""


def test_it_is_the_same_in_every_process_and_under_every_name(project: Project) -> None:
    project.write(aq_job=SCRIPT)
    path = os.pathsep.join((str(ROOT), str(project.folder)))
    told = set()
    for seed, command in (("1", ["aq_job.py"]), ("2", ["-m", "aq_job"]), ("3", ["-c", "import aq_job"])):
        env = {**os.environ, "PYTHONPATH": path, "PYTHONHASHSEED": seed}
        done = subprocess.run(
            [sys.executable, *command], cwd=project.folder, env=env, capture_output=True, text=True, check=True
        )
        told.add(done.stdout.strip())
    assert len(told) == 1
    assert is_comparable(told.pop())


def test_code_of_another_python_cannot_be_compared() -> None:
    assert not is_comparable("cpython-399-0:00")
    assert not is_comparable("")


def test_what_was_changed_while_it_was_imported_has_none() -> None:
    found = FINGERPRINTS.of(fingerprint_of)  # of this module, whose assertions pytest has rewritten
    assert (found.text, found.parts) == ("", {})
    assert "pytest" in found.unknown
    assert __name__ in found.unknown


def test_it_is_looked_for_again_when_a_module_was_reloaded(project: Project) -> None:
    module = project.load(aq_job=BEFORE + TASK + "near(x)\n", aq_beside=BESIDE.replace("EDIT", "1"))
    fingerprints = Fingerprints()
    before = fingerprints.of(module.task)
    project.write(aq_beside=BESIDE.replace("EDIT", "2"))
    assert fingerprints.of(module.task) is before  # what is on disk is not what runs
    importlib.reload(sys.modules["aq_beside"])
    importlib.reload(module)
    assert fingerprints.of(module.task).digest != before.digest


def test_no_function_is_kept_alive(project: Project) -> None:
    fingerprints = Fingerprints()
    namespace: dict[str, Any] = {"__name__": "aq_gone"}
    exec("def gone(): return 1", namespace)
    fingerprints.of(namespace.pop("gone"))
    assert list(fingerprints._known) == []


@pytest.mark.parametrize("told", [b"", b"\xc1", b"\x90", b"\x81\x01\x02", b"\x81\xc4\x01a\x05", b"\x81\xa1a\xc0"])
def test_what_a_replica_tells_may_be_anything(told: bytes) -> None:
    tell("tests.support.code.tasks.double", tasks.double.function, told)
    tell("tests.support.code.tasks.double", None, msgpack.packb({"tests.support.code.tasks.double": b"other"}))


def test_a_difference_is_told_once(monkeypatch: pytest.MonkeyPatch) -> None:
    from actorq.code import difference

    monkeypatch.setattr(difference, "_told", set())
    function: FunctionType = tasks.double.function
    name = "tests.support.code.tasks.double"
    own = FINGERPRINTS.of(function).parts
    tell(name, function, msgpack.packb({**own, "installed.there": b"1"}))
    with pytest.warns(
        RuntimeWarning,
        match=r"other code of tests.support.code.tasks.double than .*: tests.support.code.tasks.double differs",
    ):
        tell(name, function, msgpack.packb(dict.fromkeys(own, b"other")))
    tell(name, function, msgpack.packb(dict.fromkeys(own, b"and another")))
