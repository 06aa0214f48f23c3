"""A program that maps, calls and submits while the strikes go on, and tells what it got.

python -m tests.chaos.submitter SEED SECONDS REPORT
"""

from __future__ import annotations

import faulthandler
import json
import os
import signal
import sys
import threading
import time
import traceback
import warnings
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from actorq import BrokerError
from tests.chaos import work

#: futures that are awaited together
_FUTURES = 40
#: maps and rows of calls of one submitter
ACCOUNTS = 7
#: wrong outputs that are told
_TOLD = 5


@dataclass
class Account:
    """What one map, or one row of calls, has given and got."""

    name: str
    given: int = 0
    got: int = 0
    wrong: list[str] = field(default_factory=list)
    twice: int = 0
    disorder: int = 0
    late: int = 0
    #: the longest time without an output, seconds, and when it began
    silence: float = 0.0
    since: float = 0.0
    last: float = field(default_factory=time.time)
    error: str = ""

    @property
    def lost(self) -> int:
        return self.given - self.got


class Submitter:
    def __init__(self, seed: int, seconds: float) -> None:
        self._until = time.monotonic() + seconds
        self._seed = seed
        self.accounts: list[Account] = []

    def run(self) -> None:
        kinds: list[tuple[str, Callable[[Account, int], None]]] = [
            ("map", lambda account, seed: self._map(account, seed, work.work)),
            ("map by key", lambda account, seed: self._map(account, seed, work.keyed)),
            ("map of slots", lambda account, seed: self._map(account, seed, work.together)),
            ("map of forks", lambda account, seed: self._map(account, seed, work.apart)),
            ("map, unordered", lambda account, seed: self._map(account, seed, work.work, ordered=False)),
            ("calls", self._calls),
            ("futures", self._futures),
        ]
        assert len(kinds) == ACCOUNTS
        threads = []
        for at, (name, kind) in enumerate(kinds):
            self.accounts.append(account := Account(name))
            threads.append(threading.Thread(target=self._guarded, args=(kind, account, self._seed * 100 + at)))
            threads[-1].start()
        for thread in threads:
            thread.join()

    def _guarded(self, kind: Callable[[Account, int], None], account: Account, seed: int) -> None:
        try:
            kind(account, seed)
        except Exception as error:
            account.error = f"{type(error).__name__}: {error}"
            traceback.print_exc()  # seen where the submitter does not end

    def _items(self, account: Account, seed: int) -> Iterator[list[int]]:
        while time.monotonic() < self._until:
            account.given += 1
            yield [seed, account.given - 1]

    def _map(self, account: Account, seed: int, task: Any, *, ordered: bool = True) -> None:
        seen: set[int] = set()
        handle = task.map(self._items(account, seed), return_exceptions=True, order_outputs=ordered)
        for at, value in enumerate(handle):
            index = at if ordered else self._index(value)
            account.twice += index in seen
            seen.add(index)
            self._receive(account, [seed, index], value)
        account.late = handle.stats().late

    def _index(self, value: Any) -> int:
        if isinstance(value, list):
            return int(value[1])
        return int(value.args[1] if isinstance(value, ValueError) else value.index)

    def _receive(self, account: Account, item: list[int], value: Any) -> None:
        account.got += 1
        if account.got == 1 and not isinstance(value, BrokerError):
            Path(os.environ["CHAOS_FOLDER"], f"begun-{item[0]}").touch()
        now = time.time()
        if now - account.last > account.silence:
            account.silence, account.since = now - account.last, account.last
        account.last = now
        if work.is_right(item, value):
            return
        if isinstance(value, list) and value[:1] == item[:1]:
            account.disorder += 1
        if len(account.wrong) < _TOLD:
            account.wrong.append(f"{item}, which {work.kind(item)}: {value!r:.300}")

    def _calls(self, account: Account, seed: int) -> None:
        for item in self._items(account, seed):
            try:
                value = work.work.remote(item)
            except Exception as error:
                value = error
            self._receive(account, item, value)

    def _futures(self, account: Account, seed: int) -> None:
        items = self._items(account, seed)
        while some := list(islice(items, _FUTURES)):
            for item, future in [(item, work.work.submit(item)) for item in some]:
                self._receive(account, item, future.exception() or future.result())


def main() -> None:
    faulthandler.register(signal.SIGUSR1, all_threads=True)
    warnings.simplefilter("ignore")  # of a server that is away, which is as it should be
    seed, seconds, report = int(sys.argv[1]), float(sys.argv[2]), Path(sys.argv[3])
    submitter = Submitter(seed, seconds)
    submitter.run()
    accounts = [asdict(account) | {"lost": account.lost} for account in submitter.accounts]
    report.write_text(json.dumps({"accounts": accounts}))


if __name__ == "__main__":
    main()
