"""Values as msgpack: what crosses between processes, and nothing that can run.

What arrives has the type and the content of what left, or is refused where it leaves, with a `CodecError` that says
where in the value it is and what to do. The one exception: msgpack itself takes a bytearray and a memoryview, and makes
bytes of them.

msgpack carries None, bool, int, float, str, bytes, list and dict, and those exactly. Extension types add what Python
users pass without thinking, see `carried/`. Objects of the user's own classes travel as a name and their state; a
receiver looks the name up among the modules it has already imported and builds the object without calling anything the
class defines, so bytes from Redis can neither import a module nor run code.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Sequence
from typing import Any, overload

import msgpack

from actorq.errors import CodecError, PayloadTooLargeError
from actorq.wire import alone
from actorq.wire import extensions as ext
from actorq.wire.carried.arrays import writable_arrays
from actorq.wire.carried.outside import CODES, Outside, joined
from actorq.wire.carried.registry import encoder_of, encoders, parts
from actorq.wire.decoding import unpack
from actorq.wire.nesting import COUNTED, FEW_EXTENSIONS, MOST_EXTENSIONS, TOO_DEEP, check_bytes, check_levels

__all__ = ["pack", "pack_list", "split_list", "unpack", "unpack_list", "writable_arrays"]

#: a packed list may be a range, which is no larger for having many elements: more than twice as many as a lease has
#: are none of ours
_LONGEST_RANGE = 1 << 16

#: the longest header of a list in msgpack
_HEADER_BYTES = 5

#: steps into a value that a message shows
_SHOWN_DEPTH = 20

#: packers that nobody uses just now; a new one costs as much as packing a small value. Who packs takes one out: a
#: packer must not be used inside itself, by an object's property, or by a signal handler
_spare: list[msgpack.Packer] = []
#: a packer keeps a buffer as large as the largest value it has packed
_SPARE_BYTES = 1 << 16

#: first bytes of an extension type in msgpack
_EXTENSIONS = frozenset(bytes([byte]) for byte in (0xC7, 0xC8, 0xC9, 0xD4, 0xD5, 0xD6, 0xD7, 0xD8))


def pack(value: Any) -> bytes:
    """`value` as msgpack. Raises `CodecError` that names the type that cannot be carried."""
    packing = _of_thread.packing
    before = packing.text
    try:
        # not `packb`, which takes several times as long for a small value
        return bytes(msgpack.Packer(default=_encode, strict_types=True, unicode_errors=before).pack(value))
    except UnicodeEncodeError:  # a file name that is not UTF-8 holds lone surrogates
        packing.text = "surrogatepass"
    except Exception as error:
        raise _not_packed(error) from None
    try:
        return bytes(msgpack.Packer(default=_encode, strict_types=True, unicode_errors=packing.text).pack(value))
    except Exception as error:
        raise _not_packed(error) from None
    finally:
        packing.text = before


def pack_list(values: Sequence[Any], limit: int, what: Callable[[int], str]) -> bytes:
    """A list, or a range as one, as msgpack.

    An element that cannot be carried, or is above `limit` bytes, is named by `what(position)`.
    """
    try:
        data = (alone.packed(values[0]) if len(values) == 1 else None) or _packed(values)
    except Exception:
        data = _packed_or_named(values, what)
    if len(data) > limit:
        for position, value in enumerate(values):
            if (size := len(pack(value))) > limit:
                raise PayloadTooLargeError(
                    f"{what(position)} is {size:,} bytes; the limit is {limit:,} (ACTORQ_MAX_PAYLOAD_BYTES). "
                    "Pass a path or a key to the data instead."
                )
    return data


def _packed(values: Sequence[Any]) -> bytes:
    try:
        packer = _spare.pop()
    except IndexError:
        packer = msgpack.Packer(default=_encode, strict_types=True)
    data: bytes = packer.pack(values)
    if len(data) < _SPARE_BYTES:
        _spare.append(packer)
    return data


def pack_each(values: Sequence[Any], limit: int, what: Callable[[int], str]) -> list[bytes]:
    """The elements, packed each: what `split_list` makes of `pack_list`, in a sixth of the time for small ones."""
    packer = msgpack.Packer(default=_encode, strict_types=True)
    try:
        parts: list[bytes] = list(map(packer.pack, values))
    except Exception:
        parts = split_list(_packed_or_named(values, what))
    if sum(map(len, parts)) > limit:
        pack_list(values, limit, what)  # names the one that is too large
    return parts


def _packed_or_named(values: Sequence[Any], what: Callable[[int], str]) -> bytes:
    """The list where only text that is not UTF-8 was in the way; else an error that names the element."""
    try:
        return pack(values)
    except CodecError:
        for position, value in enumerate(values):
            try:
                pack(value)
            except CodecError as error:
                raise CodecError(f"{what(position)}{where(value)} cannot be carried: {error}") from None
        raise


def where(value: Any) -> str:
    """Where in `value` the part is that cannot be carried, for a message; "" when it is the value itself."""
    steps: list[str] = []
    with contextlib.suppress(Exception):  # an object of the user's that refuses to be looked at: as far as we got
        while len(steps) < _SHOWN_DEPTH and (found := _bad_part(value)) is not None:
            steps.append(found[0])
            value = found[1]
    return f" at {''.join(steps)}" if steps else ""


def _bad_part(value: Any) -> tuple[str, Any] | None:
    """The first part of `value` that cannot be carried, and the step to it."""
    for step, part in parts(value):
        try:
            pack(part)
        except CodecError:
            return step, part
    return None


def unpack_list(data: bytes | bytearray | memoryview) -> list[Any]:
    """The list in `data`. Raises `CodecError` for anything else."""
    values = unpack(data)
    return values if type(values) is list else list(_sequence(values))


def unpack_sequence(data: bytes | bytearray | memoryview) -> list[Any] | range:
    """The list in `data`; what was packed as a range is one. Raises `CodecError` for anything else."""
    values = unpack(data)
    return values if type(values) is list else _sequence(values)


def unpack_each(data: bytes | bytearray | memoryview) -> tuple[list[Any] | range, bool]:
    """The same, in the place of an element that cannot be decoded its `CodecError`; whether there is none."""
    try:
        return unpack_sequence(data), True
    except CodecError:
        return [_value_or_error(part) for part in split_list(bytes(data))], False


def _sequence(values: Any) -> list[Any] | range:
    """`values`, where they are what a packed list may hold."""
    if isinstance(values, list) or (isinstance(values, range) and values[:_LONGEST_RANGE] == values):
        return values
    raise CodecError("The data is not a list.")


def _value_or_error(part: bytes) -> Any:
    try:
        return unpack(part)
    except CodecError as error:
        return error


def list_header(data: bytes | bytearray | memoryview) -> tuple[int, int]:
    """How many elements a packed list begins with, and the bytes that say so; (-1, 0) for what begins as no list."""
    first = data[0] if data else 0
    if first & 0xF0 == 0x90:
        return first & 0x0F, 1
    width = 2 if first == 0xDC else 4 if first == 0xDD else 0
    return (int.from_bytes(data[1 : 1 + width], "big"), 1 + width) if width and len(data) > width else (-1, 0)


def split_list(data: bytes) -> list[bytes]:
    """The elements of a packed list, still packed: nothing of the user's is decoded."""
    if data[:1] in _EXTENSIONS:
        return [pack(value) for value in unpack_list(data)]
    unpacker = msgpack.Unpacker(None, max_buffer_size=max(len(data), 1))
    unpacker.feed(data)
    parts, start = [], 0
    try:
        count = unpacker.read_array_header()
        start = unpacker.tell()
        for _ in range(count):
            unpacker.skip()
            end = unpacker.tell()
            parts.append(data[start:end])
            start = end
    except Exception as error:
        raise CodecError("The data is not a packed list.") from error
    if start != len(data):
        raise CodecError("The data is more than a packed list.")
    return parts


