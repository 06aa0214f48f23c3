"""How far maps are, shown while they run: a bar on a terminal or in a notebook, a line now and then elsewhere.

The one idea: one thread paints the bars of all maps of the program, ten times a second, from their counters. So maps
that run at once do not write over each other, and a bar moves, or says why it does not, while the consumer works.
"""

from __future__ import annotations

import html
import os
import shutil
import sys
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from actorq.base.amounts import rate, whole_span
from actorq.maps.pace import Pace

if TYPE_CHECKING:
    from actorq.maps.pump import Pump

#: pause between two paintings, seconds, and between two lines where there is no terminal
_PAINT_SECONDS, _LINE_SECONDS = 0.1, 10.0
#: characters of a bar, and of the name of a task
_WIDTH, _NAME = 20, 24
#: eighths of a block
_EIGHTHS = "▏▎▍▌▋▊▉█"


def bar_of(name: str, pump: Pump, wanted: bool | None) -> Bar | None:
    """Shows a map, whose task is called so; None when nobody wants to see it."""
    return Bar(name, pump) if is_wanted(wanted) else None


def is_wanted(asked: bool | None) -> bool:
    """Whether anybody wants to see a line: as `progress=` says, or, for None, where there is a terminal for it."""
    return bool(os.environ.get("ACTORQ_PROGRESS")) and sys.stderr.isatty() if asked is None else asked


class Bar:
    """Of one map, until it is closed.

    Args:
        name: of the task.
        pump: of the map.
    """

    def __init__(self, name: str, pump: Pump) -> None:
        self.name = name if len(name) <= _NAME else f"{name[: _NAME - 1]}…"
        self._pump = pump
        self._counters = pump.ledger.counters
        self._pace = Pace()
        self._started = time.monotonic()
        self._painter = _painter()
        self._painter.add(self)

    def close(self) -> None:
        """The map is over: its last line stays."""
        self._painter.remove(self)

    def text(self, width: int, *, blocks: bool) -> str:
        """What there is to say, as far as it fits: the bar shrinks, and goes, before anything else does.

        Args:
            width: characters there are.
            blocks: False draws the bar of `#`, where a terminal has no better.
        """
        total, done = self._counters.total, self._done
        if total is None:
            return f"{self.name}  {', '.join([f'{done:,}', *self._more()])}"[:width]
        share = done / total if total else 1.0
        parts = (f"{self.name} {100 * share:3.0f} % ", f" {', '.join([f'{done:,}/{total:,}', *self._more()])}")
        room = min(_WIDTH, width - sum(map(len, parts)) - 2)
        drawn = f"|{drawn_bar(share, room, blocks=blocks)}|" if room >= 4 else ""
        return f"{parts[0]}{drawn}{parts[1]}"[:width]

    def last(self) -> str:
        """What stays of it."""
        total, seconds = self._counters.total, time.monotonic() - self._started
        parts = [f"{self._done:,}" if total is None else f"{self._done:,}/{total:,}"]
        if self._counters.failed:
            parts.append(f"{self._counters.failed:,} failed")
        parts += [f"{seconds:,.1f} s", shown_rate(self._done / seconds if seconds else 0.0)]
        return f"{self.name}: {', '.join(parts)}"

    def html(self) -> str:
        """For a notebook."""
        total = self._counters.total
        bar = "<progress></progress>" if total is None else f'<progress max="{total}" value="{self._done}"></progress>'
        of = f"{self._done:,}" if total is None else f"{self._done:,}/{total:,}"
        return f"<div><code>{html.escape(self.name)}</code> {bar} {html.escape(', '.join([of, *self._more()]))}</div>"

    @property
    def _done(self) -> int:
        return self._counters.succeeded + self._counters.failed

    def _more(self) -> list[str]:
        pace, total = self._pace.rate(self._done), self._counters.total
        told = [f"{self._counters.failed:,} failed"] if self._counters.failed else []
        told.append(shown_rate(pace))
        if total is not None and pace > 0 and self._done < total:
            told.append(f"{whole_span((total - self._done) / pace)} left")
        told.append(f"{self._pump.busy} busy")
        if self._pump.ledger.held_back:
            told.append("held back: outputs wait to be taken")
        return told


