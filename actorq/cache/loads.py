"""What `@actor_cache` loaded, as data: a load that one process made can be told to another, which makes it again.

Values never travel: what they hold (a model on a GPU, an open file) cannot. Their names and arguments can.
"""

from __future__ import annotations

import importlib
import inspect
from collections import OrderedDict
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import msgpack

from actorq import cache
from actorq.cache.hooks import LOADS
from actorq.errors import CodecError, PoolError
from actorq.wire import codec

#: module, qualified name, packed arguments; those are empty where they cannot be carried
Load = tuple[str, str, bytes]

#: arguments larger than this are not kept for a later process, bytes: a hundred of them are as much as a model
_LARGEST_ARGUMENTS = 1 << 20


def load_of(cached: cache.ActorCached[Any, Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Load:
    """One load. Raises `CodecError` for arguments that cannot be carried."""
    function = cached.__wrapped__
    return function.__module__, function.__qualname__, codec.pack([list(args), kwargs])


def unsharable(cached: cache.ActorCached[Any, Any]) -> Load:
    """A load that no other process can make, to say so there."""
    return cached.__wrapped__.__module__, cached.__wrapped__.__qualname__, b""


def shown(load: Load) -> str:
    """The function of a load, for messages."""
    return f"{load[0]}.{load[1]}"


def repeat(load: Load, run: Callable[[Coroutine[Any, Any, Any]], Any]) -> bool:
    """Makes a load in this process; False when its value is here already. Raises what the function raises.

    `run` runs a coroutine to its end.
    """
    if not load[2]:
        raise CodecError("Its arguments cannot be carried to another process.")
    cached = _find(load)
    args, kwargs = codec.unpack(load[2])
    if cached.has(*args, **kwargs):
        return False
    value = cached(*args, **kwargs)
    if inspect.iscoroutine(value):
        run(value)
    return True


def kept(load: Load) -> bool:
    """Whether the value of a load is still kept in this process."""
    try:
        args, kwargs = codec.unpack(load[2])
        return _find(load).has(*args, **kwargs)
    except Exception:  # its module is gone, or another function has its name
        return False


class Journal:
    """The loads of this process, those that were made last.

    Args:
        most: how many.
        code: tells the version of the code that runs: a load is made again by the code that made it.
    """

    def __init__(self, most: int, code: Callable[[], str]) -> None:
        self._most = most
        self._code = code
        self._loads: OrderedDict[tuple[str, Load], None] = OrderedDict()
        LOADS.listen(self._loaded)

    def write(self, file: Path) -> None:
        """Leaves those whose values are still kept to the next process. Raises `OSError`."""
        code = self._code()
        loads = [
            [version, *load] for version, load in self._loads if version != code or kept(load)
        ]  # a version that does not run now cannot be asked
        if loads:
            file.write_bytes(msgpack.packb(loads))

    def _loaded(self, cached: cache.ActorCached[Any, Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        if "<locals>" in cached.__wrapped__.__qualname__:
            return  # no other process finds it by its name
        try:
            load = load_of(cached, args, kwargs)
        except CodecError:  # nothing but this value is lost, and only for the moment after a recycling
            return
        if len(load[2]) > _LARGEST_ARGUMENTS:
            return
        self._loads[self._code(), load] = None
        self._loads.move_to_end((self._code(), load))
        if len(self._loads) > self._most:
            self._loads.popitem(last=False)


def read(file: Path) -> list[tuple[str, Load]]:
    """What the process before this one left: (version of the code, load), the oldest first. The file is gone then.

    A load that ends the process is therefore made only once.
    """
    try:
        data = file.read_bytes()
        file.unlink()
    except OSError:
        return []
    return [(version, (module, name, packed)) for version, module, name, packed in msgpack.unpackb(data)]


def _find(load: Load) -> cache.ActorCached[Any, Any]:
    """The cached function of this name; imports its module, which a body may have done first."""
    found: Any = importlib.import_module(load[0])
    for part in load[1].split("."):
        found = vars(found)[part] if part in vars(found) else getattr(found, part)
    if isinstance(found, (staticmethod, classmethod)):
        found = found.__func__
    if not isinstance(found, cache.ActorCached):
        raise PoolError(f"{shown(load)} is not to be found by its name.")
    return found
