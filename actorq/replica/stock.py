"""What a plain `rq worker` finds when it takes a lease by mistake.

Leases are real RQ jobs whose `data` names this function. Replicas never look at it.
"""

from __future__ import annotations

from actorq.errors import PoolError


def run_lease() -> None:
    """Fails with the reason, so that RQ's failed registry shows it."""
    raise PoolError("This job is an actorq lease and a plain RQ worker took it: start `actorq worker` on this queue.")
