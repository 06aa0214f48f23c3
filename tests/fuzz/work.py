"""What fuzzed leases may run: tasks that take whatever they are given, and classes whose objects travel."""

from __future__ import annotations

import dataclasses
import enum
from typing import Any, Generic, NamedTuple, TypeVar

import pydantic

from actorq import ActorEnvironment

env = ActorEnvironment("fuzz", isolation="none", lease_seconds=2)


@env.task
def echo(*values: Any, **named: Any) -> Any:
    return values, named


@env.task
async def later(value: Any) -> Any:
    return value


class Colour(enum.Enum):
    RED = 1
    BLUE = "b"


class Access(enum.Flag):
    READ = 1
    WRITE = 2


@dataclasses.dataclass(frozen=True)
class Point:
    x: Any
    y: Any = None


class Model(pydantic.BaseModel):
    name: str
    size: int = 0


T = TypeVar("T")


class Page(pydantic.BaseModel, Generic[T]):
    item: T


class Pair(NamedTuple):
    a: Any
    b: Any


@dataclasses.dataclass
class Box:
    content: Any

    def __post_init__(self) -> None:
        self.seen = [1]


class OwnError(Exception):
    """An exception of the user's."""

    def __init__(self, code: int, *, hint: str) -> None:
        super().__init__(code)
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.hint}: {self.args[0]}"
