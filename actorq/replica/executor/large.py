"""How large an output is, at a glance: a lease of several inputs must not gather more than its replica can bear.

A lease has as many inputs as suits the outputs that came before. When a task begins to return large ones, its replica
sends what is done and hands back the rest, and the submitter makes smaller leases. To look into every output would take
longer than tiny inputs do, so only what shows from outside counts.
"""

from __future__ import annotations

import sys
from typing import Any

#: of one lease: four times what its submitter aims at
MOST_HELD_BYTES = 4 << 20
#: outputs of these types are not looked at
SMALL = frozenset({int, float, bool, type(None)})
#: bytes of an element
_WIDTHS = {bytes: 1, bytearray: 1, str: 1, list: 8, tuple: 8, dict: 16}


def least_size(output: Any) -> int:
    """Bytes that an output takes, as far as can be seen without a look into it; 0 for most."""
    kind: Any = type(output)
    if (width := _WIDTHS.get(kind)) is not None:
        return width * len(output)
    if kind.__name__ == "ndarray" and (numpy := sys.modules.get("numpy")) is not None and kind is numpy.ndarray:
        return int(output.nbytes)
    return 0
