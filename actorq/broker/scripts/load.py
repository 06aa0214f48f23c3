"""The server-side scripts, read once from `lua/`, with what they use of `lua/_lib.lua`.

Every write of ours is one of these, and each may safely be sent twice: a reply that was lost is answered by sending
the same call again.
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha1
from pathlib import Path

_FOLDER = Path(__file__).parents[1] / "lua"


@dataclass(frozen=True, kw_only=True)
class Script:
    """One Lua script and the SHA-1 the server knows it by."""

    name: str
    text: bytes
    sha: str


def _library() -> tuple[str, dict[str, tuple[list[str], str]]]:
    """What every script needs, and the parts by name: (parts they need, text)."""
    head, *parts = (_FOLDER / "_lib.lua").read_text(encoding="utf-8").split("\n--@ ")
    named = {}
    for part in parts:
        title, _, text = part.partition("\n")
        name, _, needs = title.partition(" < ")
        named[name] = (needs.split(), text)
    return head, named


def _load(name: str) -> Script:
    """Reads a script, and puts the parts of the library where its lines `-- uses: …` ask for them."""
    head, parts = _library()
    pieces, given = [head], set[str]()
    for line in (_FOLDER / f"{name}.lua").read_text(encoding="utf-8").split("\n"):
        pieces.append(line)
        if line.lstrip().startswith("-- uses:"):
            wanted = line.partition(":")[2].split()
            for part in wanted:
                wanted += [need for need in parts[part][0] if need not in wanted]
            pieces += [text for part, (_, text) in parts.items() if part in wanted and part not in given]
            if line.startswith("--"):  # not in a block
                given.update(wanted)
    text = "\n".join(pieces).encode()
    return Script(name=name, text=text, sha=sha1(text, usedforsecurity=False).hexdigest())


SUBMIT = _load("submit")
CALL = _load("call")
NEXT = _load("next")
SYNC = _load("sync")
RENEW = _load("renew")
BOOK = _load("book")
LOST = _load("lost")
CHECK = _load("check")
CLOSE = _load("close")
FAIL = _load("fail")
MAP_CANCEL = _load("map_cancel")
REPLICAS = _load("replicas")
RECALL = _load("recall")
UNCLAIM = _load("unclaim")
JOB_SPAWN = _load("job_spawn")
JOB_DUE = _load("job_due")
JOB_CANCEL = _load("job_cancel")
JOB_COUNT = _load("job_count")
JOB_RETRY = _load("job_retry")
RUN_CREATE = _load("run_create")
RUN_APPEND = _load("run_append")
RUN_LEAD = _load("run_lead")
RUN_NOTE = _load("run_note")
RUN_KEEP = _load("run_keep")
RUN_SEAL = _load("run_seal")
RUN_RETRY = _load("run_retry")
RUN_END = _load("run_end")
