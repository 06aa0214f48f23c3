"""`actorq server`: a Redis server with the settings that actorq needs, for people without one."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import NoReturn

import click

from actorq.cli.options import say

_LOOPBACK = ("127.0.0.1", "::1", "localhost")


@click.command(short_help="Run a Redis server with the settings that actorq needs.")
@click.option(
    "--dir",
    "folder",
    type=click.Path(file_okay=False, path_type=Path),
    help="A folder where it keeps what it knows (an append-only file).  [default: it forgets all when it ends]",
)
@click.option("--port", type=click.IntRange(1, 65535), default=6379, show_default=True, help="Port to listen on.")
@click.option(
    "--host", default="127.0.0.1", show_default=True, help="Address to listen on; beyond this machine with a password."
)
@click.option(
    "--password-file", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="A file with its password."
)
@click.option("--max-memory", help="Refuse writes beyond this, as in 4gb.  [default: no limit]")
def server(folder: Path | None, port: int, host: str, password_file: Path | None, max_memory: str | None) -> None:
    """Run a server until Ctrl-C or SIGTERM. Programs and workers use it with the ACTORQ_REDIS_URL that it prints.

    It never drops keys to make room, which would lose work: where its memory is full it refuses writes, and maps wait.
    With --dir each write is in an append-only file within a second.
    """
    from actorq.runtime.embedded import lock_state, server_binary

    password = password_file.read_text().strip() if password_file is not None else ""
    if host not in _LOOPBACK and not password:
        raise click.UsageError(f"--host {host} lets other machines in: give --password-file.")
    if folder is not None:
        os.set_inheritable(lock_state(folder), True)  # the server holds it until it ends
    hidden = ":PASSWORD@" if password else ""
    kept = f"keeps what it knows in {folder}" if folder is not None else "forgets all when it ends (see --dir)"
    say(f"The server {kept}. For programs and workers:")
    shown = f"[{host}]" if ":" in host else host
    say(f"  ACTORQ_REDIS_URL=redis://{hidden}{shown}:{port}/0")
    sys.stdout.flush()
    _become(server_binary(), _settings(folder, port, host, password, max_memory))


def _settings(folder: Path | None, port: int, host: str, password: str, max_memory: str | None) -> str:
    """A file of settings, as the server reads it: on its command line all of this machine would see the password."""
    settings = {
        "bind": host,
        "port": str(port),
        "save": '""',
        "appendonly": "no" if folder is None else "yes",
        "appendfsync": "everysec",
        "maxmemory-policy": "noeviction",
        "loglevel": "warning",
    }
    if folder is not None:
        settings["dir"] = _quoted(str(folder.resolve()))
    if password:
        settings["requirepass"] = _quoted(password)
    if max_memory:
        settings["maxmemory"] = max_memory
    return "".join(f"{name} {value}\n" for name, value in settings.items())


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _become(program: str, settings: str) -> NoReturn:
    """Runs the server in place of this process: signals are its own, and nothing stays when it is killed."""
    reader, writer = os.pipe()
    os.write(writer, settings.encode())  # fits into a pipe
    os.close(writer)
    os.dup2(reader, 0)
    os.execv(program, ["actorq-server", "-"])
