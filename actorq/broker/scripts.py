"""The server-side scripts, read once from `lua/`; `lua/_lib.lua` is put before each.

Every write of ours is one of these, and each may safely be sent twice: a reply that was lost is answered by sending
the same call again.
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha1
from pathlib import Path

_FOLDER = Path(__file__).parent / "lua"
_LIBRARY = (_FOLDER / "_lib.lua").read_bytes()


@dataclass(frozen=True, kw_only=True)
class Script:
    """One Lua script and the SHA-1 the server knows it by."""

    name: str
    text: bytes
    sha: str


def _load(name: str) -> Script:
    text = _LIBRARY + b"\n" + (_FOLDER / f"{name}.lua").read_bytes()
    return Script(name=name, text=text, sha=sha1(text, usedforsecurity=False).hexdigest())


SUBMIT = _load("submit")
NEXT = _load("next")
SYNC = _load("sync")
RENEW = _load("renew")
LOST = _load("lost")
CHECK = _load("check")
CLOSE = _load("close")
FAIL = _load("fail")
