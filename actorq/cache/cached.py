"""The decorated function: from a call to its key, from the key to the value or the load."""

from __future__ import annotations

import functools
import inspect
import types
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, ParamSpec, TypeVar, cast

from actorq.cache import keys, loading
from actorq.cache.identity import identity
from actorq.cache.keys import PLAIN, Living
from actorq.cache.memo import Key, Memo, now, shared
from actorq.cache.options import Options
from actorq.cache.report import label
from actorq.errors import CodecError, DeclarationError

P = ParamSpec("P")
R = TypeVar("R")


@dataclass(frozen=True, kw_only=True)
class CacheInfo:
    """What `cache_info()` returns."""

    hits: int
    misses: int
    #: values kept at most; None: any number
    maxsize: int | None
    #: values kept now
    currsize: int
    #: of the values kept now, by `size=` or an estimate
    bytes: int
    #: spent in loads that succeeded
    load_seconds: float
    #: values that left by a limit, or with the instance they belonged to
    evictions: int


@dataclass(frozen=True, kw_only=True)
class CacheEntry:
    """A value that is kept: what `cache_entries()` tells of it."""

    #: its arguments: types, and a short hash that tells them apart. The arguments themselves may be secret.
    label: str
    hits: int
    load_seconds: float
    bytes: int
    age_seconds: float


