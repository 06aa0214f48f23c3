"""Marks of change: a dict, class or cell that differs from what it was always has another mark; reading leaves it."""

from __future__ import annotations

import collections
import functools
import sys
import types
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actorq.isolation.reset import marks
from actorq.isolation.reset.globals import GlobalState
from actorq.isolation.reset.marks import Marks

_KEYS = st.sampled_from(["a", "b", "c", 1, (2,)])
_VALUES = st.sampled_from([0, 0.0, False, 1, 1.0, True, "x", None])
_CHANGES = st.one_of(
    st.tuples(st.just("set"), _KEYS, _VALUES),
    st.tuples(st.just("pop"), _KEYS, st.none()),
    st.tuples(st.just("setdefault"), _KEYS, _VALUES),
    st.tuples(st.just("update"), _KEYS, _VALUES),
    st.tuples(st.just("merge"), _KEYS, _VALUES),
    st.tuples(st.just("popitem"), st.none(), st.none()),
    st.tuples(st.just("clear"), st.none(), st.none()),
)

pytestmark = pytest.mark.skipif(not marks.AVAILABLE, reason="this Python has no versions of dicts")


def change(table: dict[Any, Any], how: str, key: Any, value: Any) -> None:
    match how:
        case "set":
            table[key] = value
        case "pop":
            table.pop(key, None)
        case "setdefault":
            table.setdefault(key, value)
        case "update":
            table.update({key: value})
        case "merge":
            table |= {key: value}
        case "popitem":
            if table:
                table.popitem()
        case "clear":
            table.clear()


def identical(now: dict[Any, Any], before: dict[Any, Any]) -> bool:
    return [(id(k), id(v)) for k, v in now.items()] == [(id(k), id(v)) for k, v in before.items()]


@pytest.mark.parametrize("kind", [dict, functools.partial(collections.defaultdict, int), collections.OrderedDict])
@given(initial=st.dictionaries(_KEYS, _VALUES), changes=st.lists(_CHANGES, max_size=4))
def test_a_dict_that_is_not_what_it_was_has_another_mark(
    kind: Callable[[Any], dict[Any, Any]], initial: dict[Any, Any], changes: list[tuple[str, Any, Any]]
) -> None:
    table, watched = kind(initial), Marks()
    before = dict(table)
    watched.add(table, "owner")
    watched.take()
    for step in changes:
        change(table, *step)
    if not identical(dict(table), before):
        assert watched.changed
        assert watched.which() == ["owner"]


def test_reading_changes_no_mark() -> None:
    table: dict[str, Any] = {"a": [1]}
    watched = Marks()
    watched.add(table, "owner")
    watched.take()
    table["a"].append(2)
    _ = table.get("b"), list(table.items()), table == {}, table | {"b": 1}, len(table)
    assert not watched.changed


class Holder:
    value = 0


def test_code_that_has_run_often_changes_marks_too() -> None:
    holder, space, cell = Holder(), types.ModuleType("space"), types.CellType(0)
    holder.value = 0
    watched = Marks()
    targets: list[Any] = [vars(space), cell]
    if marks.INSTANCES:
        targets.append(vars(holder))
    for target in targets:
        watched.add(target, target)
    for value in range(1, 1000):
        watched.take()
        holder.value = value
        space.value = value  # type: ignore[attr-defined]  # any module takes attributes
        cell.cell_contents = value
        assert watched.which() == targets


_SOURCE = """
from collections import OrderedDict
number, names, table = 1, ["a"], {"a": {"b": 1}}
order = OrderedDict(a=1, b=2)
class Own:
    level = 1
    def method(self): return 1
own = Own()
def make():
    total = 0
    def bump():
        nonlocal total
        total += 1
        return total
    return bump
bump = make()
def default(x=[1], *, y=1): return x, y
class Text(str): pass
"""


@pytest.fixture
def module(monkeypatch: pytest.MonkeyPatch) -> types.ModuleType:
    module = types.ModuleType("marked")
    exec(_SOURCE, vars(module))
    monkeypatch.setitem(sys.modules, "marked", module)
    return module


@pytest.mark.parametrize(
    ("available", "instances"), [(True, True), (True, False), (False, False)], ids=["marks", "but instances", "copies"]
)
@pytest.mark.parametrize(
    "spoil",
    [
        "number = 2",
        "new = 1",
        "del number",
        "names.append('b')",
        "names[:] = []",
        "table['a']['b'] = 2",
        "table['c'] = table.pop('a')",
        "Own.level = 2",
        "del Own.method",
        "Own.method = lambda self: 2",
        "own.extra = 1",
        "bump()",
        "default()[0].append(2)",
        "order['c'] = 1",
    ],
)
def test_a_module_is_put_back_with_marks_and_without(
    spoil: str, available: bool, instances: bool, module: types.ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    if instances and not marks.INSTANCES:
        pytest.skip("this Python changes the attributes of instances without a word")
    monkeypatch.setattr(marks, "AVAILABLE", available)
    monkeypatch.setattr(marks, "INSTANCES", instances)
    state = GlobalState(["marked"], ())
    before = seen(module)
    exec(spoil, vars(module))
    assert seen(module) != before
    state.restore()
    assert seen(module) == before
    exec(spoil, vars(module))
    state.restore()
    assert seen(module) == before


@pytest.mark.parametrize(
    "spoil", ["number = True", "table['a']['b'] = 1.0", "order.move_to_end('a')", "names[0] = Text('a')"]
)
def test_what_is_equal_and_yet_another_is_put_back_at_the_end_of_the_lease(
    spoil: str, module: types.ModuleType
) -> None:
    state = GlobalState(["marked"], ())
    before = seen(module)
    exec(spoil, vars(module))
    assert seen(module) != before
    state.restore()
    state.restore_exactly()
    assert seen(module) == before


def test_a_function_to_which_something_was_assigned_is_put_back(module: types.ModuleType) -> None:
    state = GlobalState(["marked"], ())
    module.default.__defaults__ = ([5],)
    module.default.__kwdefaults__ = {"y": 5}
    state.restore_functions([module.default])
    assert module.default() == ([1], 1)


def test_a_global_that_is_rebound_leaves_the_order_of_the_others(module: types.ModuleType) -> None:
    state = GlobalState(["marked"], ())
    names = list(vars(module))
    exec("number = 2; later = 3; del names", vars(module))
    state.restore()
    assert list(vars(module)) == names


def seen(module: types.ModuleType) -> str:
    """All that can be told of it, types and order included."""
    space = vars(module)
    total = space["bump"].__closure__[0].cell_contents
    members = sorted((k, str(v)) for k, v in vars(space["Own"]).items() if not k.startswith("__"))
    plain = {key: space.get(key, "gone") for key in ("number", "names", "table", "order", "new")}
    kinds = [type(name).__name__ for name in space["names"]]
    return repr((plain, kinds, total, members, vars(space["own"]), space["default"].__defaults__))
