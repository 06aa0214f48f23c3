"""The thread that looks at the server every second, while keys are answered by another.

The one idea: what it finds is handed over whole, and what it cannot find is handed over as a reason. It ends by
nothing that a server does.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable

from actorq.base.masking import masked, printable
from actorq.broker.link import Link
from actorq.errors import BrokerError
from actorq.terminal.picture import Looks, Picture, Scope

#: pause between two looks, seconds; what a look takes is added
LOOK_SECONDS = 1.0
#: how long one answer may take, seconds; then the server is away
_REPLY_SECONDS = 5.0
#: how long the end waits for an answer that is on its way, seconds
_END_SECONDS = 0.2


class Reading:
    """The looks at one server.

    Args:
        url: its address.
        scope: what is wanted first.
        found: is called with each picture, by the thread.
        away: is called with why there is none, by the thread.
        pause: seconds between two looks.
    """

    def __init__(
        self,
        url: str,
        scope: Scope,
        found: Callable[[Picture], object],
        away: Callable[[str], object],
        pause: float = LOOK_SECONDS,
    ) -> None:
        self._link = Link(url, patience=0.0, reply_timeout=_REPLY_SECONDS)
        self._scope = scope
        self._found, self._away, self._pause = found, away, pause
        self._ended, self._wanted = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run, name="actorq-watch", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def want(self, scope: Scope) -> None:
        """From now on this is looked for; at once, unless an answer is waited for."""
        self._scope = scope
        self._wanted.set()

    def look_now(self) -> None:
        """Something has changed."""
        self._wanted.set()

    def end(self) -> None:
        """No look is begun any more. One that waits for an answer ends by itself, and is not waited for."""
        self._ended.set()
        self._wanted.set()
        self._link.hurry(_END_SECONDS)
        if self._thread.ident is not None:
            self._thread.join(_END_SECONDS)

    def _run(self) -> None:
        looks = Looks(self._link)
        while not self._ended.is_set():
            self._wanted.clear()
            self._look(looks)
            self._wanted.wait(self._pause)
        self._link.close()

    def _look(self, looks: Looks) -> None:
        try:
            picture = looks.look(self._scope)
        except BrokerError as error:
            self._hand(self._away, str(error))
        except Exception as error:  # whatever somebody has written there: the next look may be well
            self._hand(self._away, f"What it says cannot be read ({type(error).__name__}: {error}).")
        else:
            if not self._ended.is_set():
                self._found(picture)

    def _hand(self, away: Callable[[str], object], reason: str) -> None:
        self._link.drop()
        with contextlib.suppress(RuntimeError):  # the view has ended meanwhile
            if not self._ended.is_set():
                away(printable(masked(reason)))
