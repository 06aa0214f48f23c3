"""Other systems, each in an environment and in processes of its own, which end with what started them."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from actorq.runtime.embedded import EmbeddedServer

ROOT = Path(__file__).parents[1]
_PEERS = ROOT / ".peers"


def python_of(name: str) -> Path:
    """The interpreter of the environment of that name."""
    return _PEERS / name / "bin" / "python"


def install(name: str, *wanted: str) -> None:
    """An environment of its own with what pip is asked for. Where that fails, what runs there will say so."""
    python = python_of(name)
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", _PEERS / name], check=True)
    subprocess.run(["nice", "-n", "10", python, "-m", "pip", "install", "--quiet", *wanted], check=False)


def output_of(command: Sequence[str], environment: Mapping[str, str], errors: int, timeout: float) -> tuple[str, int]:
    """What a program prints, and its status. It leads a process group, which ends with it.

    Args:
        command: the program.
        environment: its variables.
        errors: a descriptor, for what it says on stderr.
        timeout: seconds; one that takes longer has printed nothing.
    """
    process = subprocess.Popen(
        command, env=environment, cwd=ROOT, stdout=subprocess.PIPE, stderr=errors, text=True, start_new_session=True
    )
    try:
        return process.communicate(timeout=timeout)[0], process.returncode
    except subprocess.TimeoutExpired:
        return "", -signal.SIGKILL
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        if process.stdout is not None:
            process.stdout.close()


@contextlib.contextmanager
def redis_socket(*, wanted: bool) -> Iterator[str]:
    """The socket of a Redis server, "" where none is wanted."""
    if not wanted:
        yield ""
        return
    server = EmbeddedServer()
    server.wait_ready()
    try:
        yield server.url.removeprefix("unix://")
    finally:
        server.stop()
