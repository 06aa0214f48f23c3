"""The process beside a worker's replicas that drives runs.

    python -m actorq.runs.process ENVIRONMENT FORMAT LEVEL     (stdin is the lifeline: its end ends everything)

The server's address comes first on stdin: it may hold a password, and anybody may read a command line.

A supervisor must renew its leases in time, whatever a run of a million inputs asks of its driver: so that is another
process, which is there only while there are runs.
"""

from __future__ import annotations

import subprocess
import sys
import threading
from contextlib import suppress

from actorq.base.log import configure_later, logger
from actorq.base.streams import open_missing


class DriverProcess:
    """That process, as its supervisor sees it.

    Args:
        url: the server.
        environment: whose runs it drives.
        log: format and level of its events.
    """

    def __init__(self, url: str, environment: str, log: tuple[str, str]) -> None:
        self._url = url
        self._command = [sys.executable, "-m", __name__, environment, *log]
        self._process: subprocess.Popen[bytes] | None = None

    def died(self) -> int | None:
        """The id of the process where it has ended by itself, or was killed; told once."""
        if self._process is None or self._process.poll() is None:
            return None
        pid, self._process = self._process.pid, None
        return pid

    def ensure(self) -> None:
        """Starts it, if it does not run."""
        if self._process is None:
            self._process = subprocess.Popen(self._command, stdin=subprocess.PIPE, start_new_session=True)
            assert self._process.stdin is not None
            with suppress(OSError):  # it has died already, and is found so
                self._process.stdin.write(f"{self._url}\n".encode())
                self._process.stdin.flush()

    def stop(self, patience: float) -> None:
        """Has it let go of its runs."""
        process, self._process = self._process, None
        if process is None:
            return
        assert process.stdin is not None
        process.stdin.close()
        try:
            process.wait(patience)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _main() -> None:
    from actorq.runs.driver import Driver  # not in a supervisor, which starts this process and knows no more of it

    open_missing()
    environment, log_format, level = sys.argv[1:]
    configure_later(log_format, level)
    url = sys.stdin.readline().rstrip("\n")
    if not url:  # its supervisor is gone
        return
    driver = Driver(url, environment)
    driver.start()
    ended = threading.Thread(target=sys.stdin.buffer.read, daemon=True)
    ended.start()
    ended.join()
    logger().info("driver_ends", environment=environment)
    driver.stop()


if __name__ == "__main__":
    _main()
