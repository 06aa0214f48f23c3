"""The web page of a release: off unless it is asked for, private unless it is told otherwise, and without any right."""

from __future__ import annotations

from typing import Any

import pytest

from actorq.cli.main import main
from tests.chart.rendering import Manifest, of_kind, refusal, render, selected, the, variables

ON = "monitor.enabled=true"


def container(objects: list[Manifest]) -> Manifest:
    (found,) = the(objects, "Deployment", "monitor")["spec"]["template"]["spec"]["containers"]
    assert isinstance(found, dict)
    return found


def arguments(objects: list[Manifest]) -> dict[str, Any]:
    """What the command makes of what the container is given."""
    command, *given = container(objects)["args"]
    return dict(main.commands[command].make_context(command, given).params)


def test_a_release_has_no_page_unless_it_is_asked_for() -> None:
    assert not [each for each in render() if "monitor" in each["metadata"]["name"]]


def test_a_page_that_is_asked_for_is_private_and_only_shows() -> None:
    objects = render(ON)
    given = arguments(objects)
    assert (given["private"], given["allow_actions"], given["token_file"]) == (True, False, None)
    assert (given["host"], given["port"]) == ("0.0.0.0", 8080)
    assert given["allowed_hosts"] == (
        "demo-actorq-monitor",
        "demo-actorq-monitor.work",
        "demo-actorq-monitor.work.svc",
    )
    assert not of_kind(objects, "Ingress", "monitor")


def test_its_account_has_no_token_and_its_container_no_right() -> None:
    objects = render(ON)
    pod = the(objects, "Deployment", "monitor")["spec"]["template"]["spec"]
    assert pod["serviceAccountName"] == "demo-actorq-monitor"
    assert pod["automountServiceAccountToken"] is False
    assert the(objects, "ServiceAccount", "monitor")["automountServiceAccountToken"] is False
    assert pod["securityContext"]["runAsNonRoot"] is True
    security = container(objects)["securityContext"]
    assert (security["readOnlyRootFilesystem"], security["allowPrivilegeEscalation"]) == (True, False)
    assert not [each for each in objects if each["kind"] in ("Role", "RoleBinding", "ClusterRole")]


def test_its_service_leads_to_it_and_it_may_talk_to_redis() -> None:
    objects = render(ON)
    service = the(objects, "Service", "monitor")["spec"]
    assert selected({"matchLabels": service["selector"]}, objects) == {"monitor"}
    assert service["ports"][0]["targetPort"] == container(objects)["ports"][0]["name"] == "page"
    redis = the(objects, "NetworkPolicy", "redis")["spec"]["ingress"][0]["from"][0]
    assert "monitor" in selected(redis["podSelector"], objects)


def test_it_is_closed_to_all_but_its_page_dns_and_redis() -> None:
    objects = render(scenario="page")
    policy = the(objects, "NetworkPolicy", "monitor")["spec"]
    assert selected(policy["podSelector"], objects) == {"monitor"}
    assert policy["policyTypes"] == ["Ingress", "Egress"]
    (rule,) = policy["ingress"]
    assert [port["port"] for port in rule["ports"]] == ["page"]
    assert rule["from"][0]["namespaceSelector"]["matchLabels"] == {"kubernetes.io/metadata.name": "ingress-nginx"}
    assert [port["port"] for rule in policy["egress"] for port in rule["ports"]] == [53, 53, "redis"]
    assert "from" not in the(render(ON), "NetworkPolicy", "monitor")["spec"]["ingress"][0]
    assert not of_kind(render(ON, "networkPolicy.monitor.enabled=false"), "NetworkPolicy", "monitor")


def test_behind_an_ingress_it_knows_its_name_its_path_and_its_token() -> None:
    objects = render(scenario="page")
    given = arguments(objects)
    assert "tools.example.org" in given["allowed_hosts"]
    assert (given["url_prefix"], given["allow_actions"]) == ("/actorq", True)
    (mount,) = [m for m in container(objects)["volumeMounts"] if m["name"] == "monitor-token"]
    assert given["token_file"] == f"{mount['mountPath']}/token"
    ingress = the(objects, "Ingress", "monitor")["spec"]
    assert ingress["tls"] == [{"hosts": ["tools.example.org"], "secretName": "tools-example-org-tls"}]
    (path,) = ingress["rules"][0]["http"]["paths"]
    assert (path["path"], path["backend"]["service"]["port"]["name"]) == ("/actorq", "page")


@pytest.mark.parametrize("probe", ["startupProbe", "livenessProbe", "readinessProbe"])
def test_a_server_that_is_away_takes_the_page_from_nobody(probe: str) -> None:
    assert container(render(ON))[probe]["httpGet"] == {"path": "/livez", "port": "page"}


def test_it_has_the_signing_key_only_where_it_may_retry() -> None:
    signed = "signingKey.existingSecret=signing"
    assert "ACTORQ_SIGNING_KEY_FILE" not in variables(container(render(ON, signed)))
    assert "ACTORQ_SIGNING_KEY_FILE" in variables(container(render(ON, signed, "monitor.allowActions=true")))


def test_an_ingress_without_a_name_is_refused() -> None:
    assert "set monitor.ingress.host" in refusal(ON, "monitor.ingress.enabled=true")
    assert "urlPrefix" in refusal(ON, "monitor.urlPrefix=/a/../b")
