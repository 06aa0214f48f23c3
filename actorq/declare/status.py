"""What `environment.status()` says."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class PoolStatus:
    """What is known of the replicas of an environment."""

    #: replicas asked for; 0 where somebody else decides
    wanted: int
    #: replicas that serve now
    ready: int
    #: what keeps the others from running, "" for nothing
    trouble: str = ""