class ActorCached(Generic[P, R]):
    """A function whose results are kept for the life of the replica."""

    __wrapped__: Callable[P, R]

    def __init__(self, function: Callable[P, R], options: Options) -> None:
        _check(function)
        functools.update_wrapper(self, function)
        self.__wrapped__ = function
        self._options = options
        self._signature = inspect.signature(function)
        self._names = tuple(self._signature.parameters)
        #: positional arguments of a call that needs no look at the signature; -1: there is no such call
        self._arity = _arity(self._signature) if options.key is None else -1
        #: number of positional arguments -> the defaults that make it a whole call
        self._defaults = _defaults(self._signature) if self._arity >= 0 else {}
        self._fetch: Callable[..., Any] = loading.get
        if inspect.iscoroutinefunction(function):
            from actorq.cache import coroutines  # asyncio takes 30 ms to import

            self._fetch = coroutines.get
        #: a hit is a look-up and no more
        self._direct = self._fetch is loading.get and not options.bounded
        owner = function.__qualname__.rpartition(".")[0]
        self._owner = "" if owner.endswith("<locals>") else owner
        parameters = self._names if options.key is None else ("key",)
        self._memo = Memo(f"{function.__module__}.{function.__qualname__}", options, parameters)
        self._values, self._counts = self._memo.values, self._memo.counts
        self._decided = False

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        if not kwargs and len(args) == self._arity and (not args or PLAIN.issuperset(map(type, args))):
            key: Key = args
        else:
            key = self.cache_key(*args, **kwargs)
        if self._direct:
            try:
                entry = self._values[key]
            except KeyError:
                return cast("R", self._fetch(self, self._memo_of_code(), key, args, kwargs))
            entry.hits += 1
            self._counts.hits += 1
            return cast("R", entry.value)
        return cast("R", self._fetch(self, self._memo_of_code(), key, args, kwargs))

    def __get__(self, instance: object, owner: type | None = None) -> Any:
        return self if instance is None else types.MethodType(self, instance)

    def cache_key(self, *args: P.args, **kwargs: P.kwargs) -> Any:
        """What the arguments are kept under: the same for positions and keywords, different for 1, 1.0 and True.

        Raises `CodecError` for an argument that has no content to compare.
        """
        if self._options.key is not None:
            return (self._element("what key= returned", self._options.key(*args, **kwargs)),)
        if not kwargs and (defaults := self._defaults.get(len(args))) is not None:
            values: Any = zip(self._names, args + defaults, strict=True)
        else:
            bound = self._signature.bind(*args, **kwargs)
            bound.apply_defaults()
            values = bound.arguments.items()
        return tuple(
            value if type(value) in PLAIN else self._argument(name, value, first=not position)
            for position, (name, value) in enumerate(values)
        )

    def has(self, *args: P.args, **kwargs: P.kwargs) -> bool:
        """Whether a value is kept for these arguments. Loads and counts nothing."""
        key = self.cache_key(*args, **kwargs)
        return self._memo_of_code().has(key)

    def cache_info(self) -> CacheInfo:
        memo = self._memo_of_code()
        memo.sweep()
        counts = memo.counts
        return CacheInfo(
            hits=counts.hits,
            misses=counts.misses,
            maxsize=self._options.maxsize,
            currsize=len(memo.values),
            bytes=memo.bytes,
            load_seconds=counts.load_seconds,
            evictions=counts.evictions,
        )

    def cache_entries(self) -> list[CacheEntry]:
        """What is kept, value by value, the latest first; where values leave by use, the one used last."""
        memo = self._memo_of_code()
        memo.sweep()
        return [
            CacheEntry(
                label=label(memo.parameters, key),
                hits=entry.hits,
                load_seconds=entry.load_seconds,
                bytes=entry.size,
                age_seconds=now() - entry.born,
            )
            for key, entry in memo.recent()
        ]

    def cache_clear(self) -> None:
        """Forgets all values and counts."""
        self._memo_of_code().clear()

    # -- keys ----------------------------------------------------------------------------------------------------------

    def _argument(self, name: str, value: Any, *, first: bool) -> Any:
        if first and self._owner:  # the instance of a method was decided on when it was first seen
            number = self._memo.numbers.known(value)
            if number is not None and not isinstance(value, type):
                return Living(type(value).__qualname__, number)
            if self._is_instance(value) and not keys.has_content(value):
                return self._living(name, value)
        if isinstance(value, type):
            return self._living(name, value)
        return self._element(f"argument {name!r}", value)

    def _is_instance(self, value: Any) -> bool:
        """Whether `value` is what this method is called on."""
        owner, module = self._owner, self.__wrapped__.__module__
        return any(kind.__qualname__ == owner and kind.__module__ == module for kind in type(value).__mro__)

    def _living(self, name: str, value: Any) -> Living:
        try:
            return keys.living(value, self._memo_of_code().numbers)
        except CodecError as error:
            raise self._no_key(f"argument {name!r}", error) from None

    def _element(self, what: str, value: Any) -> Any:
        try:
            return keys.element(value)
        except CodecError as error:
            raise self._no_key(what, error) from None

    def _no_key(self, what: str, error: CodecError) -> CodecError:
        return CodecError(
            f"@actor_cache {self.__wrapped__.__qualname__}: {what} cannot be part of a key: {str(error).rstrip('.')}. "
            "Give @actor_cache key=, a function of the same arguments that returns plain data that tells them apart."
        )

    # -- values --------------------------------------------------------------------------------------------------------

    def _memo_of_code(self) -> Memo:
        """The values that belong to this code. Decided with the first call after the module was imported: only then
        is all there that the function uses.
        """
        if self._decided:
            return self._memo
        function = cast("types.FunctionType", self.__wrapped__)
        if getattr(function.__globals__.get("__spec__"), "_initializing", False):
            return self._memo
        if not function.__closure__:  # functions made by one factory differ in what they close over
            memo = shared(self._memo, identity(function, self._options), self)
            self._memo, self._values, self._counts = memo, memo.values, memo.counts
        self._decided = True
        return self._memo


def _arity(signature: inspect.Signature) -> int:
    kinds = {parameter.kind for parameter in signature.parameters.values()}
    positional = {inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD}
    return len(signature.parameters) if kinds <= positional else -1


def _defaults(signature: inspect.Signature) -> dict[int, tuple[Any, ...]]:
    given = [p.default for p in signature.parameters.values() if p.default is not inspect.Parameter.empty]
    count = len(signature.parameters)
    return {count - missing: tuple(given[len(given) - missing :]) for missing in range(len(given) + 1)}


def _check(function: Any) -> None:
    if isinstance(function, (classmethod, staticmethod, property)):
        name = type(function).__name__
        raise DeclarationError(f"@actor_cache belongs below @{name}: write @{name} above it.")
    if not inspect.isfunction(function):
        raise DeclarationError(f"@actor_cache needs a function, not a {type(function).__name__}.")
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        raise DeclarationError(
            f"@actor_cache {function.__qualname__} is a generator, which can be read once: return a list instead."
        )
