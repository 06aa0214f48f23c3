"""What a person sees of maps that run: bars that fit, that say why nothing moves, and do not garble each other."""

from __future__ import annotations

import io
import operator
import re
import sys
import threading
import types
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, cast

import pytest

import actorq.testing
from actorq import ActorEnvironment
from actorq.maps import progress
from actorq.maps.pace import Pace
from actorq.maps.progress import Bar, drawn_bar, shown_rate
from actorq.maps.pump import Pump
from actorq.wire.lease import Counters
from tests.conftest import eventually

env = ActorEnvironment("told")


@env.task
def tripled(x: int) -> int:
    return 3 * x


@dataclass
class Books:
    counters: Counters
    held_back: bool = False


@dataclass
class Map:
    """What a bar looks at."""

    ledger: Books = field(default_factory=lambda: Books(Counters(total=200, succeeded=45, failed=5)))
    busy: int = 4


class Terminal(io.StringIO):
    encoding = "utf-8"

    def isatty(self) -> bool:
        return True


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Iterator[Terminal]:
    shown = Terminal()
    # pytest has another stderr for each phase of a test, so the module's own is replaced
    monkeypatch.setattr(progress, "sys", types.SimpleNamespace(stderr=shown, modules=sys.modules))
    monkeypatch.setenv("COLUMNS", "80")
    yield shown
    assert eventually(lambda: not any(thread.name == "actorq-progress" for thread in threading.enumerate()))


def bar(name: str = "task", of: Map | None = None) -> Bar:
    return Bar(name, cast(Pump, of or Map()))


def screen(written: str) -> list[str]:
    """The lines that a terminal shows of what was written to it."""
    lines, row = [""], 0
    for part in re.findall(r"\x1b\[\d*[AJ]|\r|\n|[^\x1b\r\n]+", written):
        if part == "\n":
            row += 1
            lines += [""] * (row - len(lines) + 1)
        elif part == "\r":
            pass  # all that follows is a whole line
        elif part.endswith("A"):
            row -= int(part[2:-1])
        elif part.endswith("J"):
            lines = [*lines[:row], ""]
        else:
            lines[row] = part
    return lines


def test_a_bar_says_what_is_done_and_left_how_fast_and_by_how_many(
    terminal: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Pace, "rate", lambda _self, _done: 25.0)
    shown = bar()
    assert shown.text(100, blocks=False) == (
        "task  25 % |#####...............| 50/200, 5 failed, 25/s, 6 s left, 4 busy"
    )
    shown.close()
    unknown = bar(of=Map(Books(Counters(succeeded=50))))
    assert unknown.text(100, blocks=True) == "task  50, 25/s, 4 busy"
    unknown.close()


def test_a_bar_says_that_outputs_wait_to_be_taken(terminal: Terminal) -> None:
    held = bar(of=Map(Books(Counters(total=9), held_back=True)))
    assert held.text(200, blocks=True).endswith("held back: outputs wait to be taken")
    held.close()


@pytest.mark.parametrize("width", range(1, 120))
def test_a_bar_fits(terminal: Terminal, width: int) -> None:
    shown = bar("a_task_with_a_name_that_has_no_end_at_all")
    assert len(shown.text(width, blocks=True)) <= width
    shown.close()


def test_maps_at_once_have_a_line_each_and_what_ends_stays_above(terminal: Terminal) -> None:
    first, second = bar("first"), bar("second")
    assert eventually(lambda: len(screen(terminal.getvalue())) == 2)
    assert [line.split()[0] for line in screen(terminal.getvalue())] == ["first", "second"]
    first.close()
    lines = screen(terminal.getvalue())
    assert lines[0].startswith("first: 50/200, 5 failed, ")
    assert lines[1].startswith("second  25 %")
    assert len(lines) == 2
    second.close()
    lines = screen(terminal.getvalue())
    assert [line.partition(":")[0] for line in lines] == ["first", "second", ""]


def test_a_bar_moves_while_nobody_takes_outputs(terminal: Terminal) -> None:
    of = Map()
    shown = bar(of=of)
    assert eventually(lambda: "50/200" in screen(terminal.getvalue())[-1])
    of.ledger.counters.succeeded = 195
    assert eventually(lambda: "200/200" in screen(terminal.getvalue())[-1])
    shown.close()


def test_without_a_terminal_there_is_a_line_now_and_then(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "_LINE_SECONDS", 0.0)
    shown = bar()
    assert eventually(lambda: "task  25 %" in capsys.readouterr().err)
    shown.close()
    last = capsys.readouterr().err
    assert last.splitlines()[-1].startswith("task: 50/200, 5 failed")
    assert "\x1b" not in last


def test_a_notebook_shows_a_live_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []

    class ZMQInteractiveShell:
        pass

    class Cell:
        def update(self, shown: str) -> None:
            seen.append(shown)

    def display(shown: str, *, display_id: bool) -> Cell:
        assert display_id
        seen.append(shown)
        return Cell()

    package = cast(Any, types.ModuleType("IPython"))
    package.get_ipython = ZMQInteractiveShell
    package.display = cast(Any, types.ModuleType("IPython.display"))
    package.display.HTML, package.display.display = str, display
    monkeypatch.setitem(sys.modules, "IPython", package)
    monkeypatch.setitem(sys.modules, "IPython.display", package.display)
    shown = bar("<b>")
    assert eventually(lambda: len(seen) > 2)
    shown.close()
    assert all('<code>&lt;b&gt;</code> <progress max="200" value="50"></progress> 50/200, 5 failed' in s for s in seen)


def test_a_bar_is_drawn_in_eighths_of_a_block() -> None:
    assert [drawn_bar(share / 16, 2, blocks=True) for share in range(17)] == [
        *("  ", "▏ ", "▎ ", "▍ ", "▌ ", "▋ ", "▊ ", "▉ "),
        *("█ ", "█▏", "█▎", "█▍", "█▌", "█▋", "█▊", "█▉", "██"),
    ]
    assert drawn_bar(0.5, 4, blocks=False) == "##.."


def test_slow_rates_are_said_a_minute() -> None:
    rates = [shown_rate(rate) for rate in (0, 0.01, 0.3, 5, 81_234.0)]
    assert rates == [
        "0/s",
        "0.6/min",
        "0.3/s",
        "5/s",
        "81,234/s",
    ]


def test_a_map_tells_how_many_inputs_it_has_and_is_no_list() -> None:
    with actorq.testing.inline():
        handle = tripled.map([1, 2, 3])
        assert operator.length_hint(handle) == 3
        assert not hasattr(handle, "__len__")
        assert list(handle) == [3, 6, 9]
        unknown = tripled.map(iter([1]))
        assert operator.length_hint(unknown, 7) == 7
        assert list(unknown) == [3]
