"""The command channels of RQ: who listens on them must notice that the line is dead.

A subscription only waits, so a connection that went silent looks like one on which nobody says anything. The one idea:
*ask for a sign of life as often as a renewal is sent*. Without one the connection is closed, and a new one subscribes.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

import redis
from redis.client import PubSub

#: the longest wait for the answer to a subscription, seconds; without one it is no less subscribed
_SUBSCRIBE_SECONDS = 1.0
#: pause before the server is asked again that does not answer, seconds
_RETRY_SECONDS = 1.0


class Subscription(threading.Thread):
    """Calls handlers of messages, in a thread of its own, until `stop`.

    Args:
        client: whose connections are used.
        channels: what to call with a message, by channel.
        every: how often a sign of life is asked for, seconds; without one after as long again the line is dead.
        on_lost: told what was wrong with a line that is dead.
    """

    def __init__(
        self,
        client: redis.Redis,
        channels: Mapping[str, Callable[[Any], None]],
        *,
        every: float,
        on_lost: Callable[[Exception], None],
    ) -> None:
        super().__init__(name="actorq-commands", daemon=True)
        self._client = client
        self._channels = channels
        self._every = every
        self._on_lost = on_lost
        self._stopped = threading.Event()
        self._pubsub = self._subscribed()

    def stop(self) -> None:
        """Ends the thread, within `every` seconds."""
        self._stopped.set()

    def run(self) -> None:
        while not self._stopped.is_set():
            try:
                self._listen()
            except (redis.RedisError, OSError) as error:
                self._on_lost(error)
                self._pubsub.close()
                while not self._stopped.wait(_RETRY_SECONDS) and not self._again():
                    continue
        self._pubsub.close()

    def _subscribed(self) -> PubSub:
        """A connection that listens."""
        pubsub: PubSub = self._client.pubsub()
        pubsub.subscribe(*self._channels)
        pubsub.get_message(timeout=_SUBSCRIBE_SECONDS)  # the server's word that it listens
        return pubsub

    def _again(self) -> bool:
        try:
            self._pubsub = self._subscribed()
        except (redis.RedisError, OSError):
            return False
        return True

    def _listen(self) -> None:
        """Until the line is dead, or `stop`. Any message is a sign of life."""
        heard = time.monotonic()
        asked = False
        while not self._stopped.is_set():
            until = heard + self._every * (2 if asked else 1)
            message = self._pubsub.get_message(timeout=max(0.0, until - time.monotonic()))
            if message is not None:
                heard, asked = time.monotonic(), False
                self._obey(message)
            elif asked:
                raise redis.TimeoutError("no sign of life on the command channels")
            elif time.monotonic() - heard >= self._every:
                self._pubsub.ping()
                asked = True

    def _obey(self, message: dict[str, Any]) -> None:
        if message["type"] == "message":
            self._channels[message["channel"].decode()](message)
