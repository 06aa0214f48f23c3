"""What runs: the contract with the command line, security, draining, secrets, policies."""

from __future__ import annotations

import json
from typing import Any

import pytest

from actorq import __version__
from actorq.cli.main import main
from tests.chart.rendering import (
    Manifest,
    containers,
    of_kind,
    pods,
    render,
    replica,
    secret_data,
    selected,
    the,
    variables,
)
from tests.chart.test_rendering import FIXED, NAMES


@pytest.fixture
def default() -> list[Manifest]:
    return render(FIXED)


def pod_of(objects: list[Manifest], environment: str) -> Manifest:
    template: Manifest = the(objects, "Deployment", "replica", environment)["spec"]["template"]
    return template


# the contract with `actorq worker`, `actorq exporter` and `actorq ping`


def test_a_replica_gets_its_target_its_environment_and_its_port(default: list[Manifest]) -> None:
    container = replica(default, "hello")
    assert "command" not in container
    assert container["args"] == ["worker", "actorq.hello:env", "--environment", "hello", "--http-port", "9090"]
    assert container["image"] == "actorq:0.1.0"
    assert [port["containerPort"] for port in container["ports"]] == [9090]
    assert the(default, "Deployment", "replica")["spec"]["replicas"] == 2


def test_a_replica_gets_its_settings_from_the_environment(default: list[Manifest]) -> None:
    assert variables(replica(default, "hello")) == {
        "ACTORQ_CHART_VERSION": __version__,
        "ACTORQ_DRAIN_SECONDS": "60",
        "ACTORQ_LOG_FORMAT": "json",
        "ACTORQ_LOG_LEVEL": "info",
        "ACTORQ_POD_NAME": {"fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.name"}},
        "ACTORQ_REDIS_URL_FILE": "/etc/actorq/secrets/redis-url",
        "TMPDIR": "/tmp",
    }


@pytest.mark.parametrize("scenario", NAMES)
def test_the_command_line_accepts_the_arguments_of_every_container(scenario: str) -> None:
    given = [container["args"] for pod in pods(render(scenario=scenario)) for container in pod["spec"]["containers"]]
    for command, *arguments in given:
        if command in main.commands:
            main.commands[command].make_context(command, arguments)
    assert {command for command, *_ in given if command in main.commands} >= {"worker", "ping"}


def test_liveness_never_asks_redis_and_readiness_does(default: list[Manifest]) -> None:
    container = replica(default, "hello")
    paths = {name: container[name]["httpGet"]["path"] for name in container if name.endswith("Probe")}
    assert paths == {"startupProbe": "/readyz", "readinessProbe": "/readyz", "livenessProbe": "/livez"}
    startup = container["startupProbe"]
    assert startup["periodSeconds"] * startup["failureThreshold"] == 300


def test_the_grace_period_covers_the_drain() -> None:
    objects = render("environments.hello.drainSeconds=900")
    assert variables(replica(objects, "hello"))["ACTORQ_DRAIN_SECONDS"] == "900"
    assert pod_of(objects, "hello")["spec"]["terminationGracePeriodSeconds"] == 915


def test_helm_test_pings_every_environment_that_has_replicas() -> None:
    pod = the(render(scenario="several"), "Pod", "test")
    assert pod["metadata"]["annotations"]["helm.sh/hook"] == "test"
    assert pod["metadata"]["annotations"]["helm.sh/hook-delete-policy"] == "before-hook-creation,hook-succeeded"
    assert pod["spec"]["containers"][0]["args"] == ["ping", "embed", "rank", "--inputs", "3", "--timeout", "120"]


def test_helm_test_pings_an_environment_that_keda_holds_at_zero() -> None:
    assert "hello" in the(render(scenario="keda"), "Pod", "test")["spec"]["containers"][0]["args"]


