"""How a process ended is known, not guessed, and what it wrote last is kept."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from actorq.oneshot.ending import Stderr, oom_kills, reason, with_last_lines

SIGKILLED, SEGFAULTED = 9, 11


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("memory.events", "low 0\nhigh 0\nmax 12\noom 3\noom_kill {}\noom_group_kill 0\n"),
        ("memory/memory.oom_control", "oom_kill_disable 0\nunder_oom 0\noom_kill {}\n"),
    ],
    ids=["version 2", "version 1"],
)
def test_the_kernels_count_tells_a_kill_for_memory_from_another(tmp_path: Path, file: str, text: str) -> None:
    (tmp_path / file).parent.mkdir(exist_ok=True)
    (tmp_path / file).write_text(text.format(2))
    assert oom_kills(tmp_path) == 2
    assert reason(SIGKILLED, 2, tmp_path) == "killed by SIGKILL"
    told = reason(SIGKILLED, 1, tmp_path)
    assert told.startswith("needed more memory than its limit (OOMKilled)")
    assert told.endswith("(killed by SIGKILL)")


def test_where_the_kernel_does_not_count_it_stays_a_guess(tmp_path: Path) -> None:
    assert oom_kills(tmp_path) is None
    assert reason(SIGKILLED, None, tmp_path).startswith("killed by SIGKILL")
    assert reason(SEGFAULTED, None, tmp_path) == "killed by SIGSEGV"


def test_a_few_last_lines_are_kept_without_our_own_news() -> None:
    lines = [f"line {n}" for n in range(100)]
    told = with_last_lines("ended", "\n".join([*lines, '{"event": "x", "level": "info"}', "", ""]))
    assert told.startswith("ended. It wrote last:\nline 80\n")
    assert told.endswith("\nline 99")
    assert with_last_lines("ended", "one") == "ended: one"
    assert with_last_lines("ended", " \n") == "ended"
    assert '"error"' in with_last_lines("ended", '{"event": "x", "level": "error"}')
    assert '{"a": 1}' in with_last_lines("ended", '{"a": 1}')
    assert len(with_last_lines("ended", "x" * 100_000)) < 2100


def test_what_is_kept_shows_no_password_and_nothing_that_a_terminal_obeys() -> None:
    told = with_last_lines("ended", "\x1b[31mred\x1b[0m\nredis://me:hidden@host:6379/0")
    assert "\x1b" not in told
    assert "hidden" not in told
    assert "redis://me:***@host" in told


def test_a_child_that_writes_more_than_a_pipe_holds_is_not_held_up(capfd: pytest.CaptureFixture[str]) -> None:
    stderr = Stderr()
    child = os.fork()
    if child == 0:
        for _ in range(1000):
            os.write(stderr.write, b"x" * 999 + b"\n")
        os.write(stderr.write, b"\xff the end\n")
        os._exit(3)
    stderr.close_write()
    assert os.waitstatus_to_exitcode(stderr.wait(child)) == 3
    assert stderr.last.endswith("\N{REPLACEMENT CHARACTER} the end\n")
    stderr.close()
    assert capfd.readouterr().err.count("x") == 999_000


def test_a_grandchild_that_keeps_stderr_open_is_not_waited_for() -> None:
    stderr = Stderr()
    release, held = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(held)
        if os.fork() == 0:
            os.read(release, 1)  # until the test is over
            os._exit(0)
        os._exit(0)
    stderr.close_write()
    assert stderr.wait(child) == 0
    assert not stderr.ended
    stderr.close()
    os.close(held)
    os.close(release)
