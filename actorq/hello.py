"""The environment a new chart release serves: something to call before there is code of one's own.

actorq worker actorq.hello           python -m actorq.hello
"""

from __future__ import annotations

import socket
import time

from actorq.declare.environment import ActorEnvironment

env = ActorEnvironment("hello", replica_count=2)


@env.task
def hello(name: str) -> str:
    """Says who answers."""
    return f"Hello {name}, from {socket.gethostname()}"


@env.task
def nap(seconds: float) -> float:
    """Takes a while."""
    time.sleep(seconds)
    return seconds


if __name__ == "__main__":
    for line in hello.map(["one", "two", "three"]):
        print(line)
