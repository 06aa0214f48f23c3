"""Other people's rules: checkov over what the chart renders and over the Dockerfile."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import yaml

from tests.chart.rendering import ROOT, render, run

#: checks that do not hold here, and why
ACCEPTED = {
    "CKV2_K8S_6": "replicas are closed only on request (networkPolicy.replicas): tasks fetch models and call services",
    "CKV_K8S_11": "no limit on processor time: throttled inputs are late for no gain; requests share it out",
    "CKV_K8S_15": "Always would start no replica while the registry is away; a tag of the chart never changes",
    "CKV_K8S_43": "a digest is the user's to pin (image.digest): the chart cannot know that of his registry",
}
#: those that only `helm test`'s pod fails
ACCEPTED_OF_TEST = {
    "CKV_K8S_8": "it runs to its end: activeDeadlineSeconds stops it, not a probe",
    "CKV_K8S_9": "nobody calls it",
}


@pytest.mark.timeout(180)
def test_checkov_finds_only_what_is_accepted(tmp_path: Path) -> None:
    (tmp_path / "release.yaml").write_text(
        yaml.safe_dump_all(render("metrics.exporter.enabled=true", "monitor.enabled=true"))
    )
    shutil.copy(ROOT / "images" / "Dockerfile", tmp_path)
    frameworks = ("--framework", "kubernetes", "--framework", "dockerfile")
    done = run("checkov", "--skip-download", "--quiet", "--output", "json", *frameworks, "--directory", tmp_path)
    reports = {report["check_type"]: report for report in json.loads(done.stdout)}
    assert {name: report["summary"]["passed"] > 50 for name, report in reports.items()} == {
        "kubernetes": True,
        "dockerfile": True,
    }
    failed = {
        (check["check_id"], check["resource"])
        for report in reports.values()
        for check in report["results"]["failed_checks"]
    }
    of_test = {(check, name) for check, name in failed if check in ACCEPTED_OF_TEST and name.endswith("-actorq-test")}
    assert {each for each in failed if each[0] not in ACCEPTED} == of_test
    assert {check for check, _ in failed} == {*ACCEPTED, *ACCEPTED_OF_TEST}, "a reason that nothing needs any more"
