"""Which leases of one process may run at the same time, where it runs several."""

from __future__ import annotations

import threading

#: how long a slot waits for a turn with nobody else, seconds; then it lets those in that queue behind it, for so long
_TURN_SECONDS, _LET_IN_SECONDS = 2.0, 0.05


class Turns:
    """Who runs beside whom: slots with the same version of the code, since its modules are those of the process; and
    nobody beside an input that is to be alone.
    """

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._code = ""
        self._alone = False
        self._running = 0
        self._others = 0  # slots that wait until nobody runs; those that need not queue behind them

    def enter(self, code: str, *, alone: bool) -> None:
        """Waits until a lease with this code may run."""

        def may_run() -> bool:
            beside = code == self._code and not (alone or self._alone or self._others)
            return beside or not self._running

        with self._condition:
            while not may_run():
                # what runs may itself wait for one of those that queue: now and then they are let in first
                self._others += (waits := alone or code != self._code)
                entered = self._condition.wait_for(may_run, _TURN_SECONDS)
                self._others -= waits
                if not entered:
                    self._condition.notify_all()
                    self._condition.wait(_LET_IN_SECONDS)
            self._code, self._alone = code, alone
            self._running += 1

    def leave(self) -> None:
        with self._condition:
            self._running -= 1
            self._alone = self._alone and self._running > 0
            self._condition.notify_all()
