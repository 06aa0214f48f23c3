"""How deep a value may nest: one rule for packing and for unpacking.

msgpack bounds the levels of one message, to a thousand or half of it, by its version. An extension is a message of its
own, so it bounds nothing there: twenty thousand levels, in a hundred extensions, end the process when they are packed,
since the C stack is full. Hence two limits: so many extensions in one another, and, from the second one on, all levels
in it together are as many as msgpack allows in one message.

Unpacking holds a copy of each extension while it is in those that lie in it: 64 MiB in a hundred would take 6 GB. So
what lies in more than a few may have fewer bytes.
"""

from __future__ import annotations

from typing import Any

import msgpack

from actorq.errors import CodecError
from actorq.wire.carried.registry import content

#: extensions in one another: a set in a tuple in an object…
MOST_EXTENSIONS = 100
#: the extension in which all levels are counted: those that lie in one other
COUNTED = 1
#: bytes that cannot hold more levels than msgpack allows: each takes one
SHALLOW_BYTES = 500

#: what lies in more than so many extensions may have so many bytes
FEW_EXTENSIONS = 4
MOST_BYTES_DEEP = 4 << 20

TOO_DEEP = "nested too deeply"


def check_levels(value: Any) -> None:
    """Raises `CodecError` where `value` has more levels than one message of msgpack may have, its extensions included.

    msgpack counts them: it packs the value with plain lists in place of extensions.
    """
    try:
        msgpack.Packer(default=content, strict_types=True, unicode_errors="surrogatepass").pack(value)
    except ValueError as error:
        if "recursion" in str(error):
            raise CodecError(f"The value is {TOO_DEEP}, or contains itself.") from None


def check_bytes(depth: int, size: int) -> None:
    """Raises `CodecError` where an extension of `size` bytes, in `depth` others, is too large for that."""
    if size > MOST_BYTES_DEEP:
        raise CodecError(
            f"What is nested more than {depth} tuples, sets or objects deep has {size:,} bytes; at most "
            f"{MOST_BYTES_DEEP:,} may be: pass large parts further out."
        )
