"""`actorq run-input`: the one process of a regular task's pod.

    parent (process 1): fetches the input, watches, commits ◀── pipe ── child: imports the task, runs the input

The parent runs no user code, so a child that crashes, hangs or is killed for its memory is told at once and by name,
with the last lines of its stderr; what the child leaves behind is reaped by it. It may be run twice (a pod can be
replaced): the first result counts.
"""

from __future__ import annotations

import os
import select
import signal
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

from actorq.base.log import logger
from actorq.base.settings import settings
from actorq.broker import blobs, pod_inputs
from actorq.broker.link import MOST_REPLY_BYTES, Link
from actorq.broker.records import map_lives
from actorq.code.bundle import Unpacked, fetch, unpack
from actorq.code.importing import Target
from actorq.errors import ActorqError, DeclarationError
from actorq.oneshot import pipe as pipes
from actorq.oneshot.ending import Stderr, oom_kills, reason, with_last_lines
from actorq.oneshot.entry import run_input
from actorq.replica.spec import MAP_GONE, TERMINATED, ZygoteSpec
from actorq.replica.start.zygote import prepare_process
from actorq.wire import codec, failure
from actorq.wire.messages import Frame, parse_frame, parse_head, split
from actorq.wire.seal import body, seal_results, unseal

#: one wait for the input, seconds; then it is asked whether the map still lives
_WAIT_SECONDS = 10
#: a map that the server does not know at so many looks, one a second, is gone: its submitter may be stalled for longer
#: than the map's key lives, or the server may have come back empty
_GONE_LOOKS = 60
#: seconds to keep trying an unreachable server, or one that does not know the login: the submitter makes it again
_PATIENCE = 120.0
#: settings of the parent's that the child has no use for
_OF_PARENT = ("ACTORQ_REDIS_URL", "ACTORQ_MAP_KEYS")


def main() -> int:
    """Runs the input of this pod; returns the exit status. Raises `ActorqError` when the server cannot be used."""
    _on_stop(_leave)
    map_id, job = os.environ["ACTORQ_MAP"], os.environ["ACTORQ_JOB"]
    index = os.environ["JOB_COMPLETION_INDEX"]
    url = settings().redis_url
    if url is None:
        raise DeclarationError("The pod has no server: ACTORQ_REDIS_URL_FILE names the file that holds its address.")
    link = Link(
        url,
        patience=_PATIENCE,
        reply_timeout=3 * _WAIT_SECONDS,
        stubborn=True,
        most=blobs.most_bytes() + MOST_REPLY_BYTES,  # the input comes in the reply
    )
    taken = None
    while taken is None:
        taken = pod_inputs.take(link, map_id, job, index, _WAIT_SECONDS)
        if not _lives(link, map_id):  # also before a first try: nobody would take its result
            logger().warning("map_gone", map=map_id)
            return MAP_GONE
    lease, payload = taken
    pod = os.environ.get("ACTORQ_POD_NAME") or socket.gethostname()  # of a Job's pod the host's name is another one
    logger().info("input_started", lease=lease)
    with tempfile.TemporaryDirectory(prefix="actorq-code-") as folder:
        outcome = _run(payload, pod, lease, _fetch_code(link, lease, payload, Path(folder)))
    if outcome is None:
        return TERMINATED
    if not _lives(link, map_id):
        logger().warning("map_gone", map=map_id)
        return MAP_GONE
    if isinstance(outcome, bytes):
        parts = seal_results(os.environ["ACTORQ_ENVIRONMENT"], lease, (outcome,))
        pod_inputs.report_results(link, map_id, lease, parts)
    else:
        logger().warning("input_lost", lease=lease, reason=outcome)
        pod_inputs.report_loss(link, map_id, lease, outcome, pod)
    link.close()
    return 0


def _lives(link: Link, map_id: str) -> bool:
    """Whether the map is still wanted."""
    for _ in range(_GONE_LOOKS):
        if map_lives(link, map_id):
            return True
        time.sleep(1.0)
    return False


