"""The lines above and below the tables: the server, what is the matter, and what to do where nothing is there.

The one idea: each is a sentence made of a picture and the time, so that each can be tested.
"""

from __future__ import annotations

from collections.abc import Sequence

from actorq.base.amounts import size, span, whole_span
from actorq.monitor.server import ServerView
from actorq.terminal.picture import Picture, Scope
from actorq.terminal.words import Span

#: looks are made every second: from this age on, seconds, something is slow
STALE_SECONDS = 4.0
_KEPT = {"aof": "append-only file", "rdb": "snapshots", "none": "nothing on disk"}
#: part of the memory from which it is worth a look
_NEARLY = 0.8


def server_line(server: ServerView, scope: Scope) -> list[Span]:
    """What is known of the server."""
    parts = [Span(server.address, "strong")]
    if server.version:
        parts.append(Span(server.version))
    if server.used_bytes is not None:
        full = bool(server.limit_bytes) and server.used_bytes > _NEARLY * server.limit_bytes
        of = f" of {size(server.limit_bytes)}" if server.limit_bytes else ""
        parts.append(Span(f"{size(server.used_bytes)}{of}", "warn" if full else ""))
    if server.clients is not None:
        parts.append(Span(f"{server.clients:,} clients"))
    if server.persistence:
        parts.append(Span(_KEPT[server.persistence], "warn" if server.persistence == "none" else ""))
    if scope.environment:
        parts.append(Span(f"only {scope.environment}", "strong"))
    return [span for part in parts for span in (Span("  ·  ", "dim"), part)][1:]


def trouble_line(picture: Picture | None, away: str, address: str, now: float) -> Span | None:
    """What is the matter with what is shown; None for nothing.

    Args:
        picture: the last look that was answered.
        away: why the one after it was not, "" where it was.
        address: of the server, as it may be shown.
        now: monotonic seconds.
    """
    away = away.removeprefix(address).strip()  # which stands above
    if picture is None:
        told = f"Server away, tried every second. {away}" if away else f"Asking {address} …"
        return Span(told, "bad" if away else "warn")
    old = now - picture.taken
    if away:
        return Span(f"Server away, tried every second; this is {whole_span(old)} old. {away}", "bad")
    if old >= STALE_SECONDS:
        return Span(f"Data {span(old)} old: the server, or the way to it, is slow.", "warn")
    if picture.server.suspended:
        return Span("Paused: no replica takes anything more. Press p to go on.", "warn")
    return None


def nothing_yet(picture: Picture | None, address: str) -> Sequence[str]:
    """What stands in place of the environments."""
    if picture is None:
        return ("nothing is known yet",)
    return (
        "Nothing here yet. Start a worker for a module with tasks,",
        f"  actorq worker MODULE --redis-url {address}",
        "and it shows as soon as it has registered.",
    )


HELP = """\
Tab, Shift+Tab   the next table, the one before
arrows, PgUp/Dn  select a row
Enter            of a failure: its traceback and input
                 of a map: only its failures
                 of an environment: only that one
                 of a replica: what it holds
t                traceback and input of the selected failure
f                only failures of the selected map; again: all
c                cancel the selected map or run; asks first
r                run again what failed of the selected run
p                pause all replicas, or go on; asks first
e, /             choose an environment
q                quit

The rate is that of the last ten seconds. Red in a bar has failed.
A replica whose last word is older than its lease is stale."""
