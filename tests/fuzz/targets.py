"""What takes bytes from Redis, and what may become of them: nothing but the errors that are stated.

Each target makes a case, which is bytes, and tries it. Any exception out of a trial is a finding; so is one that takes
long, or much memory, or ends the process, see `running.py`.
"""

from __future__ import annotations

import atexit
import contextlib
import hashlib
import io
import json
import shutil
import tempfile
import time
import warnings
import zipfile
from collections.abc import Callable
from dataclasses import asdict
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgpack

from actorq import CodecError, PoolError
from actorq.base.masking import masked, printable, shown
from actorq.broker.blobs import REFERENCE
from actorq.broker.commands import iso_now
from actorq.broker.refusals import WrongTypeError
from actorq.broker.stream import parse_reports
from actorq.code import bundle
from actorq.declare.map_options import MapOptions
from actorq.declare.retry import Rules
from actorq.errors import TaskError
from actorq.maps.ledger import Ledger
from actorq.maps.sources import MemorySource
from actorq.monitor.metrics import queue_families
from actorq.monitor.view import environments
from actorq.replica.executor.direct import DirectRunner
from actorq.replica.executor.exchange import Exchange
from actorq.replica.executor.executor import Executor
from actorq.replica.executor.inputs import Packed, decoded
from actorq.replica.pages import PAGE_BYTES, Page
from actorq.replica.spec import ExecutorSpec
from actorq.replica.supervisor.registrar import Registrar
from actorq.wire import codec, failure
from actorq.wire.lease import HandedBack, Lives, Lost, Results
from actorq.wire.messages import CALL, ONE, STAR, Frame, Head, join, parse_frame
from tests.fuzz import work
from tests.fuzz.making import Maker

#: characters of a message, at most
_MESSAGE = 3000


def refused(action: Callable[[], Any], *errors: type[Exception]) -> tuple[bool, Any]:
    """Whether `action` has raised one of the errors it may raise, and what it has returned otherwise."""
    try:
        return False, action()
    except errors as error:
        message = str(error)
    assert len(message) <= _MESSAGE, "the message quotes too much of the data"
    return True, None


# Each `try_…` returns whether the case was taken for good.


def try_value(case: bytes) -> bool:
    bad, value = refused(lambda: codec.unpack(case), CodecError)
    if not bad:
        codec.unpack(codec.pack(value))  # what can be read can be sent on
    return not bad


def try_list(case: bytes) -> bool:
    refused(lambda: codec.unpack_each(case), CodecError)
    refused(lambda: [each.value() for each in decoded(memoryview(case))[0] if isinstance(each, Packed)], CodecError)
    bad, parts = refused(lambda: codec.split_list(case), CodecError)
    if bad:
        return False
    assert codec.split_list(codec.join_list(parts)) == parts
    if codec.list_header(case)[0] >= 0:
        assert codec.list_header(case)[0] == len(parts)
        assert codec.split_list(codec.concatenated([case, case])) == parts * 2
    return not refused(lambda: codec.unpack_list(case), CodecError)[0]


def make_frame(maker: Maker) -> bytes:
    random = maker.random
    outputs = maker.packed_list()
    count = random.choice((max(codec.list_header(outputs)[0], 0), 1, 3))
    errors: dict[Any, Any] = {}
    for at in range(count):
        if random.random() < 0.3 and len(errors) < 3:
            errors[random.choice((at, at, at, -1, 10**6, "0"))] = random.choice((maker.failure, maker.text))()
    frame = Frame(
        start=random.choice((0, 0, 0, 1)),
        count=count,
        busy=0.1,
        replica="r",
        errors=errors,
        outputs=outputs,
        other_code=random.choice((b"", b"", b"\x81\xa1a\xc4\x01b")),
    )
    with contextlib.suppress(UnicodeEncodeError):
        return random.choice((lambda data: data, lambda data: data, maker.damaged))(frame.packed())
    return b""


class Silent:
    """A connection that has nothing but the frame."""

    def __init__(self, frame: bytes) -> None:
        self._frame = frame

    def fetch(self, key: str, most: int) -> bytes | None:
        return self._frame if key.endswith("it") else None

    def send(self, *commands: bytes) -> None:
        """The blob is not needed any more."""