class PackedList(Sequence[bytes]):
    """What `split_list` makes of `data`, when somebody asks for an element; `join_list` takes it as it is.

    Raises `CodecError` for data that begin as no list.
    """

    def __init__(self, data: bytes) -> None:
        self.data = data
        self._count = len(unpack_sequence(data)) if data[:1] in _EXTENSIONS else list_header(data)[0]
        self._parts: list[bytes] | None = None
        if self._count < 0:
            raise CodecError("The data is not a packed list.")

    def __len__(self) -> int:
        return self._count

    @overload
    def __getitem__(self, at: int) -> bytes: ...
    @overload
    def __getitem__(self, at: slice) -> list[bytes]: ...
    def __getitem__(self, at: int | slice) -> bytes | list[bytes]:
        if self._parts is None:
            self._parts = split_list(self.data)
        return self._parts[at]


def join_list(parts: Sequence[bytes]) -> bytes:
    """The inverse of `split_list`."""
    if isinstance(parts, PackedList):
        return parts.data
    return bytes(msgpack.Packer().pack_array_header(len(parts))) + b"".join(parts)


def cut_list(data: bytes, at: int) -> tuple[bytes, bytes]:
    """A packed list as two, of which the first has `at` elements."""
    parts = split_list(data)
    return join_list(parts[:at]), join_list(parts[at:])