def test_the_exporter_has_a_service_even_while_redis_is_down() -> None:
    objects = render(scenario="monitoring")
    (container,) = the(objects, "Deployment", "exporter")["spec"]["template"]["spec"]["containers"]
    assert container["args"] == ["exporter", "--http-port", "9090"]
    assert container["startupProbe"]["httpGet"]["path"] == "/livez"
    service = the(objects, "Service", "exporter")["spec"]
    assert service["publishNotReadyAddresses"] is True
    assert selected({"matchLabels": service["selector"]}, objects) == {"exporter"}


def test_a_release_has_no_exporter_unless_it_is_asked_for(default: list[Manifest]) -> None:
    assert not [each for each in default if "exporter" in each["metadata"]["name"]]


# security


@pytest.mark.parametrize("kubernetes", ["1.28.0", "1.34.0"])
@pytest.mark.parametrize("scenario", NAMES)
def test_every_container_meets_the_restricted_pod_security_standard(scenario: str, kubernetes: str) -> None:
    for pod in pods(render(scenario=scenario, kubernetes=kubernetes)):
        context = pod["spec"]["securityContext"]
        assert context["runAsNonRoot"] is True
        assert context["runAsUser"] == context["runAsGroup"] == 10001
        assert context["seccompProfile"] == {"type": "RuntimeDefault"}
        assert not {"hostNetwork", "hostPID", "hostIPC"} & set(pod["spec"])
        for container in containers(pod):
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }, container["name"]


@pytest.mark.parametrize("scenario", NAMES)
def test_no_pod_has_an_api_token_or_a_right(scenario: str) -> None:
    objects = render(scenario=scenario)
    assert all(pod["spec"]["automountServiceAccountToken"] is False for pod in pods(objects))
    assert all(account["automountServiceAccountToken"] is False for account in of_kind(objects, "ServiceAccount"))
    assert not [each for each in objects if "Role" in each["kind"]]
    accounts = {account["metadata"]["name"] for account in of_kind(objects, "ServiceAccount")} | {"ranker"}
    assert {pod["spec"]["serviceAccountName"] for pod in pods(objects)} <= accounts


# Redis


def test_the_bundled_server_keeps_what_it_was_given(default: list[Manifest]) -> None:
    lines = the(default, "ConfigMap", "redis")["data"]["redis.conf"].splitlines()
    assert {"appendonly yes", "appendfsync everysec", "maxmemory-policy noeviction", "protected-mode yes"} <= set(lines)
    assert "include /etc/redis-auth/auth.conf" in lines
    claim = the(default, "StatefulSet", "redis")["spec"]["volumeClaimTemplates"][0]["spec"]
    assert claim["resources"]["requests"]["storage"] == "8Gi"
    assert "storageClassName" not in claim


def test_the_bundled_server_may_be_redis_without_disk_and_password() -> None:
    objects = render(scenario="ephemeral")
    server = the(objects, "StatefulSet", "redis")["spec"]
    (container,) = server["template"]["spec"]["containers"]
    assert container["image"] == "redis:8"
    assert container["command"] == ["redis-server"]
    assert "env" not in container
    assert "volumeClaimTemplates" not in server
    assert {"name": "data", "emptyDir": {}} in server["template"]["spec"]["volumes"]
    configuration = the(objects, "ConfigMap", "redis")["data"]["redis.conf"].splitlines()
    assert configuration[-2:] == ["hz 50", "lazyfree-lazy-user-del yes"]
    assert "protected-mode no" in configuration
    assert secret_data(objects) == {"url": "redis://short-redis:6379/0"}


def test_scaling_does_not_touch_a_pod(default: list[Manifest]) -> None:
    assert pod_of(default, "hello") == pod_of(render(FIXED, "environments.hello.replicas=10"), "hello")


# environments


def test_an_environment_is_merged_over_the_defaults() -> None:
    objects = render(scenario="several")
    assert [variables(replica(objects, name))["LANGUAGE"] for name in ("embed", "rank")] == ["de", "en"]
    assert variables(replica(objects, "rank"))["ACTORQ_DRAIN_SECONDS"] == "120"
    counts = {name: the(objects, "Deployment", "replica", name)["spec"]["replicas"] for name in ("embed", "parked")}
    assert counts == {"embed": 8, "parked": 0}


