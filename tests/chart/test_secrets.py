"""Who may do what on Redis, and where passwords and keys stand: in Secrets and in files, and nowhere else."""

from __future__ import annotations

import base64
import json
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import redis
from redis.backoff import ConstantBackoff, NoBackoff
from redis.retry import Retry

from actorq.runtime.embedded import server_binary
from tests.chart.rendering import (
    PASSWORD,
    Manifest,
    containers,
    of_kind,
    pods,
    render,
    secret_data,
    secret_files,
    the,
    variables,
)
from tests.chart.test_rendering import FIXED, NAMES

OTHER = "redis.auth.password=another-password"
EVERYTHING = ("metrics.exporter.enabled=true", "signingKey.existingSecret=signing")
#: as docs/security.md documents it
MINIMUM = "~rq:* ~aq:* &rq:pubsub:* +@all -@admin -@dangerous +info"


@pytest.fixture
def default() -> list[Manifest]:
    return render(FIXED)


def ours(objects: list[Manifest]) -> Iterator[tuple[str, Manifest, Manifest]]:
    """Component, pod and container of what runs actorq."""
    for pod in pods(objects):
        for container in pod["spec"]["containers"]:
            if "args" in container and container["name"] != "redis":
                yield pod["metadata"]["labels"]["app.kubernetes.io/component"], pod, container


def test_what_is_secret_is_read_from_files() -> None:
    seen = {}
    for component, pod, container in ours(render(FIXED, *EVERYTHING)):
        given, files = variables(container), secret_files(pod, container)
        assert not [value for value in given.values() if "secretKeyRef" in str(value)]
        told = {name: files[given[name]] for name in given if name.endswith("_FILE")}
        assert set(told.values()) == set(files.values())
        seen[component] = told
    server = {"ACTORQ_REDIS_URL_FILE": ("demo-actorq-redis", "url")}
    signing = {"ACTORQ_SIGNING_KEY_FILE": ("signing", "signing-key")}
    # the exporter neither signs nor checks
    assert seen == {"replica": server | signing, "test": server | signing, "exporter": server}


@pytest.mark.parametrize("scenario", NAMES)
def test_no_container_of_ours_has_a_secret_among_its_variables(scenario: str) -> None:
    for _, _, container in ours(render(*EVERYTHING, scenario=scenario)):
        given = {name: value for name, value in variables(container).items() if name.startswith("ACTORQ_")}
        assert not [name for name, value in given.items() if "secretKeyRef" in str(value)]
    for server in of_kind(render(FIXED), "StatefulSet"):
        (container,) = server["spec"]["template"]["spec"]["containers"]
        assert "env" not in container


def test_a_password_stands_in_the_secret_alone(default: list[Manifest]) -> None:
    data = secret_data(default)
    rest = json.dumps([each for each in default if each["kind"] != "Secret"])
    for secret in (PASSWORD, urlsplit(data["url"]).password):
        assert secret
        assert secret not in rest
        assert base64.b64encode(secret.encode()).decode() not in rest


def test_the_url_of_an_external_server_stands_in_the_secret_alone() -> None:
    objects = render(scenario="external-url")
    assert secret_data(objects) == {"url": "rediss://worker:example-password@redis.example.org:6380/0"}
    assert "example-password" not in json.dumps([each for each in objects if each["kind"] != "Secret"])


def test_no_secret_is_made_where_one_is_given() -> None:
    assert not of_kind(render(scenario="external-redis"), "Secret")
    objects = render("redis.auth.existingSecret=mine")
    assert not of_kind(objects, "Secret")
    assert {file for _, pod, container in ours(objects) for file in secret_files(pod, container).values()} == {
        ("mine", "url")
    }


def test_passwords_are_made_once_for_all_objects() -> None:
    data = secret_data(render())
    assert len(data["password"]) == 32
    assert data["acl-url"] == f"redis://:{data['password']}@demo-actorq-redis:6379/0"
    assert data["url"].startswith("redis://actorq:")
    assert data["url"].endswith("@demo-actorq-redis:6379/0")
    lines = data["auth.conf"].splitlines()
    assert lines[0] == f'requirepass "{data["password"]}"'
    assert lines[1].startswith("user actorq on #")
    assert lines[1].endswith(f" {MINIMUM}")
    assert len(lines) == 2


def test_the_login_of_the_release_follows_from_the_password_and_does_not_show_it() -> None:
    urls = [secret_data(render(password))["url"] for password in (FIXED, FIXED, OTHER)]
    assert urls[0] == urls[1] != urls[2]
    assert PASSWORD not in urls[0]


def test_a_password_with_special_characters_survives_url_and_configuration() -> None:
    data = secret_data(render('redis.auth.password=a b/c"d:e@f'))
    assert data["acl-url"] == "redis://:a%20b%2Fc%22d%3Ae%40f@demo-actorq-redis:6379/0"
    assert data["auth.conf"].splitlines()[0] == 'requirepass "a b/c\\"d:e@f"'


