"""`@actor_cache`: load once per replica, keep for every input after.

The one idea: a value belongs to (module, qualified name, *code*, arguments), so two functions of one name do not
collide, an edited function never sees what its older self loaded, and `f(1, b=2)` finds what `f(1, 2)` loaded. Loads
are single-flight: whoever asks while a key is loading waits for that load, in threads and in coroutines alike.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import inspect
import threading
import types
import weakref
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, ParamSpec, TypeVar, cast

from actorq import codec
from actorq.errors import ActorqError, CodecError, DeclarationError

if TYPE_CHECKING:
    import asyncio

P = ParamSpec("P")
R = TypeVar("R")

#: entered around every load; a replica keeps what a load does to the process
during_load: Callable[[], contextlib.AbstractContextManager[Any]] = contextlib.nullcontext

#: called after every load whose value is kept, with the arguments as given
after_load: Callable[[ActorCached[Any, Any], tuple[Any, ...], dict[str, Any]], None] | None = None

#: (module, qualname, code) -> values; outlives a re-import of the module that declares the function
_stores: dict[tuple[str, str, str], _Store] = {}
_every_store: weakref.WeakSet[_Store] = weakref.WeakSet()
_loads = 0

_SIMPLE = frozenset({int, str, bytes, bool, float, type(None)})


@dataclass(frozen=True, kw_only=True)
class CacheInfo:
    """What `cache_info()` returns."""

    hits: int
    misses: int
    #: values kept now
    currsize: int


class _Store:
    """The values of one function."""

    def __init__(self) -> None:
        self.values: dict[Any, Any] = {}
        self.loading: dict[Any, tuple[Future[Any], int]] = {}  # key -> (result, thread that loads)
        self.awaiting: dict[Any, asyncio.Task[Any]] = {}
        self.lock = threading.Lock()
        self.hits = self.misses = 0
        _every_store.add(self)


class ActorCached(Generic[P, R]):
    """A function whose results are kept for the life of the replica."""

    def __init__(self, function: Callable[P, R]) -> None:
        if not inspect.isfunction(function):
            raise DeclarationError(f"@actor_cache needs a function, not a {type(function).__name__}.")
        functools.update_wrapper(self, function)
        self.__wrapped__ = function
        self._signature = inspect.signature(function)
        self._takes_nothing = not self._signature.parameters
        self._is_async = inspect.iscoroutinefunction(function)
        name = (function.__module__, function.__qualname__, _code_hash(function.__code__))
        # functions made by one factory share name and code, and differ in what they close over
        self._store = _Store() if function.__closure__ else _stores.setdefault(name, _Store())

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        key = self.cache_key(*args, **kwargs)
        if self._is_async:
            return cast("R", self._get_async(key, args, kwargs))
        store = self._store
        try:
            value = store.values[key]
        except KeyError:
            return cast("R", self._load(key, args, kwargs))
        store.hits += 1
        return cast("R", value)

    def __get__(self, instance: object, owner: type | None = None) -> Any:
        return self if instance is None else types.MethodType(self, instance)

    def cache_key(self, *args: P.args, **kwargs: P.kwargs) -> Any:
        """What the arguments are kept under: the same for positions and keywords, different for 1, 1.0 and True.

        Raises `CodecError` for an argument that has no content to compare.
        """
        if self._takes_nothing and not args and not kwargs:
            return ()
        bound = self._signature.bind(*args, **kwargs)
        bound.apply_defaults()
        values = tuple(bound.arguments.items())
        if all(type(value) in _SIMPLE for _, value in values):
            return tuple((name, type(value), value) for name, value in values)
        try:
            return hashlib.blake2b(codec.pack([[name, value] for name, value in values]), digest_size=20).digest()
        except CodecError as error:
            raise CodecError(
                f"@actor_cache {self.__wrapped__.__qualname__}: an argument cannot be part of a key: {error}"
            ) from error

    def has(self, *args: P.args, **kwargs: P.kwargs) -> bool:
        """Whether a value is kept for these arguments. Loads nothing and counts nothing."""
        return self.cache_key(*args, **kwargs) in self._store.values

    def cache_info(self) -> CacheInfo:
        store = self._store
        return CacheInfo(hits=store.hits, misses=store.misses, currsize=len(store.values))

    def cache_clear(self) -> None:
        """Forgets all values and counts."""
        store = self._store
        with store.lock:
            store.values.clear()
            store.hits = store.misses = 0

    def _load(self, key: Any, args: Any, kwargs: Any) -> Any:
        store, me = self._store, threading.get_ident()
        with store.lock:
            if key in store.values:
                store.hits += 1
                return store.values[key]
            if (other := store.loading.get(key)) is None:
                mine: Future[Any] = Future()
                store.loading[key] = (mine, me)
                store.misses += 1
            else:
                store.hits += 1
        if other is not None:
            future, loader = other
            if loader == me:
                raise ActorqError(f"@actor_cache {self.__wrapped__.__qualname__} calls itself with the same arguments.")
            return future.result()
        try:
            with _counted_load():
                value = self.__wrapped__(*args, **kwargs)
        except BaseException as error:
            with store.lock:
                del store.loading[key]
            mine.set_exception(error)  # not kept: the next call loads again
            raise
        with store.lock:
            store.values[key] = value
            del store.loading[key]
        mine.set_result(value)
        if after_load is not None:
            after_load(self, args, kwargs)
        return value

    async def _get_async(self, key: Any, args: Any, kwargs: Any) -> Any:
        import asyncio

        store = self._store
        if key in store.values:
            store.hits += 1
            return store.values[key]
        slot = (key, id(asyncio.get_running_loop()))
        task = store.awaiting.get(slot)
        if task is None:
            store.misses += 1
            task = store.awaiting[slot] = asyncio.ensure_future(self._load_async(key, args, kwargs))
            task.add_done_callback(lambda _: store.awaiting.pop(slot, None))
        else:
            store.hits += 1
        return await asyncio.shield(task)  # one waiter that is cancelled does not take the load from the others

    async def _load_async(self, key: Any, args: Any, kwargs: Any) -> Any:
        with _counted_load():
            value = await cast("Any", self.__wrapped__)(*args, **kwargs)
        self._store.values[key] = value
        if after_load is not None:
            after_load(self, args, kwargs)
        return value


def actor_cache(function: Callable[P, R]) -> ActorCached[P, R]:
    """Keeps what `function` returns for the life of the replica, per arguments.

    For a model or a dataset that every input needs. `cache_info()` and `cache_clear()` are those of
    `functools.lru_cache`. Exceptions are not kept. Works on `async def` too: await each call as usual.

    Arguments are compared by content: lists, dicts, arrays and dataclasses are fine.
    """
    return ActorCached(function)


def load_count() -> int:
    """Loads since the process started."""
    return _loads


def cache_totals() -> tuple[int, int, int]:
    """Hits, misses and entries over all functions of this process."""
    hits = misses = entries = 0
    for store in _every_store:
        hits += store.hits
        misses += store.misses
        entries += len(store.values)
    return hits, misses, entries


@contextlib.contextmanager
def _counted_load() -> Any:
    global _loads
    with during_load():
        yield
    _loads += 1


def _constant(value: Any) -> str:
    if isinstance(value, types.CodeType):
        return _code_hash(value)
    if isinstance(value, frozenset):
        return repr(sorted(map(repr, value)))  # the order of a set differs from process to process
    return repr(value)


def _code_hash(code: types.CodeType) -> str:
    """Changes when the function's code does; the same in every process."""
    digest = hashlib.blake2b(code.co_code, digest_size=10)
    digest.update(repr(code.co_names).encode())
    for constant in code.co_consts:
        digest.update(_constant(constant).encode())
    return digest.hexdigest()