def try_frame(case: bytes) -> bool:
    bad, _ = refused(lambda: parse_frame(case), CodecError, PoolError)
    link: Any = Silent(case)
    ledger = Ledger(
        "m",
        MemorySource(iter(range(6)), 6),
        MapOptions(environment="e", head=Head(task="t"), rules=Rules(max_crashes=1)),
    )
    ledger._drawing.sizer.size = lambda remaining, replicas: 3  # type: ignore[method-assign]
    leases = ledger.offer(1, 0.0)
    entries = [(b"1-0", [b"l", lease.id.encode(), b"f", REFERENCE + b"aq:blob:it"]) for lease in leases]
    book(ledger, refused(lambda: parse_reports(entries, link, "e"), PoolError)[1] or [])
    return not bad


def book(ledger: Ledger, reports: list[Any]) -> None:
    """What the pump and the consumer do."""
    for report in reports:
        match report:
            case Results():
                ledger.results(report.lease, report.frame, 0.0)
            case HandedBack():
                ledger.handed_back(report.lease, report.end)
            case Lost():
                args = (report.lease, report.reason, report.position, report.replica, 0.0)
                ledger.lost(*args, damaged=report.damaged)
            case Lives():
                ledger.lives(report.lease)
    ledger.offer(2, 100.0)
    while (segment := ledger.take()) is not None:
        values, _ = segment.values()
        assert len(values) == segment.count


def make_entry(maker: Maker) -> bytes:
    random = maker.random
    kind = random.choice((b"f", b"c", b"x", b"a", b"?"))
    value = random.choice((maker.odd_text(), make_frame(maker), b"-1", b"%d" % random.randrange(9)))
    rest = [b"p", random.choice((b"", b"-", b"1", maker.odd_text())), b"w", maker.odd_text()]
    fields = [b"l", random.choice((b"m-1", maker.odd_text())), kind, value, *rest]
    return bytes(msgpack.packb(fields[: random.choice((8, 8, 8, 2, 5))]))


def try_entry(case: bytes) -> bool:
    fields = msgpack.unpackb(case)
    link: Any = Silent(b"")
    ledger = Ledger("m", MemorySource(iter(range(6)), 6), MapOptions(environment="e", head=Head(task="t")))
    for lease in ledger.offer(1, 0.0):
        fields[1] = lease.id.encode() if fields[1] == b"m-1" else fields[1]
    bad, reports = refused(lambda: parse_reports([(b"1-0", fields)], link, "e"), PoolError)
    book(ledger, reports or [])
    return not bad and bool(reports)


def make_lease(maker: Maker) -> bytes:
    random = maker.random
    kwargs = random.choice((b"", b"", codec.pack({"a": maker.value(2)}), maker.packed()))
    name = random.choice(("echo", "echo", "echo", "later", "none"))
    head = Head(task=f"tests.fuzz.work.{name}", mode=random.choice((ONE, STAR, CALL)), kwargs=kwargs, timeout=30.0)
    packed = head.packed()
    if random.random() < 0.3:
        fields = msgpack.unpackb(packed)
        fields[random.randrange(len(fields))] = maker.scalar()
        with contextlib.suppress(Exception):
            packed = bytes(msgpack.packb(fields, default=str))
    items = maker.packed_list() if random.random() < 0.7 else codec.pack([[[maker.value(2)], {}]] * 2)
    lease = join(packed, items)
    return maker.damaged(lease) if random.random() < 0.3 else lease


