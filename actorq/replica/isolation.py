"""What a replica restores between two inputs."""

from __future__ import annotations

from collections.abc import Callable

from actorq.environment import ActorEnvironment


class Isolation:
    """Restores the state of the process after every input, as the level asks."""

    def __init__(self, environment: ActorEnvironment, level: str) -> None:
        self.task = ""
        self.after_input: Callable[[], None] | None = None

    def begin(self) -> None:
        """Takes the state to restore. Called once, before the first input."""
