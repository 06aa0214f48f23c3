"""A view of a server, and what a person sees of it."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from textual.pilot import Pilot
from textual.screen import ModalScreen
from textual.widgets import Static

from actorq.terminal.app import Watch
from actorq.terminal.panel import Panel

#: how long what is waited for may take, seconds
_PATIENCE = 30.0
#: pause between two looks at the server, seconds: the tests need not wait for the next one
_PAUSE = 0.2


class Screen:
    """The view of a test."""

    def __init__(self, app: Watch, pilot: Pilot[None]) -> None:
        self.app, self._pilot = app, pilot

    async def until(self, condition: Callable[[], object]) -> None:
        """Waits until that is so."""
        deadline = time.monotonic() + _PATIENCE
        while not condition():
            assert time.monotonic() < deadline, self.text
            await self._pilot.pause(0.02)

    async def press(self, *keys: str) -> None:
        await self._pilot.press(*keys)

    async def press_in(self, panel: str, *keys: str) -> None:
        self.app.panels[panel].focus()
        await self._pilot.press(*keys)

    async def resize(self, columns: int, lines: int) -> None:
        await self._pilot.resize_terminal(columns, lines)
        await self._pilot.pause()

    def lines(self, panel: str) -> list[str]:
        """What a table shows, its head first."""
        shown: Panel = self.app.panels[panel]
        return [" ".join(shown.text_of_line(y).split()) for y in range(shown.size.height)]

    def row(self, panel: str, start: str) -> str:
        """The line of a row; "" where none is in sight."""
        return next((line for line in self.lines(panel)[1:] if line.removeprefix("▸ ").startswith(start)), "")

    def line(self, name: str) -> str:
        """One of the lines that are no table: "server", "trouble" or "detail"."""
        found = next(each for each in self.app.screen_stack[0].query(Static) if each.id == name)
        return str(found.render()) if found.display else ""

    @property
    def over(self) -> str:
        """What is laid over the tables; "" for nothing."""
        top = self.app.screen
        if not isinstance(top, ModalScreen):
            return ""
        return "\n".join(str(each.render()) for each in top.query(Static)) or type(top).__name__

    @property
    def text(self) -> str:
        """All that is shown, for who reads why a test failed."""
        tables = [line for name in ("environments", "work", "replicas", "failures") for line in self.lines(name)]
        return "\n".join([self.line("server"), self.line("trouble"), *tables, self.line("detail"), self.over])


@asynccontextmanager
async def shown(
    url: str, environment: str = "", size: tuple[int, int] = (140, 40), pause: float = _PAUSE
) -> AsyncIterator[Screen]:
    """The view of a server."""
    app = Watch(url, environment, pause)
    async with app.run_test(size=size, notifications=True) as pilot:
        yield Screen(app, pilot)
