"""What a release says after it was installed: the next command, and what is risky."""

from __future__ import annotations

import subprocess
from pathlib import Path

from actorq.kube.scaling import how_to_scale
from tests.chart.rendering import CHART, ROOT, render, run, secret_data
from tests.chart.test_rendering import FIXED


def notes(*values: str, scenario: str = "default") -> str:
    arguments: list[str | Path] = ["install", "demo", CHART, "--dry-run=client", "--namespace", "work"]
    arguments += ["--values", CHART / "ci" / f"{scenario}-values.yaml"]
    for value in values:
        arguments += ["--set", value]
    done = run("helm4", *arguments)
    assert done.returncode == 0, done.stderr
    return done.stdout.split("NOTES:\n", 1)[1]


def test_notes_are_short_whatever_is_switched_on() -> None:
    risky = ("redis.auth.enabled=false", "redis.persistence.enabled=false", "environments.other.target=a.b")
    for text in (notes(), notes(*risky), notes(scenario="several"), notes(scenario="external-redis")):
        assert len(text.splitlines()) <= 25


def test_notes_name_the_commands_that_come_next() -> None:
    text = notes()
    assert "actorq 0.1.0 serves hello." in text
    assert "kubectl -n work port-forward svc/demo-actorq-redis 6379:6379" in text
    assert "kubectl -n work get secret demo-actorq-redis -o jsonpath='{.data.url}'" in text
    assert "python -m actorq.hello" in text
    assert "helm -n work test demo" in text
    assert "--set environments.hello.replicas=10" in text
    assert "WARNING" not in text


def test_the_url_that_the_notes_export_leads_through_the_port_forward() -> None:
    (export,) = [line for line in notes().splitlines() if "export ACTORQ_REDIS_URL" in line]
    filters = export.split("| base64 -d |")[1].removesuffix(')"')
    url = secret_data(render(FIXED))["url"]
    done = subprocess.run(["sh", "-c", filters], input=url, capture_output=True, text=True, check=True)
    assert done.stdout == url.replace("demo-actorq-redis", "127.0.0.1")


def test_notes_say_that_a_port_forward_ends_with_its_pod() -> None:
    assert "the port-forward ends with Redis' pod" in notes()


def test_the_documentation_and_the_program_name_the_flags_that_the_notes_name() -> None:
    flags = "--reset-then-reuse-values --set environments.hello.replicas="
    deployment = {"metadata": {"labels": {"app.kubernetes.io/managed-by": "Helm"}}}
    texts = [notes(), (ROOT / "docs" / "kubernetes.md").read_text(), (CHART / "README.md").read_text()]
    for text in [*texts, how_to_scale("work", "hello", deployment, 10)]:
        assert flags in text
        assert "--reuse-values" not in text


def test_notes_take_the_url_of_an_external_server_from_its_secret() -> None:
    text = notes(scenario="external-redis")
    assert "get secret broker -o jsonpath='{.data.uri}'" in text
    assert "port-forward" not in text


def test_notes_warn_of_a_server_without_password_or_disk() -> None:
    text = notes(scenario="ephemeral")
    assert "WARNING: Redis has no password" in text
    assert "WARNING: Redis keeps nothing on disk" in text
    assert "export ACTORQ_REDIS_URL=redis://127.0.0.1:6379/0" in text


def test_notes_say_that_the_demonstration_runs_beside_ones_own() -> None:
    assert "environments.hello=null" in notes("environments.other.target=a.b")
    assert "environments.hello=null" not in notes()


def test_notes_survive_a_release_that_serves_nothing() -> None:
    assert "set environments.NAME.target" in notes("environments.hello=null")
