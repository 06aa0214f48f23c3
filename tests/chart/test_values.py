"""Values do what they say, and wrong ones are refused with a message that names them."""

from __future__ import annotations

import json
from typing import Any

import pytest
import yaml

from tests.chart.rendering import CHART, HELMS, Manifest, refusal

VALUES: Manifest = yaml.safe_load((CHART / "values.yaml").read_text())
SCHEMA: Manifest = json.loads((CHART / "values.schema.json").read_text())
EXTERNAL = ("redis.enabled=false", "externalRedis.url=rediss://h:1")

REFUSED = {
    "a typo at the top": (("replicaCount=3",), "replicaCount"),
    "a typo in an environment": (("environments.hello.replica=3",), "replica"),
    "a typo in the defaults": (("defaults.drainSecond=3",), "drainSecond"),
    "a typo in redis": (("redis.auth.enable=false",), "enable"),
    "a typo in keda": (("environments.hello.keda.max=3",), "max"),
    "negative replicas": (("environments.hello.replicas=-1",), "replicas"),
    "half a replica": (("environments.hello.replicas=1.5",), "replicas"),
    "seconds with a unit": (("environments.hello.drainSeconds=60s",), "drainSeconds"),
    "an upper-case environment": (("environments.Hello.target=a.b",), "Hello"),
    "an underscore in an environment": (("environments.a_b.target=a.b",), "a_b"),
    "an environment of 64 characters": ((f"environments.{'a' * 64}.target=a.b",), "a" * 64),
    "an environment without a target": (("environments.other.replicas=1",), "target"),
    "a target that is a file": (("environments.hello.target=tasks/a.py",), "target"),
    "a target for all environments": (("defaults.target=a.b",), "target"),
    "a surge that is no share": (("environments.hello.strategy.rollingUpdate.maxSurge=some",), "maxSurge"),
    "a digest that is none": (("image.digest=latest",), "digest"),
    "an unknown pull policy": (("image.pullPolicy=Sometimes",), "pullPolicy"),
    "an unknown log level": (("log.level=loud",), "level"),
    "a URL of something else": (("redis.enabled=false", "externalRedis.url=http://h"), "url"),
    "a variable that is a list": (("environments.hello.env.A={1,2}",), "env"),
    "a secret that goes nowhere": (("environments.hello.secrets[0].name=hub",), "secrets"),
    "both servers": (("externalRedis.url=redis://h",), "redis.enabled=false"),
    "both servers, by secret": (("externalRedis.existingSecret=s",), "redis.enabled=false"),
    "no server": (("redis.enabled=false",), "There is no Redis"),
    "two URLs": ((*EXTERNAL, "externalRedis.existingSecret=s"), "give one"),
    "a CA without TLS": (
        ("redis.enabled=false", "externalRedis.url=redis://h", "externalRedis.tls.caSecret=s"),
        "rediss://",
    ),
    "two passwords": (("redis.auth.password=p", "redis.auth.existingSecret=s"), "give one"),
    "an environment with the name of a part": (("environments.redis.target=a.b",), "environments.redis"),
    "a server for one environment": (("environments.hello.env.ACTORQ_REDIS_URL=redis://h",), "externalRedis"),
    "a server for one environment, from a file": (
        ("environments.hello.env.ACTORQ_REDIS_URL_FILE=/a",),
        "externalRedis",
    ),
    "KEDA without the exporter": (("environments.hello.keda.enabled=true",), "metrics.exporter.enabled=true"),
    "more replicas at least than at most": (
        (
            "metrics.exporter.enabled=true",
            "environments.hello.keda.enabled=true",
            "environments.hello.keda.minReplicas=99",
        ),
        "minReplicas",
    ),
    "a monitor without the exporter": (("metrics.serviceMonitor.enabled=true",), "metrics.exporter.enabled=true"),
    "alerts without the exporter": (("metrics.prometheusRule.enabled=true",), "metrics.exporter.enabled=true"),
}


@pytest.mark.parametrize("helm", HELMS)
@pytest.mark.parametrize("case", REFUSED)
def test_refuses(case: str, helm: str) -> None:
    values, named = REFUSED[case]
    assert named in refusal(*values, helm=helm)


def _properties(schema: Manifest) -> Manifest:
    """The properties of an object in the schema, behind references."""
    if "$ref" in schema:
        return _properties(SCHEMA["$defs"][schema["$ref"].rsplit("/", 1)[1]])
    if "allOf" in schema:
        return _properties(schema["allOf"][0])
    properties: Manifest = schema.get("properties", {})
    return properties if schema.get("additionalProperties") is False else {}


def _missing(schema: Manifest, values: Any, path: str = "") -> set[str]:
    """What the schema allows and values.yaml does not show."""
    missing = set()
    for name, below in _properties(schema).items():
        here = f"{path}.{name}".lstrip(".")
        if name not in values:
            missing.add(here)
        elif isinstance(values[name], dict) and values[name]:
            missing |= _missing(below, values[name], here)
    return missing


def test_values_yaml_shows_everything_the_schema_allows() -> None:
    resources = {f"{part}resources.claims" for part in ("defaults.", "redis.", "monitor.", "metrics.exporter.")}
    assert _missing(SCHEMA, VALUES) == {"global", "defaults.target", *resources}


def test_the_readme_documents_every_value_of_the_release_and_of_an_environment() -> None:
    rows = [line for line in (CHART / "README.md").read_text().splitlines() if line.startswith("| `")]
    documented = {name.strip(" `") for row in rows for name in row.split("|")[1].split(",")}
    assert documented == {*VALUES, *VALUES["defaults"], "target"}


def test_every_block_and_every_default_in_values_yaml_has_a_comment() -> None:
    previous, block = "", ""
    for line in (CHART / "values.yaml").read_text().splitlines():
        indent, key = len(line) - len(line.lstrip()), line.strip().split(":")[0]
        block = key if indent == 0 and key.isalpha() else block
        if key.isalpha() and (indent == 0 or (indent == 2 and block == "defaults")):
            assert previous.strip().startswith("#"), f"{block}.{key} says nothing about itself"
        previous = line
