"""What counts as a patch of a task's, and what does not."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from actorq.isolation.reset import leaks
from actorq.isolation.reset.leaks import Leaks

Report = tuple[str, str, Any]

CODE = """
def fetch(): return 1
class Client:
    def get(self): return 2
"""


def module() -> ModuleType:
    made = ModuleType("third_party")
    exec(CODE, vars(made))
    return made


@pytest.fixture
def library(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """A module that is there before anything runs; nothing else is looked at."""
    monkeypatch.setattr(leaks, "_baseline", {})
    monkeypatch.setattr(leaks, "_LOOK_SECONDS", 10.0)  # every module after every lease
    made = module()
    monkeypatch.setitem(sys.modules, made.__name__, made)
    return made


@pytest.fixture
def reports() -> list[Report]:
    return []


@pytest.fixture
def watched(library: ModuleType, reports: list[Report]) -> Leaks:
    others = [name for name in sys.modules if name != library.__name__]
    leaks.take_baseline()
    return Leaks(lambda *report: reports.append(report), others)


def test_a_function_that_a_task_replaces_is_told_once(
    watched: Leaks, library: ModuleType, reports: list[Report]
) -> None:
    watched.after_lease("good")
    library.fetch = lambda: 3  # type: ignore[attr-defined]  # on purpose
    for _ in range(3):
        watched.after_lease("bad")
    assert [(kind, what) for _, kind, what in reports] == [("patched module", "third_party.fetch")]
    assert "bad" in reports[0][0]


def test_what_a_start_hook_replaces_is_no_patch_of_a_task(library: ModuleType, reports: list[Report]) -> None:
    leaks.take_baseline()
    library.fetch = lambda: 3  # type: ignore[attr-defined]  # as a hook does
    leaks.take_baseline()
    others = [name for name in sys.modules if name != library.__name__]
    watched = Leaks(lambda *report: reports.append(report), others)
    watched.after_lease("good")
    assert not reports


def test_a_method_that_a_task_replaces_is_told(watched: Leaks, library: ModuleType, reports: list[Report]) -> None:
    library.Client.get = lambda self: 3
    watched.after_lease("bad")
    assert [what for _, _, what in reports] == ["third_party.Client.get"]


def test_a_module_that_is_imported_anew_is_not_patched(
    watched: Leaks, library: ModuleType, reports: list[Report], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, library.__name__, another := module())
    for _ in range(3):
        watched.after_lease("task")
    assert not reports
    another.fetch = lambda: 3  # type: ignore[attr-defined]  # on purpose
    watched.after_lease("task")
    assert [what for _, _, what in reports] == ["third_party.fetch"]


PATCHING = """
import third_party
def fetch(): return 3
def patch(): third_party.Client.get = lambda self: 4
third_party.fetch = fetch
"""


@pytest.fixture
def patching(library: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """An installed module that replaces a function of another one when it is imported."""
    folder = tmp_path / "site-packages"
    folder.mkdir()
    (folder / "patching_on_import.py").write_text(PATCHING)
    monkeypatch.syspath_prepend(folder)
    yield importlib.import_module("patching_on_import")
    sys.modules.pop("patching_on_import")


def test_what_the_import_of_an_installed_module_replaces_is_no_patch_of_a_task(
    watched: Leaks, reports: list[Report], patching: ModuleType
) -> None:
    watched.after_lease("importing")
    assert not reports


def test_what_a_function_of_an_installed_module_replaces_when_a_task_calls_it_is_told(
    watched: Leaks, reports: list[Report], patching: ModuleType
) -> None:
    patching.patch()
    watched.after_lease("calling")
    assert [what for _, _, what in reports] == ["third_party.Client.get"]


def test_what_a_task_deletes_is_told(watched: Leaks, library: ModuleType, reports: list[Report]) -> None:
    del library.fetch, library.Client.get
    watched.after_lease("bad")
    assert sorted(what for _, _, what in reports) == ["third_party.Client.get", "third_party.fetch"]


def test_a_function_of_numpy_that_a_task_replaces_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    reports: list[Report] = []
    monkeypatch.setattr(leaks, "_baseline", {})
    monkeypatch.setattr(leaks, "_LOOK_SECONDS", 10.0)
    watched = Leaks(lambda *report: reports.append(report), [name for name in sys.modules if name != "numpy"])
    for name in ("add", "concatenate"):
        monkeypatch.setattr(np, name, None)
    watched.after_lease("bad")
    assert sorted(what for _, _, what in reports) == ["numpy.add", "numpy.concatenate"]
