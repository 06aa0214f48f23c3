"""Runs the script and the commands of a page, each in a process of its own that leaves nothing behind."""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import psutil

from tests.conftest import eventually
from tests.docs.pages import ROOT, Page
from tests.support.free_ports import free_port

#: seconds a page may take
_PATIENCE = 50
#: the port that the pages name, for which another one stands here
_PORT = "6379"
#: stands between what one command prints and the next
_NEXT = "-- next command --"
#: set by a developer or by make, and not what a reader has
_NOT_OURS = ("ACTORQ_REDIS_URL", "MAKEFLAGS", "MAKELEVEL", "MFLAGS", "MAKEOVERRIDES")


def check_script(page: Page, folder: Path) -> None:
    """The page's script prints the lines that it is to print."""
    path = folder / f"page_{Path(page.name).stem.replace('-', '_')}.py"
    path.write_text(page.script, encoding="utf-8")
    _assert_in_order(page.printed, _run(page, [sys.executable, str(path)], folder))


def check_commands(page: Page, folder: Path) -> None:
    """Each command of the page prints the lines that it is to print."""
    for name, text in page.files.items():
        (folder / name).write_text(text, encoding="utf-8")
    shell = folder / "commands.sh"
    shell.write_text("\n".join(_shell([command for command, _ in page.commands])), encoding="utf-8")
    printed = _run(page, ["bash", str(shell)], folder).split(f"{_NEXT}\n")[1:]
    for (_, expected), lines in zip(page.commands, printed, strict=True):
        _assert_in_order(expected, lines)


def _assert_in_order(expected: list[str], printed: str) -> None:
    """`printed` has the expected lines, and maybe others among them."""
    lines = iter(line.strip() for line in printed.splitlines())
    for each in expected:
        assert each.strip() in lines, f"{each!r} does not come, or not in its place, in:\n{printed}"


def _shell(commands: list[str]) -> list[str]:
    """A script of them. What one of them leaves running in the background ends with it."""
    port = str(free_port())
    # with job control, so that Ctrl-C is not ignored in the background; it is what these programs end by
    lines = ["set -em", "trap 'for job in $(jobs -p); do kill -INT -- -$job; wait $job || true; done' EXIT"]
    for command in commands:
        here = re.sub(rf"\b{_PORT}\b", port, command)
        here = re.sub(r"^make ", f"make --no-print-directory -C {shlex.quote(str(ROOT))} ", here)
        lines += [f"echo '{_NEXT}'", here]
        if re.sub(r"\s+# .*", "", here).endswith("&") and f"--port {port}" in here:
            lines.append(f"until (exec 3<>/dev/tcp/127.0.0.1/{port}) 2>/dev/null; do sleep 0.05; done")
    return lines


def _run(page: Page, command: list[str], folder: Path) -> str:
    environment = {name: value for name, value in os.environ.items() if name not in _NOT_OURS}
    environment |= {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "PYTHONWARNINGS": "error",
        "COLUMNS": "120",
    }
    process = subprocess.Popen(
        command,
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        printed, _ = process.communicate(timeout=_PATIENCE)
    except subprocess.TimeoutExpired:
        for member in _members(process.pid):
            member.kill()
        printed, _ = process.communicate()
    left = [] if eventually(lambda: not _members(process.pid)) else _members(process.pid)
    for member in left:
        member.kill()
    assert process.returncode == 0, f"{page.name} ends with {process.returncode}:\n{printed}"
    assert left == [], f"{page.name} leaves processes behind"
    return printed


def _members(session: int) -> list[psutil.Process]:
    """The processes of a session."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, ProcessLookupError):
            if os.getsid(process.pid) == session and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
    return found
