"""Whatever a lease or a code bundle holds, it is that lease's error, and the replica lives on."""

from __future__ import annotations

import errno
import hashlib
import io
import json
import os
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgpack
import pytest

from actorq import PoolError
from actorq.code import bundle
from actorq.errors import DeclarationError
from actorq.replica.executor.direct import DirectRunner
from actorq.replica.executor.executor import Executor
from actorq.replica.executor.inputs import LARGE_BYTES, Packed, decoded
from actorq.replica.pages import CANCEL, NAME_BYTES, PAGE_BYTES, TIMEOUT, Page
from actorq.replica.spec import ExecutorSpec
from actorq.wire import codec, failure
from actorq.wire.messages import CALL, LENGTH, ONE, PROTOCOL, STAR, Frame, Head, join
from tests.support.code import tasks


@pytest.fixture
def executor(tmp_path: Path) -> Executor[DirectRunner]:
    """One that has no server: it is given its leases."""
    spec = ExecutorSpec(
        url="redis://127.0.0.1:1/0",
        environment=tasks.plain.name,
        workers=["w"],
        lease_seconds=2,
        isolation="none",
        scratch=str(tmp_path / "scratch"),
        bundles=True,
    )
    return Executor(spec, "w", Page(memoryview(bytearray(PAGE_BYTES))), DirectRunner)


def told(frame: Frame) -> list[tuple[str, str]]:
    """The type and the message of each error."""
    return [(str(error["type"]), str(error["message"])) for _, error in sorted(frame.errors.items())]


NAME = tasks.double.name
DOUBLE = Head(task=NAME)


def lease(head: Head | bytes = DOUBLE, items: bytes = b"\x91\x05") -> bytes:
    return join(head if isinstance(head, bytes) else head.packed(), items)


def head_of(*fields: Any) -> bytes:
    """A head whose first fields are these, and the others as they should be."""
    _, *rest = msgpack.unpackb(DOUBLE.packed())
    return bytes(msgpack.packb([PROTOCOL, *fields, *rest[len(fields) :]]))


@pytest.mark.parametrize(
    ("payload", "type_", "message"),
    [
        (b"", "CodecError", "cut short"),
        (b"\xff\xff\xff\xff" + b"aq:blob:gone", "CodecError", "cut short"),
        (lease(b""), "CodecError", "no readable head"),
        (lease(b"\x91" * 3000), "CodecError", "no readable head"),
        (lease(head_of(7, 0, b"", None, True, "")), "CodecError", "another kind"),
        (lease(head_of("t", 0, b"", float("nan"), True, "")), "CodecError", "another kind"),
        (lease(head_of("t", 9, b"", None, True, "")), "CodecError", "another kind"),
        (lease(head_of("t", 0, b"", None, True, "../../x")), "CodecError", "another kind"),
        (lease(msgpack.packb(["x" * 10**6])), "PoolError", "speaks protocol 'xxx"),
        (lease(head_of("t" * 10**6, 0, b"", None, True, "")), "PoolError", "declares no task"),
        (lease(head_of(NAME, 0, b"\xc1", None, True, "")), "CodecError", "not a value"),
        (lease(head_of(NAME, 0, b"\x91\x01", None, True, "")), "CodecError", "not a dict"),
        (lease(items=b""), "CodecError", "not a"),
        (lease(items=b"\x05"), "CodecError", "not a"),
        (lease(items=b"\xdd\xff\xff\xff\xff\x01"), "CodecError", "not a packed list"),
        (lease(items=b"\x91\xc1"), "CodecError", "not a value"),
        (lease(items=b"\x91\x05\x05"), "CodecError", ""),
        (lease(items=b"\x92\x05\x05\x05"), "CodecError", ""),
        (lease(items=codec.pack(range(10**12))), "CodecError", "not a"),
        (lease(Head(task=NAME, mode=STAR), b"\x91\x05"), "TypeError", ""),
        (lease(Head(task=NAME, mode=CALL), b"\x91\x90"), "IndexError", ""),
        (
            lease(Head(task=NAME, mode=STAR), codec.pack([range(10**12)])),
            "CodecError",
            "too long",
        ),
        (
            lease(Head(task=NAME, kwargs=codec.pack({1: 2}))),
            "TypeError",
            "keywords must be strings",
        ),
    ],
)
def test_a_lease_that_cannot_be_run_is_its_own_error(
    executor: Executor[DirectRunner], payload: bytes, type_: str, message: str
) -> None:
    member, frame, _ = executor._work(b"m-1:1", payload)
    assert (member, frame.count) == (b"m-1:1", 1)
    ((kind, text),) = told(frame)
    assert kind == type_
    assert message in text
    assert len(text) < 2000
    assert not executor._page.running


