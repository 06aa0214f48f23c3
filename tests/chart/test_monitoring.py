"""Alerts and dashboard parse and name metrics that exist; alerts fire when they should, and only then."""

from __future__ import annotations

import json
import re
from pathlib import Path

import promql_parser
import yaml

from actorq.monitor.metrics import queue_families, replica_families
from tests.chart.rendering import CHART, Manifest, render, run, selected, the

#: every metric there is, with its labels
METRICS = {
    # replicas
    "actorq_inputs_total": {"environment", "outcome"},
    "actorq_leases_total": {"environment"},
    "actorq_busy_seconds_total": {"environment"},
    "actorq_executor_restarts_total": {"environment"},
    "actorq_replicas": {"environment", "state"},
    "actorq_cache_hits_total": {"environment", "function"},
    "actorq_cache_misses_total": {"environment", "function"},
    "actorq_cache_loads_total": {"environment", "function"},
    "actorq_cache_load_seconds_total": {"environment", "function"},
    "actorq_cache_evictions_total": {"environment", "function"},
    "actorq_cache_entries": {"environment", "function"},
    "actorq_cache_bytes": {"environment", "function"},
    "actorq_last_renewal_timestamp_seconds": {"environment"},
    "actorq_broker_errors_total": {"environment"},
    # the exporter
    "actorq_queue_leases": {"environment"},
    "actorq_runs": {"environment"},
    "actorq_undriven_runs": {"environment"},
    "actorq_scheduled_jobs": {"environment"},
    "actorq_queue_inputs": {"environment"},
    "actorq_queue_oldest_age_seconds": {"environment"},
    "actorq_map_starved_seconds": {"environment"},
    "actorq_running_leases": {"environment"},
    "actorq_live_replicas": {"environment", "state"},
    "actorq_failed_inputs": {"environment"},
    "actorq_maps": {"environment"},
    "actorq_map_inputs_remaining": {"environment"},
    "actorq_broker_up": set(),
    # both
    "actorq_build_info": {"version"},
}
#: what Prometheus adds to every series of a pod
TARGET = {"namespace", "pod", "job"}

DASHBOARD: Manifest = json.loads((CHART / "files" / "dashboard.json").read_text())


def rules() -> Manifest:
    """The rules as Prometheus reads them."""
    spec: Manifest = the(render(scenario="monitoring"), "PrometheusRule")["spec"]
    return spec


def alerts() -> dict[str, str]:
    return {rule["alert"]: rule["expr"] for group in rules()["groups"] for rule in group["rules"]}


def queries() -> dict[str, str]:
    """The expressions of the dashboard, with Grafana's variables filled in."""
    variables = {"$__rate_interval": "5m", "$namespace": ".*", "$environment": ".*"}
    found = {}
    for panel in DASHBOARD["panels"]:
        for target in panel["targets"]:
            expression = target["expr"]
            for name, value in variables.items():
                expression = expression.replace(name, value)
            found[f"{panel['title']} {target['refId']}"] = expression
    return found


def selectors(expression: str) -> list[tuple[str, set[str]]]:
    """The metrics of an expression, each with the labels it is selected by."""
    found: list[tuple[str, set[str]]] = []

    def visit(node: promql_parser.Expr) -> None:
        selector = node.vector_selector if isinstance(node, promql_parser.MatrixSelector) else node
        if isinstance(selector, promql_parser.VectorSelector):
            found.append((str(selector.name), {matcher.name for matcher in selector.matchers.matchers}))

    promql_parser.walk(promql_parser.parse(expression), visit)
    return found


def grouped_by(expression: str) -> set[str]:
    return {label.strip() for labels in re.findall(r"\bby \(([^)]*)\)", expression) for label in labels.split(",")}


def test_these_are_the_metrics_that_replicas_and_exporter_serve() -> None:
    served = {}
    for family in [*replica_families("hello", [], 0, 0), *queue_families([])]:
        name = f"{family.name}_total" if family.type == "counter" else family.name
        served[name] = set(family._labelnames)
    assert served == METRICS


def test_every_expression_parses_and_names_what_exists() -> None:
    for name, expression in (alerts() | queries()).items():
        names = dict(selectors(expression))
        assert names, name
        for metric, labels in selectors(expression):
            assert metric in METRICS, name
            assert labels <= METRICS[metric] | TARGET, f"{name}: {metric} is selected by {labels}"
        known = set[str]().union(*(METRICS[metric] for metric in names), TARGET)
        assert grouped_by(expression) <= known, name


def test_the_dashboard_shows_every_metric() -> None:
    shown = {metric for expression in queries().values() for metric, _ in selectors(expression)}
    assert set(METRICS) == shown


def test_panels_have_their_own_place_and_number() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        place = panel["gridPos"]
        rows, columns = range(place["y"], place["y"] + place["h"]), range(place["x"], place["x"] + place["w"])
        cells = {(x, y) for x in columns for y in rows}
        assert not cells & taken, panel["title"]
        assert max(x for x, _ in cells) < 24
        taken |= cells
    numbers = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(set(numbers)) == len(numbers)


def test_the_dashboard_is_a_config_map_that_grafana_finds() -> None:
    objects = render(scenario="monitoring")
    (found,) = (each for each in objects if each["metadata"]["name"].endswith("-dashboard"))
    assert found["metadata"]["labels"]["grafana_dashboard"] == "1"
    assert json.loads(found["data"]["actorq.json"]) == DASHBOARD


def test_monitors_find_the_ports_of_their_pods() -> None:
    objects = render(scenario="monitoring")
    monitor = the(objects, "PodMonitor", "replica")
    assert monitor["metadata"]["labels"]["release"] == "prometheus"
    assert selected(monitor["spec"]["selector"], objects) == {"hello"}
    assert monitor["spec"]["podMetricsEndpoints"] == [{"port": "http", "path": "/metrics", "interval": "30s"}]
    monitor = the(objects, "ServiceMonitor", "exporter")
    service = the(objects, "Service", "exporter")
    assert monitor["spec"]["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()
    assert monitor["spec"]["endpoints"][0]["port"] == service["spec"]["ports"][0]["name"]


def test_nothing_is_monitored_unless_it_is_asked_for() -> None:
    assert not {each["kind"] for each in render()} & {"PodMonitor", "ServiceMonitor", "PrometheusRule", "ScaledObject"}


def test_no_alert_misses_replicas_that_are_not_wanted() -> None:
    on = ("metrics.exporter.enabled=true", "metrics.prometheusRule.enabled=true")
    for off in ("environments.hello.replicas=0", "environments.hello.keda.enabled=true"):
        assert "ActorqReplicasMissing" not in json.dumps(the(render(*on, off), "PrometheusRule"))


def test_every_alert_has_a_unit_test() -> None:
    cases = yaml.safe_load((Path(__file__).parent / "alerts_test.yaml").read_text())["tests"]
    fired = {test["alertname"] for case in cases for test in case["alert_rule_test"] if test["exp_alerts"]}
    assert set(alerts()) == fired


def test_alerts_fire_when_they_should_and_only_then(tmp_path: Path) -> None:
    (tmp_path / "rules.yaml").write_text(yaml.safe_dump(rules()))
    cases = tmp_path / "alerts_test.yaml"
    cases.write_text((Path(__file__).parent / "alerts_test.yaml").read_text())
    for arguments in (
        ("check", "rules", "--lint=all", "--lint-fatal", tmp_path / "rules.yaml"),
        ("test", "rules", cases),
    ):
        done = run("promtool", *arguments)
        assert done.returncode == 0, done.stdout + done.stderr
