"""Writes modules of ordinary code, to measure what restoring them costs: a project as a task might import it."""

from __future__ import annotations

from pathlib import Path

_SMALL = '''
"""One small module: a constant, a function, and the tasks."""
LIMIT = 10


def scale(value, factor=2):
    return value * factor
'''

#: some 90 lines: what a module of a service holds
_ORDINARY = """
import functools
import re
from collections import defaultdict
from dataclasses import dataclass, field

LIMIT = 10
NAME = "module"
RATES = (0.1, 0.2, 0.5)
WORD = re.compile("[a-z]+")
TABLE = {str(i): i for i in range(20)}
ROUTES = {"get": ["a", "b"], "put": ["c"], "options": {"deep": [1, 2, 3]}}
SEEN = set()
COUNTS = defaultdict(int)


@dataclass
class Item:
    name: str
    price: float = 0.0
    tags: list = field(default_factory=list)

    def total(self, count=1):
        return self.price * count


class Service:
    retries = 3
    hooks = []

    def __init__(self, name):
        self.name = name
        self.items = {}

    @property
    def size(self):
        return len(self.items)

    @classmethod
    def make(cls):
        return cls("made")

    @staticmethod
    def clean(text):
        return text.strip()

    def add(self, item):
        self.items[item.name] = item


class Special(Service):
    retries = 5


class FailedError(Exception):
    pass


@functools.lru_cache(maxsize=128)
def parsed(text):
    return tuple(WORD.findall(text))


def timed(function):
    @functools.wraps(function)
    def wrapper(*args, **kwargs):
        return function(*args, **kwargs)

    return wrapper


@timed
def load(name, *, strict=True):
    return name if strict else None


def first(values, default=None):
    return next(iter(values), default)


def merge(left, right):
    return {**left, **right}


def describe(item):
    return f"{item.name}: {item.total()}"


def route(method):
    return ROUTES.get(method, [])


SERVICE = Service("default")
"""

_TASKS = """
from actorq import ActorEnvironment

none = ActorEnvironment("{package}-none", replica_count=1, isolation="none")
reset = ActorEnvironment("{package}-reset", replica_count=1)


@none.task
def noop(x):
    return x


@reset.task
def noop_reset(x):
    return x
"""


def write(folder: Path, package: str, modules: int, entries: int = 0) -> None:
    """A module that declares two tasks, no-ops, at levels none and reset, and what it imports.

    Args:
        folder: to be put on sys.path.
        package: name of the module; also begin of the names of the others, and of the environments.
        modules: modules of ordinary code beside it; 0: it is one small module.
        entries: of one more dict among its globals.
    """
    imports = "".join(f"import {package}_{i}\n" for i in range(modules))
    table = f"LARGE = {{str(i): i for i in range({entries})}}\n" if entries else ""
    text = _TASKS.replace("{package}", package)
    (folder / f"{package}.py").write_text((_SMALL if not modules else "") + imports + table + text)
    for i in range(modules):
        (folder / f"{package}_{i}.py").write_text(_ORDINARY)