def test_what_is_not_enabled_leaves_nothing() -> None:
    assert "old" not in json.dumps([each["metadata"] for each in render(scenario="several")])
    assert not of_kind(render(scenario="several"), "Deployment", environment="hello")


def test_a_digest_does_not_overrule_the_tag_of_an_environment() -> None:
    objects = render(scenario="several")
    assert replica(objects, "embed")["image"].startswith("registry.example.org/team/tasks@sha256:")
    assert replica(objects, "rank")["image"] == "registry.example.org/team/tasks:canary"


def test_a_gpu_is_a_limit_and_its_node_is_chosen() -> None:
    objects = render(scenario="gpu")
    spec, container = pod_of(objects, "embeddings")["spec"], replica(objects, "embeddings")
    assert container["resources"]["limits"] == {"memory": "16Gi", "nvidia.com/gpu": 1}
    assert spec["nodeSelector"] == {"accelerator": "a100"}
    assert spec["tolerations"][0]["key"] == "nvidia.com/gpu"
    assert spec["runtimeClassName"] == "nvidia"
    strategy = the(objects, "Deployment", "replica")["spec"]["strategy"]
    assert strategy == {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 0, "maxUnavailable": 1}}


def test_variables_are_text_and_secrets_are_references() -> None:
    container = replica(render(scenario="gpu"), "embeddings")
    given = variables(container)
    assert (given["BATCH"], given["HF_HUB_OFFLINE"]) == ("64", "true")
    assert given["HF_TOKEN"] == {"secretKeyRef": {"name": "hub", "key": "token"}}
    assert {"name": "secret-1", "mountPath": "/etc/certificates", "readOnly": True} in container["volumeMounts"]


def test_a_setting_may_be_overruled_but_stands_once() -> None:
    given = variables(replica(render("environments.hello.env.ACTORQ_LOG_LEVEL=debug"), "hello"))
    assert given["ACTORQ_LOG_LEVEL"] == "debug"


def test_large_numbers_are_not_written_in_powers_of_ten() -> None:
    objects = render("environments.hello.env.N=12345678", "podSecurityContext.runAsUser=1000660000")
    assert variables(replica(objects, "hello"))["N"] == "12345678"
    assert pod_of(objects, "hello")["spec"]["securityContext"]["runAsUser"] == 1000660000


def test_the_spread_counts_the_environments_own_pods(default: list[Manifest]) -> None:
    (constraint,) = pod_of(default, "hello")["spec"]["topologySpreadConstraints"]
    assert constraint["whenUnsatisfiable"] == "ScheduleAnyway"
    assert selected(constraint["labelSelector"], default) == {"hello"}
    assert "topologySpreadConstraints" not in pod_of(render(scenario="several"), "rank")["spec"]


def test_a_recreated_environment_has_no_rolling_update() -> None:
    assert the(render(scenario="several"), "Deployment", "replica", "rank")["spec"]["strategy"] == {"type": "Recreate"}


def test_an_init_container_fills_the_volume_that_the_replica_reads() -> None:
    objects = render(scenario="model-volume")
    (first,) = pod_of(objects, "words")["spec"]["initContainers"]
    assert "restartPolicy" not in first
    assert first["image"] == "actorq:0.1.0"
    mounts = replica(objects, "words")["volumeMounts"]
    assert [mount for mount in mounts if mount["name"] == "models"] == [{"name": "models", "mountPath": "/models"}]


def test_a_sidecar_outlives_the_replica_that_needs_it() -> None:
    spec = pod_of(render(scenario="sidecar"), "shouts")["spec"]
    (sidecar,) = spec["initContainers"]
    assert (sidecar["name"], sidecar["restartPolicy"]) == ("model", "Always")
    assert [container["name"] for container in spec["containers"]] == ["replica"]


def test_a_sidecar_is_a_plain_container_where_there_is_no_other() -> None:
    spec = pod_of(render(scenario="sidecar", kubernetes="1.28.0"), "shouts")["spec"]
    assert "initContainers" not in spec
    assert [container["name"] for container in spec["containers"]] == ["replica", "model"]
    assert "restartPolicy" not in spec["containers"][1]