def test_an_input_that_cannot_be_decoded_fails_alone(executor: Executor[DirectRunner]) -> None:
    _, frame, _ = executor._work(b"m-1:1", lease(items=b"\x93\x05\xa1\xff\x07"))
    assert codec.unpack(frame.outputs) == [10, None, 14]
    assert list(frame.errors) == [1]


@pytest.mark.parametrize("length", [NAME_BYTES + 1, 1000, PAGE_BYTES, 10 * PAGE_BYTES])
def test_a_lease_whose_id_is_too_long_is_refused(executor: Executor[DirectRunner], length: int) -> None:
    page, name = executor._page, b"m-1".ljust(length, b"x")
    page.report(b"told")
    page.sent(b"sent:1", 0)
    _, frame, _ = executor._work(name, lease())
    assert told(frame) == [("PoolError", f"The id of a lease has {length} characters, and may have {NAME_BYTES}.")]
    assert (page.reported, page.unsettled, page.held) == (b"told", "sent:1", "")
    page.sent(name, 0)
    assert page.unsettled == ""
    page.hold(b"m" * NAME_BYTES)
    assert (page.held, page.reported) == ("m" * NAME_BYTES, b"told")


def test_a_lease_that_is_said_to_have_millions_of_inputs_is_refused_once(executor: Executor[DirectRunner]) -> None:
    items = b"\xdd" + (10**6).to_bytes(4, "big") + b"\xc0" * 10**6
    _, frame, _ = executor._work(b"m-1:1", lease(Head(task="nothing"), items))
    assert (frame.count, len(frame.errors)) == (1, 1)


