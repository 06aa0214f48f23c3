"""How long a replica waits for the server before it takes a connection for one that has gone silent, seconds.

The one idea: *each deadline is a part of the lease*. A lease lapses `lease_seconds` after its last renewal, so whatever
a silent connection keeps from being said must be said again, over a new one, before that.

    a renewal    every third of a lease   given up after a sixth of it: the next try still comes before the third
    a result     when it is there         given up after a lease, during which the supervisor renews it
    the mailbox  half a lease at a time   given up after a whole: what was handed over on a dead connection is found
                                          before it lapses
"""

from __future__ import annotations

from actorq.broker.patience import REPLY_TIMEOUT


def renewal(lease_seconds: float) -> float:
    """For the reply to a renewal, and to all else that the supervisor says."""
    return min(REPLY_TIMEOUT, lease_seconds / 6)


def result(lease_seconds: float) -> float:
    """For the reply to an executor, that of its mailbox included."""
    return min(REPLY_TIMEOUT, lease_seconds)


def mailbox(lease_seconds: float) -> float:
    """For one wait on the mailbox on the server's side. An idle replica asks so often; asking takes it 0.5 ms."""
    return result(lease_seconds) / 2