def test_extra_objects_are_templates() -> None:
    (extra,) = (each for each in render(scenario="several") if each["metadata"]["name"] == "shared")
    assert extra["metadata"]["annotations"] == {"served-by": "demo"}


# policies


@pytest.mark.parametrize("scenario", NAMES)
def test_selectors_mean_exactly_their_own_pods(scenario: str) -> None:
    objects = render(scenario=scenario)
    for kind in ("Deployment", "PodDisruptionBudget"):
        for each in of_kind(objects, kind, "replica"):
            name = each["metadata"]["labels"]["actorq.dev/environment"]
            assert selected(each["spec"]["selector"], objects) == {name}
    for each in of_kind(objects, "Service", "redis"):
        assert selected({"matchLabels": each["spec"]["selector"]}, objects) == {"redis"}


def test_a_node_drain_takes_one_replica_at_a_time_and_never_waits_for_a_sick_one(default: list[Manifest]) -> None:
    spec = the(default, "PodDisruptionBudget")["spec"]
    assert (spec["maxUnavailable"], spec["unhealthyPodEvictionPolicy"]) == (1, "AlwaysAllow")


def _let_in(policy: Manifest, objects: list[Manifest]) -> set[str]:
    (rule,) = policy["spec"]["ingress"]
    return {name for peer in rule["from"] for name in selected(peer["podSelector"], objects)}


def test_redis_lets_in_the_releases_pods_and_labelled_clients_alone() -> None:
    objects = render("metrics.exporter.enabled=true")
    policy = the(objects, "NetworkPolicy", "redis")
    assert selected(policy["spec"]["podSelector"], objects) == {"redis"}
    assert _let_in(policy, objects) == {"hello", "exporter", "test"}
    labelled = {"matchLabels": {"actorq.dev/redis-client": "true"}}
    assert {"podSelector": labelled} in policy["spec"]["ingress"][0]["from"]
    assert "egress" not in policy["spec"]
    assert "Egress" in policy["spec"]["policyTypes"]


def test_replicas_are_closed_only_on_request(default: list[Manifest]) -> None:
    assert not of_kind(default, "NetworkPolicy", "replica")
    objects = render(scenario="monitoring")
    policy = the(objects, "NetworkPolicy", "replica")["spec"]
    assert selected(policy["podSelector"], objects) == {"hello", "exporter", "test"}
    assert selected(policy["egress"][1]["to"][0]["podSelector"], objects) == {"redis"}
    assert policy["ingress"][0]["ports"] == [{"port": "http", "protocol": "TCP"}]


def test_closed_replicas_reach_an_external_server_and_what_is_opened() -> None:
    policy = the(render(scenario="external-redis"), "NetworkPolicy", "replica")["spec"]
    assert "ingress" not in policy
    ports = [port["port"] for rule in policy["egress"] for port in rule["ports"]]
    assert ports == [53, 53, 6380, 443]


# KEDA


def test_keda_owns_the_number_of_replicas() -> None:
    objects = render(scenario="keda")
    assert "replicas" not in the(objects, "Deployment", "replica")["spec"]
    spec = the(objects, "ScaledObject")["spec"]
    assert spec["scaleTargetRef"]["name"] == the(objects, "Deployment", "replica")["metadata"]["name"]
    assert (spec["minReplicaCount"], spec["maxReplicaCount"], spec["cooldownPeriod"]) == (0, 20, 600)
    service = the(objects, "Service", "exporter")
    asked: dict[str, Any] = {}
    for trigger in spec["triggers"]:
        metadata = trigger["metadata"]
        assert metadata["url"] == f"http://{service['metadata']['name']}.work.svc:9090/metrics"
        assert all(isinstance(value, str) for value in metadata.values())
        asked[metadata["valueLocation"]] = metadata["targetValue"]
    assert asked == {
        'actorq_map_inputs_remaining{environment="hello"}': "50",
        'actorq_queue_inputs{environment="hello"}': "50",
        'actorq_running_leases{environment="hello"}': "1",
    }
