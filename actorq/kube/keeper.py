"""`actorq keep`: ends when nobody has used an environment for a while, and its pool with it.

Runs in a small pod beside a pool on demand (see `kube/keeping.py`). It only looks at Redis. A server that does not
answer for a while is no reason to end anything, as the pool may be wanted when it is back; one that does not for long
is gone, and then nobody can use the pool. One that refuses the login is asked again with the login that the Secret
holds then.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from actorq.base.log import logger
from actorq.broker.link import Link
from actorq.broker.records import idle_limit, idle_seconds
from actorq.errors import BrokerError, DeclarationError

#: how often it looks, at most, seconds
_LOOK_SECONDS = 5.0
#: a server that has been away for so long is gone, seconds: a volume that moves to another node takes some minutes, and
#: a map bears one minute
AWAY_SECONDS = 900.0


def keep(
    address: Callable[[], str],
    environment: str,
    ttl: float,
    away: float = AWAY_SECONDS,
    *,
    clock: Callable[[], float] = time.time,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Returns when `environment` has been idle for so many seconds as its last map wanted, as far as the server knows,
    or when the server has been away for as long, and for `away` seconds.

    Args:
        address: tells the server's address; it may become another one.
        environment: its name.
        ttl: the seconds, where no map has said them.
        away: seconds after which a server that does not answer is taken for gone.

    For a server that has forgotten everything, time counts from when this was seen.
    """
    link: Link | None = None
    reached = started = clock()
    forgotten: float | None = None
    try:
        while True:
            try:
                url = address()
                if link is None or link.url != url:
                    link = _instead(link, url)
                idle = idle_seconds(link, environment, clock())
                ttl = idle_limit(link, environment, ttl)
            except (BrokerError, DeclarationError) as error:
                logger().warning("broker_unreachable", error=str(error))
                event, seconds, limit = "broker_gone", clock() - reached, max(ttl, away)
            else:
                reached = clock()
                event, limit = "pool_idle", ttl
                if idle is None:
                    forgotten = reached if forgotten is None else forgotten
                    seconds = reached - forgotten
                else:
                    forgotten, seconds = None, min(idle, reached - started)
            if seconds >= limit:
                logger().info(event, environment=environment, seconds=round(seconds))
                return
            sleep(min(_LOOK_SECONDS, max(limit - seconds, 0.2)))
    finally:
        if link is not None:
            link.close()


def _instead(link: Link | None, url: str) -> Link:
    if link is not None:
        link.close()
    return Link(url, patience=0.0)
