"""From msgpack to values. The bytes may be anybody's: whatever they are, it takes time and memory in proportion.

*One pass.* Text is decoded with "surrogatepass" at once, which costs nothing where it is plain; so no part is decoded
twice because of what stands in it, and nothing doubles with every level.

*No slow tables.* Python's hashes of numbers are no secret, so keys can be made that all have one hash, and a table of
them takes quadratic time. msgpack builds dicts before anybody can look. But its own types have some fifty values of one
hash at most: only what came as an extension (a large int, a tuple, a Decimal) has more. So a dict of many entries is
taken as it comes where the data has no extensions, and else its keys are looked at first, as those of a set are.
"""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Sequence
from typing import Any

import msgpack

from actorq.errors import CodecError
from actorq.wire import alone
from actorq.wire import extensions as ext
from actorq.wire.carried.outside import CODES, Behind
from actorq.wire.carried.registry import decoder_of, decoders
from actorq.wire.nesting import (
    COUNTED,
    FEW_EXTENSIONS,
    MOST_EXTENSIONS,
    SHALLOW_BYTES,
    TOO_DEEP,
    check_bytes,
    check_levels,
)

#: keys of one hash in a set or dict. Each is compared with all before it: with 128 that takes 1 to 2 us a key. Chance
#: makes few: of the powers of two up to 2**7800 as many have the same
_LONGEST_CHAIN = 128
_TOO_DEEP = f"The data is {TOO_DEEP}."
#: characters of a message, which may quote the data
_SHOWN = 300


def unpack(data: bytes | bytearray | memoryview) -> Any:
    """The value in `data`. Raises `CodecError` for bytes that are not one complete value of ours."""
    if len(data) >= alone.LARGE_BYTES:
        in_list = data[0] == alone.LIST_OF_ONE
        if (large := alone.unpacked(memoryview(data)[1:] if in_list else data)) is not None:
            return [large] if in_list else large
    try:
        return msgpack.unpackb(
            data, ext_hook=_OUTERMOST, strict_map_key=False, unicode_errors="surrogatepass", max_map_len=_LONGEST_CHAIN
        )
    except CodecError:
        raise
    except ValueError:  # damage, or a dict of more entries
        return _unpack_large(data)
    except Exception as error:  # hostile bytes can raise nearly anything from a type's constructor
        raise _no_value(error) from error


def _unpack_large(data: bytes | bytearray | memoryview) -> Any:
    """The same where a dict may be large: as it comes, if there is no extension in the data, else with a look at it."""
    try:
        return msgpack.unpackb(data, ext_hook=_none_expected, strict_map_key=False, unicode_errors="surrogatepass")
    except _ExtensionFoundError:
        pass
    except Exception as error:
        raise _no_value(error) from error
    try:
        return _LookingDecoder(0).unpack(data)
    except CodecError:
        raise
    except Exception as error:
        raise _no_value(error) from error


def _no_value(error: Exception) -> CodecError:
    if isinstance(error, (RecursionError, msgpack.StackError)):
        return CodecError(_TOO_DEEP)
    try:
        text = str(error)
    except Exception:  # an int in it has too many digits to be shown
        text = ""
    return CodecError(f"The data is not a value of actorq: {type(error).__name__}: {text:.{_SHOWN}}")


class _ExtensionFoundError(Exception):
    """The data holds an extension."""


def _none_expected(*_: Any) -> Any:
    raise _ExtensionFoundError


