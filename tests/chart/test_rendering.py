"""The chart renders what Kubernetes accepts: both Helms, every scenario, every supported version."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import kubernetes_validate.utils as validator
import pytest

from tests.chart.rendering import (
    CHART,
    HELMS,
    KUBERNETES,
    SCENARIOS,
    Manifest,
    containers,
    pods,
    render,
    run,
)

#: kinds of operators, which have no schema among Kubernetes' own
CUSTOM = ("keda.sh/", "monitoring.coreos.com/")
FIXED = "redis.auth.password=a-password-to-look-for"
NAMES = [path.name.removesuffix("-values.yaml") for path in SCENARIOS]

# it parses megabytes of JSON for every object otherwise
validator.schema_contents = functools.cache(validator.schema_contents)


def scenario_values(scenario: str) -> tuple[str, ...]:
    """The fixed password, where it is the chart that would make one."""
    return () if scenario.startswith("external") else (FIXED,)


@pytest.mark.parametrize("helm", HELMS)
@pytest.mark.parametrize("path", SCENARIOS, ids=NAMES)
def test_lint_is_clean(helm: str, path: Path) -> None:
    done = run(helm, "lint", "--strict", CHART, "--values", path)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("kubernetes", KUBERNETES)
@pytest.mark.parametrize("scenario", NAMES)
def test_every_object_fits_the_schema_of_its_version(scenario: str, kubernetes: str) -> None:
    for each in render(scenario=scenario, kubernetes=kubernetes):
        if not each["apiVersion"].startswith(CUSTOM):
            validator.validate(each, kubernetes, strict=True)


@pytest.mark.parametrize("scenario", NAMES)
def test_both_helms_render_the_same(scenario: str) -> None:
    old, new = (render(*scenario_values(scenario), scenario=scenario, helm=helm) for helm in HELMS)
    assert sorted(map(repr, old)) == sorted(map(repr, new))


@pytest.mark.parametrize("scenario", NAMES)
def test_no_field_is_null(scenario: str) -> None:
    def nulls(value: Any, path: str) -> list[str]:
        if isinstance(value, dict):
            return [found for key, each in value.items() for found in nulls(each, f"{path}.{key}")]
        if isinstance(value, list):
            return [found for index, each in enumerate(value) for found in nulls(each, f"{path}[{index}]")]
        return [path] if value is None else []

    for each in render(scenario=scenario):
        assert nulls(each, each["kind"]) == []


def _twice(entries: list[Manifest], *keys: str) -> set[tuple[Any, ...]]:
    seen = [tuple(entry.get(key) for key in keys) for entry in entries]
    return {entry for entry in seen if seen.count(entry) > 1}


@pytest.mark.parametrize("scenario", NAMES)
def test_nothing_in_a_pod_is_named_twice(scenario: str) -> None:
    for pod in pods(render(scenario=scenario)):
        assert not _twice(pod["spec"].get("volumes", []), "name")
        assert not _twice(containers(pod), "name")
        for container in containers(pod):
            assert not _twice(container.get("env", []), "name")
            assert not _twice(container.get("ports", []), "containerPort", "protocol")
            assert not _twice(container.get("volumeMounts", []), "mountPath")


@pytest.mark.parametrize("scenario", NAMES)
def test_every_mount_has_its_volume(scenario: str) -> None:
    for pod in pods(render(scenario=scenario)):
        volumes = {volume["name"] for volume in pod["spec"].get("volumes", ())} | {"data"}
        mounts = {mount["name"] for container in containers(pod) for mount in container.get("volumeMounts", ())}
        assert mounts <= volumes


@pytest.mark.parametrize("scenario", NAMES)
def test_objects_carry_the_standard_labels_and_differ_in_name(scenario: str) -> None:
    objects = [each for each in render(scenario=scenario) if "labels" in each["metadata"]]
    for each in objects:
        labels = each["metadata"]["labels"]
        assert labels["app.kubernetes.io/name"] == "actorq"
        assert labels["app.kubernetes.io/instance"] == "demo"
        assert labels["app.kubernetes.io/component"] in {"replica", "redis", "exporter", "monitor", "test"}
        assert each["metadata"]["namespace"] == "work"
    names = [(each["kind"], each["metadata"]["name"]) for each in objects]
    assert len(set(names)) == len(names)


def test_names_fit_kubernetes_however_long_the_release_is_called() -> None:
    long = "a" * 70
    for each in render(f"fullnameOverride={long}", "metrics.exporter.enabled=true"):
        # a StatefulSet's name and the hash of its pods together are a label
        room = {"Service": 63, "StatefulSet": 63 - len("-0123456789")}.get(each["kind"], 253)
        assert len(each["metadata"]["name"]) <= room
