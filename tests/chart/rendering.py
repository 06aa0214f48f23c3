"""The chart, rendered by a real Helm, and what tests ask about the result."""

from __future__ import annotations

import base64
import functools
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.chart.tools import ALL

ROOT = Path(__file__).parents[2]
CHART = ROOT / "charts" / "actorq"
SCENARIOS = sorted((CHART / "ci").glob("*-values.yaml"))
HELMS = ("helm3", "helm4")
#: oldest supported, two between, newest
KUBERNETES = ("1.28.0", "1.31.0", "1.34.0", "1.37.0")
#: makes the password the same in every rendering
PASSWORD = "a-password-to-look-for"

Manifest = dict[str, Any]

_COMPONENT = "app.kubernetes.io/component"


def tool(name: str) -> Path:
    """The path of a tool. Without it the test fails, or is skipped where the platform may not have it."""
    (known,) = (known for known in ALL if known.name == name)
    if not known.path.exists():
        message = f"{name} is missing from .tools/bin: run `make tools`"
        if known.optional:
            pytest.skip(f"NOT TESTED: {message}")
        pytest.fail(message)
    return known.path


def run(name: str, *arguments: str | Path, text: str = "") -> subprocess.CompletedProcess[str]:
    """Runs a tool, which reads `text`, away from any cluster this machine knows. Garbage does not count: it ends."""
    environment = os.environ | {"KUBECONFIG": os.devnull, "GOGC": "off"}
    command = [tool(name), *arguments]
    return subprocess.run(command, capture_output=True, text=True, env=environment, check=False, input=text)


class _Strict(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]  # in C where there is that
    """Refuses a key that stands twice, as server-side apply does; PyYAML takes the last one."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        twice = {key for key in keys if keys.count(key) > 1}
        assert not twice, f"stands twice{node.start_mark}: {twice}"
        return dict(super().construct_mapping(node, deep))


def manifests(text: str) -> list[Manifest]:
    return [document for document in yaml.load_all(text, _Strict) if document]


@functools.cache
def render(
    *values: str, scenario: str = "", helm: str = "helm4", kubernetes: str = "1.34.0", chart: Path = CHART
) -> list[Manifest]:
    """The objects of the release `demo` in the namespace `work`. Shared between tests: change nothing in it."""
    done = run(helm, *_arguments(values, scenario, kubernetes, chart))
    assert done.returncode == 0, done.stderr
    return manifests(done.stdout)


def refusal(*values: str, scenario: str = "", helm: str = "helm4") -> str:
    """What Helm says to values that must not be accepted."""
    done = run(helm, *_arguments(values, scenario, "1.34.0", CHART))
    assert done.returncode != 0, f"accepted: {values}"
    return done.stderr


def _arguments(values: tuple[str, ...], scenario: str, kubernetes: str, chart: Path) -> list[str | Path]:
    arguments: list[str | Path] = ["template", "demo", chart, "--namespace", "work", "--kube-version", kubernetes]
    if scenario:
        arguments += ["--values", CHART / "ci" / f"{scenario}-values.yaml"]
    for value in values:
        arguments += ["--set", value]
    return arguments


def copied_chart(folder: Path) -> Path:
    return Path(shutil.copytree(CHART, folder / "actorq"))


def of_kind(objects: list[Manifest], kind: str, component: str = "", environment: str = "") -> list[Manifest]:
    """The objects of a kind, of one component and of one environment where these are given."""
    found = []
    for each in objects:
        labels = each["metadata"].get("labels", {})
        if each["kind"] != kind or (component and labels.get(_COMPONENT) != component):
            continue
        if not environment or labels.get("actorq.dev/environment") == environment:
            found.append(each)
    return found


def the(objects: list[Manifest], kind: str, component: str = "", environment: str = "") -> Manifest:
    (found,) = of_kind(objects, kind, component, environment)
    return found


def pods(objects: list[Manifest]) -> Iterator[Manifest]:
    """Everything that becomes a pod, as `metadata` and `spec`."""
    for each in objects:
        if each["kind"] == "Pod":
            yield each
        elif each["kind"] in ("Deployment", "StatefulSet"):
            yield each["spec"]["template"]


def containers(pod: Manifest) -> list[Manifest]:
    """All containers of a pod, init containers first."""
    return [*pod["spec"].get("initContainers", ()), *pod["spec"]["containers"]]


def replica(objects: list[Manifest], environment: str) -> Manifest:
    """The container that runs the replica of an environment."""
    template = the(objects, "Deployment", "replica", environment)["spec"]["template"]
    (found,) = (each for each in template["spec"]["containers"] if each["name"] == "replica")
    return dict(found)


def variables(container: Manifest) -> dict[str, Any]:
    """The environment variables of a container: values, or what they are taken from."""
    return {entry["name"]: entry.get("value", entry.get("valueFrom")) for entry in container.get("env", ())}


def secret_files(pod: Manifest, container: Manifest) -> dict[str, tuple[str, str]]:
    """What a container finds in its secret files: path -> Secret and key."""
    volumes = {volume["name"]: volume.get("projected", {}).get("sources", ()) for volume in pod["spec"]["volumes"]}
    return {
        f"{mount['mountPath']}/{item['path']}": (source["secret"]["name"], item["key"])
        for mount in container["volumeMounts"]
        for source in volumes[mount["name"]]
        for item in source["secret"]["items"]
    }


def secret_data(objects: list[Manifest]) -> dict[str, str]:
    """What the one Secret of a release holds."""
    data = the(objects, "Secret")["data"]
    return {key: base64.b64decode(value).decode() for key, value in data.items()}


def selects(selector: Manifest, pod: Manifest) -> bool:
    """Whether a label selector matches a pod."""
    labels = pod["metadata"]["labels"]
    for expression in selector.get("matchExpressions", ()):
        assert expression["operator"] == "In"
        if labels.get(expression["key"]) not in expression["values"]:
            return False
    wanted = selector.get("matchLabels", {})
    return all(labels.get(key) == value for key, value in wanted.items())


def selected(selector: Manifest, objects: list[Manifest]) -> set[str]:
    """The pods a selector matches, by component, and by environment where they have one."""
    names = set()
    for pod in pods(objects):
        if selects(selector, pod):
            labels = pod["metadata"]["labels"]
            names.add(labels.get("actorq.dev/environment", labels[_COMPONENT]))
    return names