class _Decoder:
    """The ext hook of one message, which is the whole or an extension: carries the depth.

    Args:
        depth: extensions around it.
    """

    __slots__ = ("behind", "depth", "used")

    def __init__(self, depth: int) -> None:
        self.depth = depth
        #: what lies behind the message
        self.behind: Behind | None = None
        #: there was an extension in it
        self.used = False

    def __call__(self, code: int, data: bytes | memoryview) -> Any:
        self.used = True
        decoder = decoders.get(code)
        if decoder is None:
            if code in _BYTES:
                return self.whole(code, data)
            decoder = decoder_of(code)
        if self.depth >= MOST_EXTENSIONS:
            raise CodecError(_TOO_DEEP)
        inner = _Decoder(self.depth + 1)
        if code in CODES:
            data = inner.apart(data)
        if inner.depth > FEW_EXTENSIONS:
            value = _unpack_deep(data, self.depth, ext_hook=inner, max_map_len=_LONGEST_CHAIN)
        else:
            value = msgpack.unpackb(
                data, ext_hook=inner, strict_map_key=False, unicode_errors="surrogatepass", max_map_len=_LONGEST_CHAIN
            )
        if inner.used:
            self.check(code, value, data)
        return decoder(value)

    def apart(self, data: bytes | memoryview) -> memoryview:
        """The message that is to be unpacked of an extension that has bytes behind it."""
        self.behind = Behind(data)
        return self.behind.message

    def whole(self, code: int, data: Any) -> Any:
        """What is no message of its own in an extension."""
        if code == ext.UUID:
            return uuid.UUID(bytes=data)
        if code == ext.BIGINT:
            return int.from_bytes(data, "big", signed=True)
        if self.behind is None:
            raise CodecError("The data has bytes of a library's value outside of one.")
        return self.behind.next(int.from_bytes(data, "little"))

    def check(self, code: int, value: Any, data: bytes | memoryview) -> None:
        """Looks at an extension that has others in it, before it is made of `value`."""
        if self.depth == COUNTED and len(data) > SHALLOW_BYTES:
            check_levels(value)
        if code in _SETS:
            _check_hashes(value)


class _LookingDecoder(_Decoder):
    """The same; in place of the size of a dict it looks at its keys.

    `__call__` is written out a second time: one for both, with a method that unpacks, took 50 ns more an extension, of
    900 to 1,400.
    """

    def __call__(self, code: int, data: bytes | memoryview) -> Any:
        self.used = True
        decoder = decoders.get(code)
        if decoder is None:
            if code in _BYTES:
                return self.whole(code, data)
            decoder = decoder_of(code)
        if self.depth >= MOST_EXTENSIONS:
            raise CodecError(_TOO_DEEP)
        inner = _LookingDecoder(self.depth + 1)
        if code in CODES:
            data = inner.apart(data)
        value = inner.unpack(data)
        if inner.used:
            self.check(code, value, data)
        return decoder(value)

    def unpack(self, data: bytes | bytearray | memoryview) -> Any:
        """The message."""
        if self.depth > FEW_EXTENSIONS:
            return _unpack_deep(data, self.depth - 1, ext_hook=self, object_pairs_hook=self._dict)
        return msgpack.unpackb(
            data,
            ext_hook=self,
            strict_map_key=False,
            unicode_errors="surrogatepass",
            object_pairs_hook=self._dict,
        )

    def _dict(self, pairs: list[tuple[Any, Any]]) -> dict[Any, Any]:
        if self.used:
            _check_hashes([key for key, _ in pairs])
        return dict(pairs)


def _unpack_deep(data: bytes | bytearray | memoryview, depth: int, **options: Any) -> Any:
    """The message in an extension that lies in `depth` others, and so takes little of the C stack, of which a thread
    may have half a MB: `unpackb` takes 40 KB of it, this a microsecond more.
    """
    check_bytes(depth, len(data))
    unpacker = msgpack.Unpacker(
        None, strict_map_key=False, unicode_errors="surrogatepass", max_buffer_size=max(len(data), 1), **options
    )
    unpacker.feed(data)
    value = unpacker.unpack()
    if unpacker.tell() != len(data):
        raise CodecError("The data is more than one value.")
    return value


_BYTES = frozenset({ext.UUID, ext.BIGINT, ext.OUTSIDE})

#: every decoding begins with it. It is shared: that it was used says nothing
_OUTERMOST = _Decoder(0)


def _check_hashes(keys: Sequence[Any]) -> None:
    """Raises `CodecError` where too many of the keys have one hash."""
    if len(keys) <= _LONGEST_CHAIN:
        return
    hashes = list(map(hash, keys))
    same = len(hashes) - len(set(hashes))
    if same > _LONGEST_CHAIN and max(Counter(hashes).values()) > _LONGEST_CHAIN:
        raise CodecError(f"The data has a set or dict of {len(keys)} keys of which too many have the same hash.")


_SETS = frozenset({ext.SET, ext.FROZENSET})