def test_the_probes_of_the_bundled_server_read_the_password_from_its_file(default: list[Manifest]) -> None:
    (container,) = the(default, "StatefulSet", "redis")["spec"]["template"]["spec"]["containers"]
    assert container["command"] == ["valkey-server"]
    assert container["args"] == ["/etc/redis/redis.conf"]
    read = 'REDISCLI_AUTH="$(cat /etc/redis-auth/password)" exec valkey-cli'
    assert container["livenessProbe"]["exec"]["command"] == ["sh", "-c", f"{read} ping"]
    assert container["readinessProbe"]["exec"]["command"] == ["sh", "-c", f"{read} -e ping"]


def test_the_bundled_configuration_starts_a_server_that_keeps_its_logins_apart(tmp_path: Path) -> None:
    objects = render('redis.auth.password=a b/c"d:e@f')
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = str(free.getsockname()[1])
    (tmp_path / "auth.conf").write_text(secret_data(objects)["auth.conf"])
    text = the(objects, "ConfigMap", "redis")["data"]["redis.conf"]
    for inside, here in (("/etc/redis-auth", str(tmp_path)), ("dir /data", f"dir {tmp_path}"), ("6379", port)):
        text = text.replace(inside, here)
    (tmp_path / "redis.conf").write_text(text)
    server = subprocess.Popen([server_binary(), tmp_path / "redis.conf"], stdout=subprocess.DEVNULL)
    try:
        data, forwarded = secret_data(objects), ("demo-actorq-redis:6379", f"127.0.0.1:{port}")
        retry = Retry(ConstantBackoff(0.05), 100)
        administrator, release = data["acl-url"].replace(*forwarded), data["url"].replace(*forwarded)
        with redis.Redis.from_url(administrator, retry=retry, retry_on_error=[redis.ConnectionError]) as client:
            assert client.ping()
            settings = client.config_get("maxmemory*", "append*")
            assert settings["maxmemory-policy"] == "noeviction"
            assert settings["maxmemory"] == str(1500 * 1024**2)
            assert (settings["appendonly"], settings["appendfsync"]) == ("yes", "everysec")
        with redis.Redis.from_url(release) as client:
            assert client.set("rq:x", "1")
            for forbidden in (lambda: client.get("other"), lambda: client.acl_setuser("me"), client.flushall):
                with pytest.raises(redis.exceptions.NoPermissionError):
                    forbidden()
        with (
            redis.Redis(port=int(port), retry=Retry(NoBackoff(), 0)) as stranger,
            pytest.raises(redis.AuthenticationError),
        ):
            stranger.ping()
    finally:
        server.terminate()
        server.wait()


def test_a_certificate_authority_is_mounted_in_all_that_talk_to_redis() -> None:
    objects = render("metrics.exporter.enabled=true", scenario="external-redis")
    seen = 0
    for pod in pods(objects):
        (container,) = containers(pod)
        assert variables(container)["ACTORQ_REDIS_CA_FILE"] == "/etc/actorq/redis-ca/ca.pem"
        assert secret_files(pod, container)["/etc/actorq/secrets/redis-url"] == ("broker", "uri")
        assert {"name": "redis-ca", "mountPath": "/etc/actorq/redis-ca", "readOnly": True} in container["volumeMounts"]
        seen += 1
    assert seen == 3
    assert not of_kind(objects, "StatefulSet")


def _checksums(objects: list[Manifest]) -> dict[str, dict[str, str]]:
    found = {}
    for pod in pods(objects):
        annotations = pod["metadata"].get("annotations", {})
        component = pod["metadata"]["labels"]["app.kubernetes.io/component"]
        found[component] = {key: value for key, value in annotations.items() if key.startswith("checksum/")}
    return found


def test_another_password_replaces_all_pods_that_know_the_old_one() -> None:
    monitoring = "metrics.exporter.enabled=true"
    before, after = _checksums(render(FIXED, monitoring)), _checksums(render(OTHER, monitoring))
    for component in ("replica", "exporter", "redis"):
        assert before[component]["checksum/redis"] != after[component]["checksum/redis"]
    assert _checksums(render(FIXED, monitoring)) == before


def test_another_url_replaces_the_replicas() -> None:
    before, after = (
        _checksums(render("redis.enabled=false", f"externalRedis.url=redis://{host}")) for host in ("one", "two")
    )
    assert before["replica"] != after["replica"]


def test_another_configuration_replaces_the_server_alone() -> None:
    before, after = _checksums(render(FIXED)), _checksums(render(FIXED, "redis.maxmemory=1gb"))
    assert before["redis"] != after["redis"]
    assert before["replica"] == after["replica"]


def test_other_rules_replace_the_server_alone() -> None:
    before, after = _checksums(render(FIXED)), _checksums(render(FIXED, "redis.auth.rules=~* +@all"))
    assert before["redis"] != after["redis"]
    assert before["replica"] == after["replica"]
