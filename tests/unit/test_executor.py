"""What an executor does between two leases, whatever its connection does."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import redis

from actorq.replica.executor import Executor

REPLY = [b"ok", b"", b"", b""]


class FakeLink:
    """A connection that is open or not, and may break when it is used."""

    def __init__(self, *, connected: bool, breaks: bool = False) -> None:
        self.connected = connected
        self.breaks = breaks

    def send(self, *commands: list[Any]) -> None:
        return

    def read(self) -> Any:
        if self.breaks:
            raise redis.ConnectionError
        return REPLY

    def call_once(self, script: Any, keys: Any, args: list[Any], stores: Any) -> Any:
        return self.read()

    def call(self, script: Any, keys: Any, args: list[Any], stores: Any) -> Any:
        return REPLY

    def drop(self) -> None:
        self.connected = False


@pytest.mark.parametrize("stores", [[], ["large"]])
@pytest.mark.parametrize(("connected", "breaks"), [(True, False), (True, True), (False, False)])
def test_the_state_is_restored_once_after_a_lease_whatever_the_connection_does(
    connected: bool, breaks: bool, stores: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    link = FakeLink(connected=connected, breaks=breaks)
    restored: list[int] = []
    monkeypatch.setattr(Executor, "_tell_caches", lambda self: None)
    executor: Any = Executor.__new__(Executor)
    executor._link, executor._keys, executor._mail, executor._busy = link, [], "mail", False
    executor._isolation = SimpleNamespace(after_lease=lambda: restored.append(1))
    executor._untidy, executor.worn_out = True, False
    args = ["rq", "aq", "e", "w", 10, "now", "1", "", "lease", "1", b"", 0]
    assert executor._call_next(args, stores) == REPLY
    assert restored == [1]
    assert executor._call_next(args, stores) == REPLY
    assert restored == [1]
    assert (args[7] == "1") == (breaks or not connected)