def concatenated(lists: Sequence[bytes]) -> bytes:
    """Packed lists as one."""
    count, bodies = 0, []
    for data in lists:
        unpacker = msgpack.Unpacker()
        unpacker.feed(data[:_HEADER_BYTES])
        count += unpacker.read_array_header()
        bodies.append(memoryview(data)[unpacker.tell() :])
    return b"".join([msgpack.Packer().pack_array_header(count), *bodies])


# -- encoding ---------------------------------------------------------------------------------------------------------


class _Packing:
    """The packing that is under way in a thread."""

    __slots__ = ("depth", "outside", "text", "uncounted")

    def __init__(self) -> None:
        #: extensions around what is packed just now
        self.depth = 0
        #: what is to lie behind the message of the extension that is packed just now
        self.outside: list[Outside] = []
        #: what lies in the extension whose levels are to be counted if there is one more in it
        self.uncounted: Any = None
        #: how text is encoded in all of the value: to begin anew in each extension would double the time at every level
        self.text: str | None = None


class _OfThread(threading.local):
    def __init__(self) -> None:
        self.packing = _Packing()


_of_thread = _OfThread()


def _not_packed(error: Exception) -> CodecError:
    """A property or an unset slot of the user's object may raise anything."""
    if isinstance(error, CodecError):
        return error
    if isinstance(error, RecursionError) or "recursion" in str(error).lower():
        return CodecError(f"The value is {TOO_DEEP}, or contains itself.")
    return CodecError(f"{type(error).__name__}: {error}")


def _ext(code: int, value: Any) -> msgpack.ExtType:
    packing = _of_thread.packing
    depth = packing.depth
    if depth >= COUNTED:
        _count(packing, value)
    packing.depth = depth + 1
    try:
        if code in CODES:
            data = _with_outside(packing, value)
        else:
            data = msgpack.Packer(default=_encode, strict_types=True, unicode_errors=packing.text).pack(value)
    finally:
        packing.depth = depth
        if depth == COUNTED:
            packing.uncounted = None
    if depth >= FEW_EXTENSIONS:
        check_bytes(depth, len(data))
    return msgpack.ExtType(code, data)


def _with_outside(packing: _Packing, value: Any) -> bytes:
    """The content of an extension, with what lies behind its message."""
    around, packing.outside = packing.outside, []
    try:
        data = msgpack.Packer(default=_encode, strict_types=True, unicode_errors=packing.text).pack(value)
        return joined(data, packing.outside)
    finally:
        packing.outside = around


def _outside(value: Outside) -> msgpack.ExtType:
    _of_thread.packing.outside.append(value)
    return msgpack.ExtType(ext.OUTSIDE, value.size.to_bytes(8, "little"))


encoders[Outside] = _outside


def _count(packing: _Packing, value: Any) -> None:
    """Raises `CodecError` when `value`, in so many extensions, is nested too deeply."""
    if packing.depth >= MOST_EXTENSIONS:
        raise CodecError(f"The value nests tuples, sets or objects more than {MOST_EXTENSIONS} deep.")
    if packing.depth == COUNTED:
        packing.uncounted = value
    elif packing.uncounted is not None:
        whole, packing.uncounted = packing.uncounted, None
        check_levels(whole)


def _encode(value: Any) -> msgpack.ExtType:
    """Called by msgpack for what it does not know: exact types first, then classes of the user's own."""
    kind = type(value)
    encoded = (encoders.get(kind) or encoder_of(kind))(value)
    return encoded if type(encoded) is msgpack.ExtType else _ext(*encoded)
