"""The extension types of the wire format: what msgpack has no type for. Never reuse a code."""

from __future__ import annotations

TUPLE, SET, FROZENSET = 1, 2, 3
DATETIME, DATE, TIME, TIMEDELTA = 4, 5, 6, 7
DECIMAL, UUID, PATH, COMPLEX, BIGINT = 8, 9, 10, 11, 12
ENUM, DATACLASS, NDARRAY, NPSCALAR, PYDANTIC = 13, 14, 15, 16, 17
ZONED, RANGE = 18, 19
NAMEDTUPLE, PUREPATH, TIMEZONE, MASKED = 20, 21, 22, 23
EXCEPTION, UNSENT, REGISTERED = 24, 25, 26
