"""`actorq server`: a Redis server with the settings that actorq needs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import redis

from tests.conftest import eventually
from tests.support.free_ports import free_port


def started(*arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "actorq.cli", "server", *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def answers(client: redis.Redis) -> bool:
    try:
        return bool(client.ping())
    except redis.RedisError:
        return False


def test_a_server_keeps_what_it_knows_in_its_folder(tmp_path: Path) -> None:
    port = free_port()
    for expected in (None, b"1"):
        process = started("--port", str(port), "--dir", str(tmp_path))
        with redis.Redis(port=port) as client:
            assert eventually(lambda client=client: answers(client))
            assert client.get("kept") == expected
            client.set("kept", "1")
            assert client.config_get("maxmemory-policy")["maxmemory-policy"] == "noeviction"
        process.terminate()
        out, _ = process.communicate(timeout=30)
        assert process.returncode == 0
        assert f"ACTORQ_REDIS_URL=redis://127.0.0.1:{port}/0" in out


def test_a_server_for_other_machines_has_a_password(tmp_path: Path) -> None:
    secret, port = tmp_path / "secret", free_port()
    secret.write_text('a "b" c\n')
    refused = started("--host", "0.0.0.0")
    out, _ = refused.communicate(timeout=30)
    assert refused.returncode == 2
    assert "lets other machines in: give --password-file" in out
    process = started("--port", str(port), "--password-file", str(secret))
    with redis.Redis(port=port, password='a "b" c') as client:
        assert eventually(lambda: answers(client))
    process.terminate()
    assert 'a "b" c' not in process.communicate(timeout=30)[0]


def test_two_servers_do_not_share_a_folder_or_a_port(tmp_path: Path) -> None:
    port = free_port()
    first = started("--port", str(port), "--dir", str(tmp_path))
    with redis.Redis(port=port) as client:
        assert eventually(lambda: answers(client))
    second = started("--port", str(port))
    out, _ = second.communicate(timeout=30)
    assert second.returncode == 1
    assert "Address already in use" in out
    third = started("--port", str(free_port()), "--dir", str(tmp_path))
    out, _ = third.communicate(timeout=30)
    assert third.returncode == 3
    assert "Another program uses the server in" in out
    first.terminate()
    first.communicate(timeout=30)
