"""`actorq watch`: the view itself, and what its keys do.

The one idea: this thread only draws and answers keys. The server is asked by another (`reading.py`), and each key that
changes something asks it in a thread of its own, so a server that hangs freezes nothing.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from functools import partial
from typing import ClassVar

from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.message import Message
from textual.widgets import Footer, Static

from actorq.base.masking import masked, printable
from actorq.errors import ActorqError
from actorq.monitor.failures import FailureView
from actorq.monitor.model import EnvironmentView
from actorq.terminal import rows as tables
from actorq.terminal import steering
from actorq.terminal.header import HELP, nothing_yet, server_line, trouble_line
from actorq.terminal.history import Births, Rates
from actorq.terminal.layout import heights
from actorq.terminal.panel import Panel
from actorq.terminal.picture import Picture, Scope
from actorq.terminal.reading import LOOK_SECONDS, Reading
from actorq.terminal.screens import Ask, Choose, Told
from actorq.terminal.words import Span
from actorq.terminal.work import WORK, Work, work_rows

#: how often the age of what is shown is looked at, seconds
_CLOCK_SECONDS = 0.5
#: lines beside the tables: the server, the selected row, the keys
_OTHER_LINES = 3
_PANELS = ("environments", "work", "replicas", "failures")
_STYLES = {
    "": "",
    "dim": "$text-muted",
    "good": "$text-success",
    "warn": "bold $text-warning",
    "bad": "bold $text-error",
}


class Watch(App[None]):
    """The live view of one server.

    Args:
        url: its address.
        environment: the one that is shown, "" for all.
        pause: seconds between two looks.
    """

    TITLE = "actorq"
    ENABLE_COMMAND_PALETTE = False
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("t", "traceback", "traceback"),
        Binding("f", "failures_of", "its failures"),
        Binding("c", "cancel", "cancel"),
        Binding("r", "retry", "retry"),
        Binding("p", "pause", "pause"),
        Binding("e,slash", "environment", "environment", key_display="e"),
        Binding("question_mark", "help", "help", key_display="?"),
        Binding("q,ctrl+c", "quit", "quit", key_display="q"),
    ]
    CSS = """
    Screen { overflow: hidden; }
    #server, #trouble, #detail { height: 1; padding: 0 1; text-wrap: nowrap; text-overflow: ellipsis; }
    #server { background: $surface; }
    #trouble { background: $panel; display: none; }
    #detail { color: $text-muted; background: $surface; }
    Footer { background: $panel; }
    Watch:nocolor .panel--bad, Watch:nocolor .panel--warn { color: $text; text-style: bold; }
    """

    class Found(Message):
        """A look was answered."""

        def __init__(self, picture: Picture) -> None:
            super().__init__()
            self.picture = picture

    class Away(Message):
        """A look was not answered."""

        def __init__(self, reason: str) -> None:
            super().__init__()
            self.reason = reason

    class Done(Message):
        """What a key has asked for is done, or is not."""

        def __init__(self, told: str, *, failed: bool) -> None:
            super().__init__()
            self.told, self.failed = told, failed

    def __init__(self, url: str, environment: str = "", pause: float = LOOK_SECONDS) -> None:
        super().__init__()
        self._url, self._address = url, printable(masked(url))
        self.scope = Scope(environment)
        self.picture: Picture | None = None
        self.away = ""
        self.rates, self._births = Rates(), Births()
        self._most_lines = [0] * len(_PANELS)
        columns = (tables.ENVIRONMENTS, WORK, tables.REPLICAS, tables.FAILURES)
        self.panels = {name: Panel(these, name) for name, these in zip(_PANELS, columns, strict=True)}
        self._server, self._trouble, self._detail = (
            Static(id=name, markup=False) for name in ("server", "trouble", "detail")
        )
        found, away = (lambda p: self.post_message(self.Found(p))), (lambda r: self.post_message(self.Away(r)))
        self._reading = Reading(url, self.scope, found, away, pause)

    def compose(self) -> ComposeResult:
        yield self._server
        yield self._trouble
        yield from self.panels.values()
        yield self._detail
        yield Footer(compact=True, show_command_palette=False)

    def on_mount(self) -> None:
        self.panels["work"].focus()
        self._draw()
        self.set_interval(_CLOCK_SECONDS, self._tell_trouble)
        self.begin()

    def begin(self) -> None:
        """Begins to look."""
        self._reading.start()

    def on_unmount(self) -> None:
        self._reading.end()

    # -- what was seen -------------------------------------------------------------------------------------------------

    @property
    def _gone(self) -> bool:
        """Whether the view ends: what was on its way finds no screen any more."""
        return not self.screen_stack

    def on_watch_found(self, message: Found) -> None:
        if self._gone:
            return
        self.picture, self.away = message.picture, ""
        rates = {view.name: tables.total_rate(view) for view in message.picture.environments}
        self.rates.add(message.picture.taken, rates)
        self._draw()

    def on_watch_away(self, message: Away) -> None:
        self.away = message.reason
        if not self._gone:
            self._tell_trouble()

    def on_watch_done(self, message: Done) -> None:
        if self._gone:
            return
        told = printable(masked(message.told), lines=True)
        self.notify(told, severity="error" if message.failed else "information", markup=False)
        self._reading.look_now()

    def on_resize(self) -> None:
        self._most_lines = [0] * len(_PANELS)
        self.call_after_refresh(self._share_lines)

    def _draw(self) -> None:
        picture = self.picture
        panels = list(self.panels.values())
        if picture is None or not picture.environments:
            panels[0].show([], empty=nothing_yet(picture, self._address))
            for panel in panels[1:]:
                panel.show([])
        else:
            self._draw_tables(picture, *panels)
        known = [Span(self._address, "strong")]
        self._server.update(_content(known if picture is None else server_line(picture.server, self.scope)))
        self._tell_trouble()
        self._share_lines()

    def _draw_tables(self, picture: Picture, environments: Panel, work: Panel, replicas: Panel, failed: Panel) -> None:
        # what was read before a person chose something else is not what they want to see
        wanted = picture if picture.scope == self.scope else None
        environments.show(tables.environment_rows(picture, self.rates, time.monotonic()))
        if wanted is None:
            return
        maps, serving = work_rows(wanted, self._births), tables.replica_rows(wanted)
        work.show(maps, empty=("no map runs, and no run is kept",))
        nobody = ("no replica: actorq worker MODULE starts some",)
        replicas.show(serving, empty=nobody)
        only = f"only of {self.scope.map}, f shows all" if self.scope.map else ""
        failed.show(tables.failure_rows(wanted), empty=("none is kept",), note=only)

    def _share_lines(self) -> None:
        if self._gone:
            return
        panels = list(self.panels.values())
        room = self.size.height - _OTHER_LINES - (1 if self._trouble.display else 0)
        self._most_lines = [max(a, p.wanted_lines) for a, p in zip(self._most_lines, panels, strict=True)]
        for panel, lines in zip(panels, heights(self._most_lines, room), strict=True):
            if panel.styles.height is None or panel.styles.height.value != lines:
                panel.styles.height = lines

    def _tell_trouble(self) -> None:
        told = trouble_line(self.picture, self.away, self._address, time.monotonic())
        line = self._trouble
        if line.display != (told is not None):
            line.display = told is not None
            self._share_lines()
        if told is not None:
            line.update(_content([told]))

    def on_panel_moved(self) -> None:
        if self._gone:
            return
        panel = self.focused if isinstance(self.focused, Panel) else None
        if panel is not None:
            row = panel.selected
            self._detail.update(Content(printable(row.detail) if row else ""))

    # -- keys ----------------------------------------------------------------------------------------------------------

    def on_panel_chosen(self, message: Panel.Chosen) -> None:
        """Enter does what is nearest to the row."""
        name, row = message.panel.id, message.panel.selected
        if row is None:
            return
        if name == "failures":
            self.action_traceback()
        elif name == "work":
            self.action_failures_of()
        elif name == "environments" and isinstance(row.of, EnvironmentView):
            self._want(Scope("" if self.scope.environment == row.of.name else row.of.name))
        else:
            self.push_screen(Told(row.key[-1], tables.replica_text(row.of)))

    def action_traceback(self) -> None:
        row = self.panels["failures"].selected
        if row is None:
            self.notify("There is no failure to show.", markup=False)
        elif isinstance(row.of, FailureView):
            self.push_screen(Told("failure", "\n".join(tables.failure_text(row.of))))

    def action_failures_of(self) -> None:
        work = self._work()
        if self.scope.map or work is None:
            self._want(self.scope._replace(map=""))
        else:
            self._want(self.scope._replace(map=work.id))

    def action_environment(self) -> None:
        names = [view.name for view in self.picture.environments] if self.picture else []

        def chosen(name: str | None) -> None:
            if name is not None:
                self._want(Scope(name))

        self.push_screen(Choose(names), chosen)

    def action_cancel(self) -> None:
        work = self._work()
        if work is None or not work.live:
            self.notify("Select a map or a run that goes on: c cancels it.", markup=False)
            return
        ends = "Its program gets an error." if work.state == "map" else "Its outputs so far stay readable."
        question = f"Cancel {work.id}?\n\nWhat has not begun never runs, and what runs is stopped.\n{ends}"
        self._ask(question, partial(steering.cancel, self._url, work.id))

    def action_retry(self) -> None:
        work = self._work()
        if work is None or work.run is None:
            self.notify("Select a run that has ended: r runs again what failed of it.", markup=False)
            return
        self._steer(partial(steering.retry, self._url, work.id))

    def action_pause(self) -> None:
        if self.picture is None:
            self.notify("The server has not answered yet.", markup=False)
        elif self.picture.server.suspended:
            self._ask("Go on?\n\nAll replicas of this server take work again.", partial(steering.resume, self._url))
        else:
            question = "Pause ALL environments of this server?\n\nWhat runs ends, and nothing more is taken until p."
            self._ask(question, partial(steering.pause, self._url))

    def action_help(self) -> None:
        self.push_screen(Told("keys", HELP))

    def _work(self) -> Work | None:
        row = self.panels["work"].selected
        return row.of if row is not None and isinstance(row.of, Work) else None

    def _want(self, scope: Scope) -> None:
        if scope.environment != self.scope.environment:
            for name in ("work", "replicas", "failures"):
                self.panels[name].forget_widths()
        self.scope = scope
        self._reading.want(scope)

    def _ask(self, question: str, steer: Callable[[], str]) -> None:
        def answered(yes: bool | None) -> None:
            if yes:
                self._steer(steer)

        self.push_screen(Ask(question), answered)

    def _steer(self, steer: Callable[[], str]) -> None:
        def run() -> None:
            try:
                told, failed = steer(), False
            except ActorqError as error:
                told, failed = str(error), True
            self.post_message(self.Done(told, failed=failed))

        threading.Thread(target=run, name="actorq-watch-key", daemon=True).start()


def _content(spans: list[Span]) -> Content:
    """Spans as a line of textual: text, never markup."""
    return Content.assemble(*((text, _STYLES.get(tone, "bold")) for text, tone in spans))
