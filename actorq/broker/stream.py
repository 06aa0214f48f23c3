"""The entries of a map's result stream."""

from __future__ import annotations

from actorq.base.log import logger
from actorq.broker import blobs
from actorq.broker.link import Link
from actorq.errors import CodecError
from actorq.wire.lease import NONE_RAN, Ended, HandedBack, Lives, Lost, Opened, Reopened, Report, Results, Stored
from actorq.wire.messages import DamagedFrameError, parse_frame
from actorq.wire.seal import unseal_results


def after(entry_id: bytes) -> bytes:
    """The least stream id after `entry_id`."""
    milliseconds, _, number = entry_id.partition(b"-")
    return b"%b-%d" % (milliseconds, int(number) + 1)


def parse_reports(
    entries: list[tuple[bytes, list[bytes]]], link: Link, environment: str, *, keep: bool = False
) -> list[Report]:
    """The entries as reports, without those that nobody of ours can have written.

    Args:
        entries: as the server gave them.
        link: fetches a large frame.
        environment: where the leases run, which their results are signed for.
        keep: large frames stay on the server, for other readers.
    """
    reports = []
    for _, fields in entries:
        try:
            reports.append(_parse(fields, link, environment, keep))
        except (ValueError, IndexError, TypeError, AttributeError):
            logger().warning("report_unreadable")
    return reports


def _parse(fields: list[bytes], link: Link, environment: str, keep: bool) -> Report:
    """The layouts are at the head of `lua/_lib.lua`."""
    lease, kind, value = fields[1].decode(), fields[2], fields[3]
    if kind == b"f":
        try:
            frame = parse_frame(unseal_results(environment, lease, blobs.receive(link, value, keep=keep)))
            return Results(lease=lease, frame=frame)
        except CodecError as error:
            replica = error.replica if isinstance(error, DamagedFrameError) else "?"
            return Lost(lease=lease, reason=str(error), position=None, replica=replica, damaged=True)
    if kind == b"c":
        return HandedBack(lease=lease, end=int(value))
    if kind == b"a":
        return Lives(lease=lease)
    if kind == b"o":
        return Opened(lease=lease, count=int(value.removesuffix(b"a")), alone=value.endswith(b"a"))
    if kind == b"e":
        return Ended(lease=lease, state=value.decode())
    if kind == b"r":
        return Reopened(lease=lease)
    if kind == b"n":
        return Stored(lease=lease)
    at = fields[5]
    position = NONE_RAN if at == b"-" else int(at) if at else None
    return Lost(lease=lease, reason=value.decode(errors="replace"), position=position, replica=fields[7].decode())