def _fetch_code(link: Link, lease: str, payload: bytes, folder: Path) -> Unpacked | None:
    """The code that came with the map, unpacked into `folder`; None where it is in the image."""
    code = parse_head(unseal(os.environ["ACTORQ_ENVIRONMENT"], lease, payload)[0]).code
    if not code:
        return None
    return unpack(code, fetch(code, link), folder, vouched=settings().map_keys is not None)


def _run(payload: bytes, pod: str, lease: str, code: Unpacked | None) -> bytes | str | None:
    """The frame of the input's result, or why there is none; None when the pod was told to stop first."""
    timeout = parse_head(split(body(payload))[0]).timeout
    read, write = os.pipe()
    stderr, kills = Stderr(), oom_kills()
    sys.stdout.flush()
    child = os.fork()
    if child == 0:
        os.close(read)
        os.setpgid(0, 0)
        os.dup2(stderr.write, 2)
        stderr.close_write()
        stderr.close()
        _child(payload, pod, lease, write, code)
    os.close(write)
    stderr.close_write()
    stopped = threading.Event()

    def stop(*_: object) -> None:
        stopped.set()
        _kill(child)

    _on_stop(stop)
    data, timed_out = _read(read, stderr, None if timeout is None else time.monotonic() + timeout)
    os.close(read)
    if timed_out:
        _kill(child)
    status = stderr.wait(child)
    _kill(child)  # and what it left behind
    stderr.close()
    _on_stop(_leave)
    if timed_out:
        return _late(with_last_lines(f"stopped after its timeout of {timeout:g} s", stderr.last), pod)
    if not pipes.is_whole(data):
        return None if stopped.is_set() else with_last_lines(reason(status, kills), stderr.last)
    frame = bytes(pipes.message_in(data))
    parse_frame(frame)
    return frame


def _late(message: str, pod: str) -> bytes:
    """The frame of an input that took too long."""
    errors = {0: failure.described(failure.TIMEOUT, message)}
    return Frame(start=0, count=1, busy=0.0, replica=pod, errors=errors, outputs=codec.pack([None])).packed()


def _read(pipe: int, stderr: Stderr, deadline: float | None) -> tuple[bytearray, bool]:
    """All that the child says, and whether it took too long. Its stderr is passed on meanwhile."""
    data = bytearray()
    while True:
        left = None if deadline is None else max(0.0, deadline - time.monotonic())
        sources = [pipe] if stderr.ended else [pipe, stderr.fileno()]
        found = select.select(sources, [], [], left)[0]
        stderr.pass_on()
        if pipe not in found:
            if left == 0.0:
                return data, True
            continue
        chunk = os.read(pipe, 1 << 20)
        if not chunk:
            return data, False
        data += chunk
        if pipes.is_whole(data):
            return data, False


def _child(payload: bytes, pod: str, lease: str, write: int, code: Unpacked | None) -> None:
    """Runs the user's code and ends the process."""
    status = 1
    try:
        _on_stop(signal.SIG_DFL)
        modules = os.environ["ACTORQ_MODULES"].split() if code is None else code.modules
        targets = [Target(name=module) for module in modules]
        sys.path.insert(0, str(Path.cwd() if code is None else code.folder))
        spec = ZygoteSpec(targets=targets, environment=os.environ["ACTORQ_ENVIRONMENT"], path=sys.path, argv=[""])
        prepare_process(spec)
        for secret in _OF_PARENT:
            os.environ.pop(secret, None)
            os.environ.pop(f"{secret}_FILE", None)
        frame = run_input(spec, payload, pod, lease)
        pipes.say(write, frame.packed())
        sys.stdout.flush()
        status = 0
    except ActorqError as error:
        sys.stderr.write(f"{error}\n")
    finally:
        os._exit(status)


def _on_stop(handler: signal.Handlers | Callable[..., None]) -> None:
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, handler)


def _leave(*_: object) -> None:
    """Told to stop while no input runs. Process 1 of a pod would ignore it otherwise."""
    sys.exit(TERMINATED)


def _kill(child: int) -> None:
    try:
        os.killpg(child, signal.SIGKILL)
    except ProcessLookupError:
        return