def test_an_error_nobody_thought_of_is_the_error_of_its_lease(
    executor: Executor[DirectRunner], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(executor.runner.process.versions, "function", broken)
    _, frame, _ = executor._work(b"m-1:1", lease())
    assert told(frame) == [("PoolError", "The lease cannot be run: OSError: [Errno 28] No space left on device")]


# -- when inputs are decoded -------------------------------------------------------------------------------------------


def test_large_inputs_and_single_ones_are_decoded_when_they_run() -> None:
    large = "x" * LARGE_BYTES
    for values, whole in (([1, 2], True), ([1], False), ([large, large], False), ([large, *range(5000)], True)):
        inputs, found = decoded(memoryview(codec.pack(values)))
        assert found == whole
        assert [value.value() if isinstance(value, Packed) else value for value in inputs] == values
    assert decoded(memoryview(codec.pack(range(10)))) == (range(10), True)
    assert decoded(memoryview(b"\x90")) == ([], True)


def test_inputs_whose_decoding_takes_too_long_are_decoded_one_by_one(
    executor: Executor[DirectRunner], monkeypatch: pytest.MonkeyPatch
) -> None:
    """And each is stopped by its own timeout."""
    page, unpack, stopped = executor._page, codec.unpack, []

    def late(data: Any) -> Any:
        if data[-1:] == b"\x07":  # so the supervisor sees it
            assert page.running
            assert page.overdue[0] > 0
            assert page.overdue[1] == 5e8
            stopped.append(page.position)
            page.ask(TIMEOUT, page.input)
            executor.on_wake()
        return unpack(data)

    monkeypatch.setattr(codec, "unpack", late)
    _, frame, _ = executor._work(b"m-1:1", lease(Head(task=NAME, timeout=0.5), b"\x93\x05\x06\x07"))
    assert codec.unpack(frame.outputs) == [10, 12, None]
    assert frame.errors[2]["kind"] == failure.TIMEOUT
    assert stopped == [None, 2]


def test_what_a_lease_is_cancelled_for_while_it_is_decoded_does_not_run(
    executor: Executor[DirectRunner], monkeypatch: pytest.MonkeyPatch
) -> None:
    page, unpack = executor._page, codec.unpack

    def cancelled(data: Any) -> Any:
        page.ask(CANCEL, page.lease)
        executor.on_wake()
        return unpack(data)

    monkeypatch.setattr(codec, "unpack", cancelled)
    _, frame, _ = executor._work(b"m-1:1", lease(Head(task=NAME, timeout=0.5), b"\x92\x05\x06"))
    assert {error["kind"] for error in frame.errors.values()} == {failure.CANCELLED}


# -- bundles -----------------------------------------------------------------------------------------------------------

MANIFEST = json.dumps({"modules": ["job"]}).encode()


def archive_of(*files: tuple[str, bytes], compression: int = zipfile.ZIP_DEFLATED, manifest: bytes = MANIFEST) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", compression) as packed:
        for name, content in ((bundle._MANIFEST, manifest), *files):
            packed.writestr(name, content)
    return out.getvalue()


def lying(size: int) -> bytes:
    """An archive whose file is said to have `size` bytes, and has more."""
    archive = bytearray(archive_of(("job.py", b"x" * 10**6)))
    at = archive.rindex(b"PK\x01\x02") + 24
    archive[at : at + 4] = size.to_bytes(4, "little")
    return bytes(archive)


def link_to(target: str) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as packed:
        entry = zipfile.ZipInfo("link")
        entry.external_attr = 0o120777 << 16
        packed.writestr(entry, target)
        packed.writestr("link/evil.py", b"")
    return out.getvalue()


BAD_ARCHIVES: dict[str, Callable[[], bytes]] = {
    "no zip": lambda: b"certainly no zip",
    "nothing": lambda: b"",
    "half a zip": lambda: archive_of(("job.py", b"x" * 100))[:-30],
    "no manifest": lambda: archive_of(manifest=b""),
    "another manifest": lambda: archive_of(manifest=b"[]"),
    "modules of another kind": lambda: archive_of(manifest=b'{"modules": [1]}'),
    "modules that are paths": lambda: archive_of(manifest=b'{"modules": ["../x"]}'),
    "a manifest that is nested": lambda: archive_of(manifest=b"[" * 100_000),
    "outside": lambda: archive_of(("../evil.py", b"")),
    "absolute": lambda: archive_of(("/tmp/evil.py", b"")),
    "through a link": lambda: link_to("/tmp"),
    "a file that is a folder": lambda: archive_of(("a", b""), ("a/b", b"")),
    "a name that is too long": lambda: archive_of(("x" * 300, b"")),
    "shrinks too well": lambda: archive_of(("job.py", b"\n" * (4 << 20))),
    "many bytes": lambda: archive_of(("job.py", os.urandom(1 << 20) * 17), compression=zipfile.ZIP_STORED),
    "many files": lambda: archive_of(*((f"{i}.py", b"") for i in range(10_001))),
    "says it is small": lambda: lying(10),
    "says it is large": lambda: lying(1 << 31),
    "another way to compress": lambda: archive_of(("job.py", b"x" * 1000), compression=zipfile.ZIP_LZMA),
}


@pytest.mark.parametrize("kind", BAD_ARCHIVES)
def test_a_bundle_that_cannot_be_unpacked_is_an_error_of_its_map_and_leaves_nothing(kind: str, tmp_path: Path) -> None:
    archive = BAD_ARCHIVES[kind]()
    code = hashlib.sha256(archive).hexdigest()
    folder = tmp_path / "scratch" / "code"
    with pytest.raises(PoolError, match=f"code bundle {code[:12]} cannot be unpacked"):
        bundle.unpack(code, b"AQB1" + bytes(32) + archive, folder)
    assert [path.name for path in tmp_path.rglob("*")] in ([], ["scratch"])


def test_a_full_disk_is_an_error_of_the_map_and_the_next_one_is_unpacked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = archive_of(("package/__init__.py", b""), ("job.py", b"x = 1"))
    code, data = hashlib.sha256(archive).hexdigest(), b"AQB1" + bytes(32) + archive

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", full)
        with pytest.raises(PoolError, match="No space left on device"):
            bundle.unpack(code, data, tmp_path / "code")
    assert not (tmp_path / "code").exists()
    assert bundle.unpack(code, data, tmp_path / "code").modules == ["job"]
    assert (tmp_path / "code" / "package" / "__init__.py").exists()


def test_what_cannot_be_unpacked_is_not_packed(tmp_path: Path) -> None:
    file = tmp_path / "x.py"
    file.write_bytes(b"\n" * (4 << 20))
    with pytest.raises(DeclarationError, match="times as large as itself"):
        bundle._archive({"x.py": file}, MANIFEST)
    file.write_bytes(b"")
    with pytest.raises(DeclarationError, match="10,002 files"):
        bundle._archive({f"{i}.py": file for i in range(10_001)}, MANIFEST)


def test_modes_and_lengths_are_those_of_the_wire() -> None:
    """The leases above are made by hand."""
    assert (ONE, STAR, CALL, LENGTH.size) == (0, 1, 2, 4)
