"""`actorq keep`: ends when nobody has used an environment for a while, and its pool with it.

Runs in a small pod beside a pool on demand (see `kube/pool.py`). It only looks at Redis. A server that does not answer
is no reason to end anything: the pool may be wanted. One that refuses the login is a reason to fail: the pod is started
again, with the login that its Secret holds then.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from actorq.broker import keys
from actorq.broker.refusals import LoginRefusedError
from actorq.broker.wire import Link
from actorq.errors import BrokerError
from actorq.log import logger

#: how often it looks, at most, seconds
_LOOK_SECONDS = 5.0


def idle_for(link: Link, environment: str, now: float) -> float:
    """Seconds since a map or a call used the environment; 0 while one does. Raises `BrokerError`."""
    live = int(link.command("ZCOUNT", keys.maps(environment), now, "+inf"))
    waiting = int(link.command("LLEN", keys.queue(environment))) + int(link.command("ZCARD", keys.wip(environment)))
    if live or waiting:
        return 0.0
    used = link.command("GET", keys.used(environment))
    return float("inf") if used is None else max(0.0, now - float(used))


def keep(
    url: str,
    environment: str,
    ttl: float,
    *,
    clock: Callable[[], float] = time.time,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Returns when `environment` has been idle for so many seconds as its last map wanted, as far as the server knows.

    Args:
        url: the server.
        environment: its name.
        ttl: the seconds, where no map has said them.

    A server that has forgotten everything counts the time from when this was seen. Raises `BrokerError` when the login
    is refused.
    """
    link = Link(url, patience=0.0)
    started = clock()
    try:
        while True:
            try:
                idle = min(idle_for(link, environment, clock()), clock() - started)
                ttl = float(link.command("GET", keys.ttl(environment)) or ttl)
            except LoginRefusedError:
                raise
            except BrokerError as error:
                logger().warning("broker_unreachable", error=str(error))
                idle = 0.0
            if idle >= ttl:
                logger().info("pool_idle", environment=environment, seconds=round(idle))
                return
            sleep(min(_LOOK_SECONDS, max(ttl - idle, 0.2)))
    finally:
        link.close()
