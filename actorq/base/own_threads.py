"""The threads that keep a map: callbacks of the user's run in them, and must not wait for their own map."""

from __future__ import annotations

#: their `threading.get_ident()`
KEEPING: set[int] = set()
