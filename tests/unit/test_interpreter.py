"""Settings of the interpreter that cannot be put back are named, and those of others are left alone."""

from __future__ import annotations

import logging
import socket
import sys
from types import ModuleType
from typing import Any

import pytest
import structlog

from actorq.isolation.reset import interpreter
from actorq.isolation.reset.interpreter import Interpreter


def test_a_setting_that_cannot_be_put_back_is_named_once(monkeypatch: pytest.MonkeyPatch) -> None:
    values = [0]

    def refuse(value: int) -> None:
        raise PermissionError(value)

    setting = interpreter._Setting("os.nice", lambda: values[0], refuse)
    monkeypatch.setattr(interpreter, "_SETTINGS", [setting])
    state = Interpreter()
    assert state.restore() == []
    values[0] = 5
    assert [state.restore() for _ in range(3)] == [["os.nice"], [], []]


class _Finder:
    """Finds no module."""

    @staticmethod
    def find_spec(*_: object) -> None:
        return None


def test_the_finder_that_an_installed_package_added_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "meta_path", list(sys.meta_path))
    package = ModuleType("package_with_finder")
    package.__file__ = f"{sys.prefix}/lib/site-packages/package_with_finder.py"
    monkeypatch.setitem(sys.modules, package.__name__, package)
    state = Interpreter()
    theirs = type("Finder", (_Finder,), {"__module__": package.__name__})
    finders: list[Any] = sys.meta_path
    finders[:0] = [theirs, _Finder]
    state.restore()
    assert theirs in finders
    assert _Finder not in finders


def test_handlers_that_a_task_gives_the_root_logger_go_and_those_of_our_own_events_stay(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    root, ours = logging.getLogger(), logging.getLogger("actorq")
    monkeypatch.setattr(root, "handlers", list(root.handlers))
    monkeypatch.setattr(ours, "handlers", list(ours.handlers))
    state = Interpreter()
    added = logging.NullHandler()
    added.setFormatter(structlog.stdlib.ProcessorFormatter(structlog.processors.JSONRenderer()))
    root.addHandler(added)
    ours.addHandler(added)
    state.restore()
    assert added not in root.handlers
    assert added in ours.handlers


def test_what_a_load_sets_stays() -> None:
    state = Interpreter()
    before = sys.getswitchinterval(), socket.getdefaulttimeout()
    try:
        with state.keeping():
            sys.setswitchinterval(0.25)
        socket.setdefaulttimeout(7)
        state.restore()
        assert (sys.getswitchinterval(), socket.getdefaulttimeout()) == (0.25, before[1])
    finally:
        sys.setswitchinterval(before[0])
        socket.setdefaulttimeout(before[1])
