"""What the documentation says that a submitter may do on a cluster is enough for all that it does there."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from actorq import PoolError
from tests.cluster import work
from tests.cluster.conftest import Release, tool
from tests.conftest import ROOT, eventually

GROUPS = {"deployments": "apps", "jobs": "batch"}


def documented() -> list[dict[str, list[str]]]:
    """The rules of a Role, out of the page's sentence."""
    page = (ROOT / "docs/kubernetes.md").read_text(encoding="utf-8")
    (sentence,) = re.findall(r"Who submits needs, in that namespace: (.+?)\. ", page, re.DOTALL)
    rules = re.findall(r"`([a-z,\s]+)` on `(\w+)`(?: and `(\w+)`)?", sentence)
    return [
        {"apiGroups": [GROUPS.get(resource, "")], "resources": [resource], "verbs": re.findall(r"\w+", verbs)}
        for verbs, *resources in rules
        for resource in filter(None, resources)
    ]


@pytest.fixture
def submitter(on_demand: Release, tmp_path: Path) -> Iterator[Release]:
    """This program, and kubectl, as a user who has these permissions and no others."""
    metadata = {"name": "submitter", "namespace": on_demand.namespace}
    role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "submitter"}
    objects: list[dict[str, Any]] = [
        {"apiVersion": "v1", "kind": "ServiceAccount"},
        {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "rules": documented()},
        {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "RoleBinding",
            "roleRef": role,
            "subjects": [{"kind": "ServiceAccount", **metadata}],
        },
    ]
    manifests = "\n---\n".join(json.dumps({**each, "metadata": metadata}) for each in objects)
    command = [tool("kubectl"), "apply", "-f", "-"]
    subprocess.run(command, input=manifests, text=True, check=True, capture_output=True)
    token = on_demand.kubectl("create", "token", "submitter").strip()
    config = on_demand.json("config", "view", "--raw", "--minify", "--flatten")
    config["users"][0]["user"] = {"token": token}
    file = tmp_path / "kubeconfig"
    file.write_text(json.dumps(config), encoding="utf-8")
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("KUBECONFIG", str(file))
        yield on_demand


def test_the_documented_permissions_are_enough(submitter: Release) -> None:
    assert submitter.kubectl("auth", "can-i", "create", "pods", check=False).strip() == "no"
    assert [x for x, _, _ in work.warm.map(range(2))] == [0, 1]
    work.pool.scale(1)
    work.pool.up()
    assert work.pool.status().wanted == 3
    assert [x for x, _ in work.where.map(range(2))] == [0, 1]
    with pytest.warns(RuntimeWarning, match="no-such-image"), pytest.raises(PoolError, match="has been removed again"):
        list(work.never.map(range(2)))
    work.pool.down()
    assert eventually(lambda: work.pool.status().wanted == 0, timeout=60)