@cache
def scratch() -> Path:
    """A folder that goes with the program, also what a child that was killed has left in it."""
    folder = tempfile.mkdtemp(prefix="actorq-fuzz-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return Path(folder)


@cache
def executor() -> Executor[DirectRunner]:
    """One without a server."""
    spec = ExecutorSpec(
        url="redis://127.0.0.1:1/0",
        environment=work.env.name,
        workers=["w"],
        lease_seconds=2,
        isolation="none",
        scratch=str(scratch() / "w"),
    )
    return Executor(spec, "w", Page(memoryview(bytearray(PAGE_BYTES))), DirectRunner)


def try_lease(case: bytes) -> bool:
    return run_lease(b"m-1:1", case)


def run_lease(member: bytes, payload: bytes | bytearray) -> bool:
    _, frame, _ = executor()._work(member, payload)
    told = parse_frame(frame.packed())  # its submitter can read what it says
    for at, error in told.errors.items():
        failure.rebuild(error, index=at, attempt=1, replica="r")
    return not frame.errors


def make_mail(maker: Maker) -> bytes:
    random = maker.random
    lease = random.choice((b"m-1", maker.odd_text(), b"m" * random.choice((300, 400, 2000))))
    mail = b"\0".join((lease, random.choice((b"1", maker.odd_text())), b"1", make_lease(maker)))
    return maker.damaged(mail) if random.random() < 0.3 else mail


def try_mail(case: bytes) -> bool:
    link: Any = Silent(b"")
    exchange = Exchange(link, "fuzz", "w", 2.0, executor()._page, tidy=lambda: None)
    exchange._waits = True
    taken = exchange.mail(lambda: [b"aq:mail:w", case])
    return taken is not None and run_lease(*taken)


def make_bundle(maker: Maker) -> bytes:
    random, out = maker.random, io.BytesIO()
    with zipfile.ZipFile(out, "w", random.choice((0, 8, 8, 8, 14))) as packed:
        manifest = random.choice((b'{"modules": ["job"]}', b'{"modules": ["job"]}', b"[" * 5000, maker.odd_text()))
        packed.writestr(zipfile.ZipInfo(bundle._MANIFEST), manifest)
        for _ in range(random.randrange(4)):
            name = random.choice(("job.py", "a/b.py", "a", "../x", "/x", "a//b", "x" * 300, maker.text() or "x"))
            content = random.choice(
                (
                    b"x = 1",
                    random.randbytes(200),
                    bytes(random.choice((0, 10, 10**5, 3 << 20 if random.random() < 0.1 else 5))),
                )
            )
            with contextlib.suppress(UnicodeEncodeError), warnings.catch_warnings():
                warnings.simplefilter("ignore")  # names may be there twice
                packed.writestr(zipfile.ZipInfo(name.replace("\x00", "") or "x"), content, zipfile.ZIP_DEFLATED)
    return maker.damaged(out.getvalue()) if random.random() < 0.7 else out.getvalue()


def try_bundle(case: bytes) -> bool:
    code = hashlib.sha256(case).hexdigest()
    outside = Path(tempfile.mkdtemp(dir=scratch()))
    try:
        folder = outside / "scratch" / "code"
        bad, _ = refused(lambda: bundle.unpack(code, bundle._MAGIC + bytes(32) + case, folder), PoolError)
        found = [path for path in outside.rglob("*") if path.is_file() or path.is_symlink()]
        assert all(folder in path.parents for path in found), "it has written outside of its folder"
        assert sum(path.lstat().st_size for path in found) <= bundle._MAX_BYTES
        assert not (bad and found), "it has left something"
        return not bad
    finally:
        shutil.rmtree(outside)


def make_failure(maker: Maker) -> bytes:
    return codec.pack(maker.failure())


def try_failure(case: bytes) -> bool:
    error = failure.rebuild(codec.unpack(case), index=1, attempt=1, replica="r")
    assert isinstance(error, Exception)
    str(error), repr(error)
    return not isinstance(error, TaskError)


class Store:
    """A server of which anything may be odd: the hashes, lists and sets that status is made of."""

    def __init__(self, changes: list[tuple[bytes, bytes, bytes]]) -> None:
        now = time.time()
        self._data: dict[bytes, Any] = {
            b"rq:queues": {b"rq:queue:e"},
            b"rq:workers": {b"rq:worker:w"},
            b"rq:queue:e": [b"m-2"],
            b"rq:wip:e": {b"m-1:1"},
            b"rq:failed:e": set(),
            b"aq:maps:e": {b"m"},
            b"aq:map:m": {b"done": b"1", b"total": b"5", b"failed": b"0", b"task": b"t", b"started": b"%f" % now},
            b"rq:job:m-1": {b"worker_name": b"w", b"aq_map": b"m", b"description": b"t[0:5]"},
            b"rq:job:m-2": {b"description": b"t[0:5]", b"enqueued_at": iso_now()},
            b"rq:worker:w": {b"queues": b"e", b"birth": b"x", b"last_heartbeat": iso_now(), b"aq_position": b"3"},
        }
        for key, field, value in changes:
            if field == b"":
                self._data[key] = value
            elif isinstance(found := self._data.get(key), dict):
                found[field] = value
            elif isinstance(found, set):
                found.add(value)
            elif isinstance(found, list):
                found.append(value)

    def command(self, name: str, key: bytes | str, *args: Any) -> Any:
        key = key.encode() if isinstance(key, str) else key
        found = self._data.get(key)
        if name == "EXISTS":
            return int(found is not None)
        if name == "PTTL":
            return 40_000 if found is not None else -2
        wanted: Any = dict if name.startswith("H") else list if name.startswith("L") else set
        found = wanted() if found is None else found
        if not isinstance(found, wanted):
            raise WrongTypeError
        match name:
            case "HGETALL":
                return [part for pair in found.items() for part in pair]
            case "HGET" | "HMGET":
                values = [found.get(field if isinstance(field, bytes) else field.encode()) for field in args]
                return values if name == "HMGET" else values[0]
            case "LLEN" | "ZCARD" | "ZCOUNT":
                return len(found)
        return list(found)

    def pipeline(self, commands: Any) -> list[Any]:
        return [self.command(command[0].decode(), *command[1:]) for command in commands]


#: "" is the key itself
_FIELDS = [b"", *b"done total failed task started queues birth last_heartbeat aq_position aq_caches".split()]
_FIELDS += b"aq_state aq_inputs aq_restarts description enqueued_at worker_name aq_map".split()


def make_records(maker: Maker) -> bytes:
    random = maker.random
    known = sorted(Store([])._data)
    changes = [
        (random.choice(known), random.choice(_FIELDS), maker.odd_text()) for _ in range(random.choice((1, 1, 2, 6)))
    ]
    return bytes(msgpack.packb(changes))


def try_records(case: bytes) -> bool:
    link: Any = Store(msgpack.unpackb(case))
    views = environments(link)
    told = json.dumps([asdict(view) for view in views], ensure_ascii=False)
    json.loads(told, parse_constant=_no_constant)
    assert printable(told) == told
    for family in queue_families(views):
        for sample in family.samples:
            float(sample.value)
    return not any(view.problems for view in views)


def _no_constant(name: str) -> None:
    raise AssertionError(f"{name} is not JSON")


def make_command(maker: Maker) -> bytes:
    random = maker.random
    command: Any = random.choice(({"command": "stop-job", "job_id": "x"}, {"command": 5}, [], 5, None, {"a": "b"}))
    return random.choice((lambda data: data, maker.damaged))(json.dumps(command).encode())


def try_command(case: bytes) -> bool:
    heard: list[Any] = []
    watched = SimpleNamespace(command=lambda name, command: heard.append(command.get("command")))
    registrar: Any = SimpleNamespace(_watched=watched)
    Registrar._handler(registrar, "w")({"data": case})
    return bool(heard)


def make_text(maker: Maker) -> bytes:
    random = maker.random
    parts = (
        "redis://u:p@h ",
        "?password=",
        "token",
        "'",
        '"',
        "secret=",
        "\x1b[",
        "://",
        "@",
        " ",
        "\n",
        "a",
        "\udcff",
    )
    text = "".join(random.choice(parts) * random.choice((1, 1, 2, 100)) for _ in range(random.randrange(1, 20)))
    return text.encode(errors="surrogateescape") * (50 if random.random() < 0.02 else 1)


def try_text(case: bytes) -> bool:
    text = case.decode(errors="surrogateescape")
    masked(text)
    assert printable(printable(text)) == printable(text)
    json.dumps(shown({text: [text, {text: text}]})).encode()
    return True


#: name -> what makes a case, and what tries it
TARGETS: dict[str, tuple[Callable[[Maker], bytes], Callable[[bytes], bool]]] = {
    "values": (Maker.packed, try_value),
    "lists": (Maker.packed_list, try_list),
    "frames": (make_frame, try_frame),
    "entries": (make_entry, try_entry),
    "leases": (make_lease, try_lease),
    "mails": (make_mail, try_mail),
    "bundles": (make_bundle, try_bundle),
    "failures": (make_failure, try_failure),
    "records": (make_records, try_records),
    "commands": (make_command, try_command),
    "texts": (make_text, try_text),
}
