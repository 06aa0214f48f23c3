"""How connections are opened: by us to a local socket that asks for nothing, by redis-py to all else."""

from __future__ import annotations

import os
import resource
import socket
from pathlib import Path
from urllib.parse import quote

import pytest

from actorq.broker.connect import needs_redis_py, new_connection
from actorq.broker.refusals import LostError, RefusedError, explain, refusal


@pytest.mark.parametrize(
    "url",
    [
        "redis://host:6379/0",
        "rediss://host",
        "unix://user:password@/run/redis.sock",
        "unix:///run/redis.sock?db=3",
        "unix://run/redis.sock",
        "unix://",
    ],
)
def test_an_address_with_anything_but_a_path_is_for_redis_py(url: str) -> None:
    assert needs_redis_py(url)


def test_a_socket_is_opened_by_the_path_that_the_address_quotes(tmp_path: Path) -> None:
    path = tmp_path / "a b%.sock"
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        server.listen()
        connection = new_connection(f"unix://{quote(str(path))}")
        for _ in range(2):  # it may be opened again
            opened = connection.open(1.0)
            peer, _ = server.accept()
            opened.sendall(b"x")
            assert peer.recv(1) == b"x"
            connection.close()
            connection.close()
            assert peer.recv(1) == b""
            peer.close()


def test_a_socket_that_nobody_serves_is_told_as_a_server_that_is_away(tmp_path: Path) -> None:
    connection = new_connection(f"unix://{tmp_path}/gone.sock")
    with pytest.raises(LostError, match=r"gone\.sock: No such file") as caught:
        connection.open(1.0)
    assert refusal(caught.value).unreachable
    assert refusal(caught.value).passes


def test_a_process_that_may_open_no_more_files_is_not_told_that_the_server_is_away(tmp_path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    lowest = os.open(os.devnull, os.O_RDONLY)
    os.close(lowest)
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowest, hard))
    try:
        with pytest.raises(RefusedError) as caught:
            new_connection(f"unix://{tmp_path}/any.sock").open(1.0)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert "ulimit -n" in str(explain(caught.value, f"unix://{tmp_path}/any.sock"))


def test_what_listens_and_takes_nobody_is_given_up_in_time(tmp_path: Path) -> None:
    path = tmp_path / "busy.sock"
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        server.listen(0)
        connections = [new_connection(f"unix://{path}") for _ in range(10)]
        try:
            with pytest.raises(LostError):
                [connection.open(0.01) for connection in connections]
        finally:
            for connection in connections:
                connection.close()