def drawn_bar(share: float, width: int, *, blocks: bool) -> str:
    """A bar of `width` characters, of which a share is full."""
    if not blocks:
        return ("#" * int(share * width)).ljust(width, ".")
    eighths = int(share * width * 8)
    part = _EIGHTHS[eighths % 8 - 1] if eighths % 8 else ""
    return (_EIGHTHS[-1] * (eighths // 8) + part).ljust(width)


def shown_rate(value: float) -> str:
    """Inputs a second, or, where that would be next to nothing, a minute."""
    return f"{rate(60 * value)}/min" if 0 < value < 0.1 else f"{rate(value)}/s"


class _Painter:
    """Paints all bars of this process below each other. Its thread lives while there are any."""

    def __init__(self) -> None:
        self.pid = os.getpid()
        self._lock = threading.RLock()  # a map that is dropped may be closed by any thread, also by the one that paints
        self._bars: list[Bar] = []
        self._drawn = 0  # lines that stand on the terminal
        self._wake = threading.Event()
        self._thread: threading.Thread | None = None
        self._cells: dict[Bar, Callable[[str], None]] = {}  # of a notebook
        self._said: dict[Bar, float] = {}  # when a line was written of it, where there is no terminal

    def add(self, bar: Bar) -> None:
        with self._lock:
            self._bars.append(bar)
            self._said[bar] = time.monotonic()
            if (display := _notebook()) is not None:
                self._cells[bar] = display(bar.html())
            if self._thread is None:
                self._wake.clear()
                self._thread = threading.Thread(target=self._paint, name="actorq-progress", daemon=True)
                self._thread.start()

    def remove(self, bar: Bar) -> None:
        """Paints it for the last time."""
        if os.getpid() != self.pid:  # a fork, in which nobody paints
            return
        with self._lock:
            if bar not in self._bars:
                return
            self._bars.remove(bar)
            del self._said[bar]
            if cell := self._cells.pop(bar, None):
                cell(bar.html())
            else:
                self._write(bar.last())
            if self._bars:
                return
            thread, self._thread = self._thread, None
        self._wake.set()
        if thread is not None and thread is not threading.current_thread():
            thread.join()

    def _paint(self) -> None:
        while not self._wake.wait(_PAINT_SECONDS):
            with self._lock:
                if not self._bars or self._thread is not threading.current_thread():
                    return
                if self._cells:
                    for bar, cell in list(self._cells.items()):
                        cell(bar.html())
                elif sys.stderr.isatty():
                    self._write(None)
                else:
                    self._say()

    def _write(self, line: str | None) -> None:
        """Draws the bars anew, below a line that stays."""
        if not sys.stderr.isatty():
            if line is not None:
                print(line, file=sys.stderr, flush=True)
            return
        width = shutil.get_terminal_size().columns - 1
        blocks = "utf" in (sys.stderr.encoding or "").lower()
        rows = [bar.text(width, blocks=blocks) for bar in self._bars]
        # the cursor stays behind the last bar: what the program prints begins there, and is not painted over
        above = f"\x1b[{self._drawn - 1}A" if self._drawn > 1 else ""
        stays = "" if line is None else f"{line[:width]}\n"
        self._drawn = len(rows)
        sys.stderr.write(f"\r{above}\x1b[J{stays}" + "\n".join(rows))
        sys.stderr.flush()

    def _say(self) -> None:
        """A line of each bar now and then."""
        now = time.monotonic()
        for bar, said in list(self._said.items()):
            if now - said >= _LINE_SECONDS:
                self._said[bar] = now
                print(bar.text(200, blocks=False), file=sys.stderr, flush=True)


_current: _Painter | None = None


def _painter() -> _Painter:
    """That of this process: a fork has another."""
    global _current
    if _current is None or _current.pid != os.getpid():
        _current = _Painter()
    return _current


def _notebook() -> Callable[[str], Callable[[str], None]] | None:
    """Shows HTML in a notebook, and returns what replaces it there; None elsewhere."""
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    if type(shell).__name__ != "ZMQInteractiveShell":
        return None
    from IPython.display import HTML, display

    def show(text: str) -> Callable[[str], None]:
        cell = display(HTML(text), display_id=True)
        return lambda newer: cell.update(HTML(newer))

    return show
