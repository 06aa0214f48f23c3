"""Which GPUs of the machine each replica sees, by `CUDA_VISIBLE_DEVICES`.

A library takes the first GPU it sees, so replicas that see all would share one. Replica i of n gets the i-th few, or,
where several share one, the i-th part.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

VISIBLE = "CUDA_VISIBLE_DEVICES"


def there(environment: Mapping[str, str] = os.environ, devices: Path = Path("/dev")) -> list[str]:
    """Names of the GPUs that this process sees.

    Args:
        environment: whose `CUDA_VISIBLE_DEVICES` names them, if it is set.
        devices: where the files of devices are.
    """
    if VISIBLE in environment:
        names = [name.strip() for name in environment[VISIBLE].split(",") if name.strip()]
        return names[: names.index("-1")] if "-1" in names else names  # CUDA looks no further than that
    return sorted((path.name[6:] for path in devices.glob("nvidia[0-9]*")), key=int)


def dealt(found: list[str], each: float, replica: int) -> list[str]:
    """The GPUs of one replica.

    Args:
        found: all there are.
        each: how many a replica has, a whole number or one part of several.
        replica: which it is, from 0.
    """
    if each >= 1:
        first = replica * int(each)
        return found[first : first + int(each)]
    first = replica // round(1 / each)
    return found[first : first + 1]


def needed(each: float, replicas: int) -> int:
    """How many GPUs so many replicas need."""
    return replicas * int(each) if each >= 1 else -(-replicas // round(1 / each))
