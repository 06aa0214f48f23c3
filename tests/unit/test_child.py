"""The parent's side of a forked child."""

from __future__ import annotations

import os
import socket

import pytest

from actorq.isolation.fork import child as module
from actorq.isolation.fork.child import Child, ChildDiedError, Reply, serve


def forked(*, replies: bool) -> Child:
    """A child that has ended, with or without a reply."""
    ours, theirs = socket.socketpair()
    pid = os.fork()
    if pid == 0:
        if replies:
            serve(theirs, lambda head, item: Reply(error=None, output=head + item))
        os._exit(7)
    theirs.close()
    child = Child(pid, ours, None)  # type: ignore[arg-type]  # a folder is its maker's affair
    if replies:
        child.send(b"a", b"b")
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    return child


def test_a_reply_is_taken_though_the_end_of_its_process_was_seen_first(monkeypatch: pytest.MonkeyPatch) -> None:
    child = forked(replies=True)
    monkeypatch.setattr(module, "ready", lambda sources, timeout: {sources[-1]})  # the process, not yet the socket
    reply = child.reply()
    assert reply is not None
    assert reply.output == b"ab"
    child.reap()


def test_an_end_without_a_reply_says_how() -> None:
    child = forked(replies=False)
    with pytest.raises(ChildDiedError, match="status 7"):
        child.reply()
    child.reap()


def test_no_reply_in_time_is_none() -> None:
    ours, theirs = socket.socketpair()
    pid = os.fork()
    if pid == 0:
        theirs.recv(1)
        os._exit(0)
    child = Child(pid, ours, None)  # type: ignore[arg-type]  # see above
    assert child.reply(0.01) is None
    theirs.close()
    child.reap()
