"""Large messages in the memory of a host: whole or gone, bounded, and nobody else's."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from actorq.broker import nearby
from actorq.broker.nearby import Nearby, payload_name, results_name

MOST = 1 << 30


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(nearby, "_FREE", 0.0)  # the disk of this machine may be full
    return tmp_path


@pytest.fixture
def memory(folder: Path) -> Nearby:
    return Nearby(folder)


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_a_message_arrives_whole_and_goes_when_it_was_read(memory: Nearby, folder: Path) -> None:
    word = memory.put("i-m-1", (b"head", bytearray(b"body"), memoryview(b"tail"), b""))
    assert word
    assert memory.get("i-m-1", word, MOST, keep=True) == b"headbodytail"
    assert memory.get("i-m-1", word, MOST, keep=False) == b"headbodytail"
    assert memory.get("i-m-1", word, MOST, keep=False) is None
    assert names(folder) == {"f-0"}  # to be written again


def test_a_lease_that_is_sent_twice_has_the_reference_that_it_had(memory: Nearby, folder: Path) -> None:
    word = memory.put("i-m-1", (b"payload",))
    assert word
    assert memory.put("i-m-1", (b"payload",)) == word
    assert memory.get("i-m-1", word, MOST, keep=False) == b"payload"


def test_files_are_written_again_whatever_their_size_was(memory: Nearby, folder: Path) -> None:
    for size in (1000, 10, 0, 5000):
        name = payload_name(f"m-{size}")
        word = memory.put(name, (b"x" * size,))
        assert word
        inode = (folder / name).stat().st_ino
        assert memory.get(name, word, MOST, keep=False) == b"x" * size
        assert names(folder) == {"f-0"}
        assert (folder / "f-0").stat().st_ino == inode


def test_only_a_few_files_and_no_large_one_are_kept(
    memory: Nearby, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(nearby, "_LARGEST_FREE", 1000)
    made = [(f"i-{i}", memory.put(f"i-{i}", (b"x" * 100,))) for i in range(20)]
    large = memory.put("i-large", (b"x" * 1000,))
    memory.forget("i-large", *(name for name, _ in made))
    assert large
    assert names(folder) == {f"f-{i}" for i in range(8)}


def test_who_reads_what_was_written_over_meanwhile_finds_that_it_is_gone(
    memory: Nearby, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    word = memory.put("i-old", (b"old" * 1000,))
    assert word
    read = os.pread

    def held_up(file: int, size: int, offset: int) -> bytes:
        found = read(file, size, offset)
        if offset:
            memory.forget("i-old")
            assert memory.put("i-new", (b"new" * 1000,))  # into the same file
        return found

    monkeypatch.setattr(os, "pread", held_up)
    assert memory.get("i-old", word, MOST, keep=True) is None
    assert names(folder) == {"i-new"}


def test_where_there_is_no_room_a_message_goes_another_way(
    memory: Nearby, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(nearby, "_FREE", 1.0)
    assert memory.put("i-m", (b"x",)) is None
    monkeypatch.setattr(nearby, "_FREE", 0.0)

    def full(file: int, parts: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "writev", full)
    assert memory.put("i-m", (b"x",)) is None
    assert names(folder) == set()
    assert Nearby(folder / "gone").put("i-m", (b"x",)) is None


def test_a_read_that_is_cut_into_pieces_is_whole(memory: Nearby, monkeypatch: pytest.MonkeyPatch) -> None:
    word = memory.put("i-m", (b"0123456789", b"abcdefghij"))
    assert word
    read = os.pread
    monkeypatch.setattr(os, "pread", lambda file, size, offset: read(file, min(size, 7) if offset else size, offset))
    assert memory.get("i-m", word, MOST, keep=False) == b"0123456789abcdefghij"


def test_a_write_that_is_cut_into_pieces_is_whole(memory: Nearby, monkeypatch: pytest.MonkeyPatch) -> None:
    write = os.writev
    monkeypatch.setattr(os, "writev", lambda file, parts: write(file, [memoryview(parts[0])[:7]]))
    word = memory.put("i-m", (b"0123456789", b"abcdefghij"))
    assert word
    assert memory.get("i-m", word, MOST, keep=False) == b"0123456789abcdefghij"


@pytest.mark.parametrize("name", ["", "../x", "a/b", "i-\0", "x" * 300, "ä"])
def test_a_name_that_leads_elsewhere_is_refused(memory: Nearby, name: str) -> None:
    with pytest.raises(ValueError, match="no name"):
        memory.get(name, "", MOST, keep=True)


def test_a_link_is_not_followed_and_a_large_message_is_refused(memory: Nearby, folder: Path) -> None:
    (folder / "secret").write_bytes(b"x" * 100)
    (folder / "i-link").symlink_to(folder / "secret")
    assert memory.get("i-link", "", MOST, keep=True) is None
    with pytest.raises(ValueError, match="92 bytes; there may be 10"):
        memory.get("secret", "", 10, keep=True)


def test_the_end_of_a_map_leaves_what_is_of_others(memory: Nearby, folder: Path) -> None:
    for name in ("i-m-a1-1", "o-m-a1-1:1-7", "i-m-b2-1", "o-m-b2-1:1-7", "i-old", "o-old"):
        assert memory.put(name, (b"x",))
    for name in ("i-old", "o-old"):
        os.utime(folder / name, (0, 0))
    memory.forget("i-m-b2-1")
    memory.sweep("m-a1-")
    assert names(folder) == {"o-m-b2-1:1-7", "i-old"}  # inputs may wait for long


def test_each_frame_has_a_name_of_its_own() -> None:
    assert results_name("m-1:1") != results_name("m-1:1")


@pytest.mark.parametrize("spoil", [lambda made: made.chmod(0o755), lambda made: made.rmdir(), None])
def test_only_a_private_folder_beside_the_socket_is_used(spoil: Callable[[Path], None] | None, tmp_path: Path) -> None:
    made = nearby.make(tmp_path)
    assert made is not None
    try:
        url = f"unix://{tmp_path}/redis.sock"
        if spoil is not None:
            spoil(made)
        assert (nearby.of(url) is None) == (spoil is not None)
        assert nearby.of("redis://localhost:6379/0") is None
        assert nearby.of(f"unix://{tmp_path}/elsewhere/redis.sock") is None
    finally:
        nearby.of.cache_clear()
        if made.exists():
            made.rmdir()
