"""Ports for the servers of tests.

The one idea: *below those that the kernel gives to who connects*. Who tries again and again to connect to one of these,
since its server has not begun to listen, meets himself in the end and takes that for the server, which finds its port
in use.
"""

from __future__ import annotations

import contextlib
import random
import socket

#: ports of no service that is known, and below those of connections
_PORTS = range(20_000, 32_000)
#: from a server's port to that of its cluster's bus
BUS = 10_000


def free_port(*, bus: bool = False) -> int:
    """One that nobody listens on. `bus`: nor on the one that a cluster's bus has."""
    for port in random.SystemRandom().sample(_PORTS, 200):
        with contextlib.suppress(OSError), socket.socket() as listening, socket.socket() as beside:
            listening.bind(("127.0.0.1", port))
            if bus:
                beside.bind(("127.0.0.1", port + BUS))
            return port
    raise AssertionError("no port is free")
