"""What the memory watchdog measures, and when it stops an input."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from actorq.replica.supervisor import memory
from actorq.replica.supervisor.memory import Candidate, Cgroup, Processes, Watchdog, meter_of
from actorq.wire.failure import stopped_for

GIB = 1 << 30
MIB = 1 << 20
ME = Candidate(index=0, pid=os.getpid())


class Fake:
    """A meter that says what a test sets."""

    def __init__(self, limit: int, used: int = 0, inactive: int = 0) -> None:
        self.limit, self.used, self.inactive = limit, used, inactive
        self.exact_looks = 0

    def at_most(self, pids: Sequence[int]) -> int:
        return self.used

    def exactly(self, pids: Sequence[int]) -> int:
        self.exact_looks += 1
        return self.used - self.inactive


def tree(root: Path, cgroup: str, files: dict[str, str]) -> Path:
    for name, text in {"proc/self/cgroup": cgroup, **files}.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


@pytest.mark.parametrize(("limit", "left"), [(1 * GIB, GIB // 20), (4 * GIB, 4 * GIB // 20), (64 * GIB, 256 * MIB)])
def test_an_input_is_stopped_when_a_twentieth_is_left_or_256_mib(limit: int, left: int) -> None:
    watchdog = Watchdog(meter := Fake(limit), alone=True)
    meter.used = limit - left - MIB
    assert watchdog.look(0.0, [ME], [ME.pid]) is None
    meter.used = limit - left + MIB
    verdict = watchdog.look(1.0, [ME], [ME.pid])
    assert verdict is not None
    assert (verdict.victim, verdict.used, verdict.limit) == (ME, meter.used, limit)


def test_what_the_kernel_would_drop_first_does_not_count() -> None:
    watchdog = Watchdog(Fake(GIB, used=GIB, inactive=100 * MIB), alone=True)
    assert watchdog.look(0.0, [ME], [ME.pid]) is None


def test_the_exact_figure_is_read_only_when_the_quick_one_gives_reason_to() -> None:
    watchdog = Watchdog(meter := Fake(GIB, used=GIB // 2), alone=True)
    watchdog.look(0.0, [ME], [ME.pid])
    assert meter.exact_looks == 0


def test_the_further_from_the_limit_the_longer_until_the_next_look() -> None:
    watchdog = Watchdog(Fake(GIB, used=900 * MIB), alone=True)
    watchdog.look(0.0, [ME], [ME.pid])
    assert not watchdog.due(0.04)
    assert watchdog.due(0.06)
    watchdog = Watchdog(Fake(64 * GIB), alone=True)
    watchdog.look(0.0, [ME], [ME.pid])
    assert not watchdog.due(0.9)
    assert watchdog.due(1.0)


def test_a_program_that_fills_its_container_has_no_input_stopped_for_it() -> None:
    assert Watchdog(Fake(64 * GIB, used=64 * GIB), alone=False).look(0.0, [ME], [ME.pid]) is None
    assert Watchdog(Fake(64 * GIB, used=64 * GIB), alone=True).look(0.0, [ME], [ME.pid]) is not None


def test_the_input_whose_executor_holds_most_is_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    held = {1: 10 * MIB, 2: 900 * MIB, 3: 20 * MIB}
    monkeypatch.setattr(memory, "tree_bytes", lambda pid, of_one: held[pid])
    running = [Candidate(index=pid - 1, pid=pid) for pid in held]
    verdict = Watchdog(Fake(GIB, used=GIB), alone=True).look(0.0, running, list(held))
    assert verdict is not None
    assert verdict.victim.pid == 2


def test_another_input_is_stopped_only_after_the_memory_of_the_first_has_come_back() -> None:
    watchdog = Watchdog(Fake(GIB, used=GIB), alone=True)
    assert watchdog.look(0.0, [ME], [ME.pid]) is not None
    assert not watchdog.due(0.4)
    assert watchdog.due(0.5)


def test_half_of_the_reserve_gone_leaves_no_time_to_wait() -> None:
    watchdog = Watchdog(meter := Fake(1000 * MIB, used=960 * MIB), alone=True)
    assert not watchdog.critical([ME.pid])
    meter.used = 980 * MIB
    assert watchdog.critical([ME.pid])


_STAT = {
    2: f"anon 5\ninactive_file {30 * MIB}\nactive_file 7\n",
    1: f"inactive_file 1\ntotal_inactive_file {30 * MIB}\n",
}


@pytest.mark.parametrize("folder", ["sys/fs/cgroup", "sys/fs/cgroup/pod/box"])
def test_version_2_is_read_where_the_container_sees_it(tmp_path: Path, folder: str) -> None:
    files = {"memory.max": f"{GIB}\n", "memory.current": f"{100 * MIB}\n", "memory.stat": _STAT[2]}
    root = tree(tmp_path, "0::/pod/box\n", {f"{folder}/{name}": text for name, text in files.items()})
    meter = meter_of(None, root)
    assert isinstance(meter, Cgroup)
    assert (meter.limit, meter.at_most([]), meter.exactly([])) == (GIB, 100 * MIB, 70 * MIB)


def test_version_1_is_read_too(tmp_path: Path) -> None:
    files = {"memory.limit_in_bytes": f"{GIB}\n", "memory.usage_in_bytes": f"{100 * MIB}\n", "memory.stat": _STAT[1]}
    folder = "sys/fs/cgroup/memory"
    root = tree(tmp_path, "4:memory:/pod\n0::/\n", {f"{folder}/{name}": text for name, text in files.items()})
    meter = meter_of(None, root)
    assert isinstance(meter, Cgroup)
    assert (meter.limit, meter.exactly([])) == (GIB, 70 * MIB)


@pytest.mark.parametrize(
    ("cgroup", "file", "text"),
    [
        ("0::/\n", "sys/fs/cgroup/memory.max", "max\n"),
        ("4:memory:/\n0::/\n", "sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n"),
        ("0::/\n", "sys/fs/cgroup/other", ""),
    ],
)
def test_without_a_limit_nothing_is_watched(tmp_path: Path, cgroup: str, file: str, text: str) -> None:
    assert meter_of(None, tree(tmp_path, cgroup, {file: text})) is None
    assert meter_of(None, tmp_path / "not-linux") is None


def test_a_limit_that_was_set_counts_the_processes(tmp_path: Path) -> None:
    meter = meter_of(GIB, tmp_path)
    assert isinstance(meter, Processes)
    assert meter.exactly([ME.pid]) <= meter.at_most([ME.pid])
    assert meter.at_most([ME.pid]) > 10 * MIB
    assert meter.at_most([ME.pid, 0]) >= meter.at_most([])


def test_the_message_says_how_much_there_was_and_what_to_do() -> None:
    assert stopped_for(int(3.9 * GIB), 4 * GIB) == (
        "stopped: its replica used 3.9 GiB of the 4.0 GiB there are; "
        "give the replica more memory or the input less work"
    )
    assert stopped_for(250 * MIB, 300 * MIB, killed=True).startswith("killed: its replica used 250 MiB of the 300 MiB")


def test_between_two_exact_looks_the_difference_is_taken_off(monkeypatch: pytest.MonkeyPatch) -> None:
    """Processes that share pages: the quick figure counts them for each, the exact one takes its time."""
    clock = iter([0.0, 0.02, 1.0, 1.02])
    monkeypatch.setattr(time, "perf_counter", lambda: next(clock))
    watchdog = Watchdog(meter := Fake(GIB, used=GIB, inactive=200 * MIB), alone=True)
    for now in (0.0, 0.1, 1.9):
        assert watchdog.look(now, [ME], [ME.pid]) is None
    assert meter.exact_looks == 1
    watchdog.look(2.1, [ME], [ME.pid])
    assert meter.exact_looks == 2
    meter.used += 180 * MIB  # above the limit even so: looked at exactly, and at once
    meter.inactive = 100 * MIB
    clock = iter([2.0, 2.02])
    monkeypatch.setattr(time, "perf_counter", lambda: next(clock))
    assert watchdog.look(2.2, [ME], [ME.pid]) is not None
