"""The documentation as a whole: nothing in it leads nowhere, and nothing in it goes without a test by accident."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from dataclasses import fields
from functools import cache

import pytest
import yaml

import actorq
from actorq import ActorEnvironment
from actorq.base.settings import Settings
from actorq.declare.calling import MapArguments
from hatch_build import for_index
from tests.docs.pages import ROOT, Block, pages

#: what no test runs: page and first line. A block that is not run says why above it, and stands here, too
NOT_RUN = {
    "docs/command-line.md": ['$ eval "$(_ACTORQ_COMPLETE=bash_source actorq)"     # ~/.bashrc'],
    "README.md": [
        "$ make demo     # identify 2,000 files with a model on 4 warm replicas, and see what that saves",
        "$ pip install '.[embedded]'",
    ],
    "docs/kubernetes.md": [
        "$ helm install rel charts/actorq --set environments.hello.target=actorq.hello",
        "env.up()  # before a map needs it",
        "$ kubectl port-forward svc/rel-actorq-monitor 8080 &     # then open http://localhost:8080/",
    ],
    "docs/monitor.md": [
        "$ pip install '.[monitor]'",
        '$ curl -u ":$(cat token)" -d name=my-map http://127.0.0.1:8080/do/cancel',
    ],
    "docs/operations-and-monitoring.md": [
        "$ actorq scale hello 20     # replicas made on demand; for a chart release it says the helm command",
        "$ pip install '.[watch]'",
        "$ actorq logs wiki-2026-11                # of a map, a run or a job: each line behind what ran",
    ],
    "docs/recipes/from-celery.md": ['app = Celery("reports", broker="redis://", backend="redis://")'],
    "docs/recipes/from-joblib.md": [
        "results = Parallel(n_jobs=4)(delayed(simulate)(seed, steps=100) for seed in range(1000))",
    ],
    "docs/recipes/from-modal.md": ['app = modal.App("captions")'],
    "docs/recipes/from-rq.md": ['queue = Queue("thumbnails", connection=Redis())'],
    "docs/recipes/from-union.md": ["env = union.ActorEnvironment("],
    "docs/security.md": ["$ openssl rand -hex 32"],
    "docs/recipes/files.md": ["$ actorq map texts.py:embed --input rows.jsonl --output out.jsonl"],
    "docs/runs.md": [
        "$ actorq runs                          # state, task, done/total, failed, rate, age, driver and size of each",
    ],
    "docs/testing.md": ["import pytest"],
    "docs/tutorial.md": ["$ pip install '.[embedded]'"],
}
#: beside the pages
CHART = "charts/actorq/README.md"
OTHERS = ["CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md", CHART]
_LANGUAGES = {"console", "python", "text", "yaml"}
_LONGEST_README = 150
#: a link to any other is a mistake: the project has no site
_HOSTS = {"keepachangelog.com", "semver.org"}
_LONGEST_LINE = 120

_LINK = re.compile(r"\[[^\]]+\]\(([^)\s]+)\)")
_HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)
_TARGET = re.compile(r"`make ([a-z][a-z-]*)|^\$ make ([a-z][a-z-]*)", re.MULTILINE)
_VARIABLE = re.compile(r"(?<!_)ACTORQ_[A-Z_]+")


@cache
def texts() -> dict[str, str]:
    """All that is written for readers."""
    return {name: page.text for name, page in pages().items()} | {name: (ROOT / name).read_text() for name in OTHERS}


def all_blocks() -> Iterator[Block]:
    for page in pages().values():
        yield from page.blocks


def anchors(text: str) -> set[str]:
    """The names under which a page's headings are found, as they are rendered in most places."""
    headings = [re.sub(r"[^\w\- ]", "", heading.lower()) for heading in _HEADING.findall(text)]
    return {heading.strip().replace(" ", "-") for heading in headings}


def test_every_block_that_is_not_run_is_listed_here() -> None:
    found = {
        name: titles
        for name, page in pages().items()
        if (titles := [block.title for block in page.blocks if not block.runs])
    }
    assert found == NOT_RUN


def test_every_block_says_its_language() -> None:
    assert {block.language for block in all_blocks()} <= _LANGUAGES


def test_no_code_hides_in_an_indented_block() -> None:
    indented = re.compile(r"\n\n(?: {4}|\t)(?! *[*\d])")
    assert [page.name for page in pages().values() if indented.search(page.prose)] == []


def test_every_file_of_a_page_is_used_by_a_command_of_it() -> None:
    for page in pages().values():
        for name in page.files:
            assert any(name in command for command, _ in page.commands), f"{page.name} runs no {name}"


def test_yaml_can_be_read() -> None:
    for block in all_blocks():
        if block.language == "yaml":
            assert isinstance(yaml.safe_load(block.text), dict)


@pytest.mark.parametrize("name", [*pages(), *OTHERS])
def test_every_row_of_a_table_has_a_cell_for_each_column(name: str) -> None:
    for table in re.findall(r"(?:^\|.*\n)+", texts()[name], re.MULTILINE):
        rows = [re.sub(r"`[^`]*`|\\\|", "", line).count("|") for line in table.splitlines()]
        assert len(set(rows)) == 1, table


def test_the_readme_is_short() -> None:
    assert len(texts()["README.md"].splitlines()) <= _LONGEST_README


def test_no_line_of_a_page_is_too_long() -> None:
    for name, text in texts().items():
        long = [line for line in text.splitlines() if len(line) > _LONGEST_LINE and not line.startswith("|")]
        assert long == [] or name == CHART, name


@pytest.mark.parametrize("name", ["README.md", *OTHERS, *(name for name in pages() if name != "README.md")])
def test_every_link_leads_somewhere(name: str) -> None:
    for link in _LINK.findall(texts()[name]):
        if link.startswith("https://"):
            assert link.split("/")[2] in _HOSTS
            continue
        path, _, anchor = link.partition("#")
        target = (ROOT / name).parent / path if path else ROOT / name
        assert target.exists(), f"{name} links to {link}"
        if anchor:
            assert anchor in anchors(target.read_text()), f"{name} links to {link}"


def test_every_page_is_found_from_an_index() -> None:
    linked = set()
    for index in ("README.md", "docs/index.md", "docs/recipes/index.md"):
        for link in _LINK.findall(texts()[index]):
            linked.add(str(((ROOT / index).parent / link.partition("#")[0]).resolve().relative_to(ROOT)))
    assert set(pages()) - linked <= {"README.md", "docs/index.md"}


def test_every_make_target_that_is_named_exists() -> None:
    makefiles = [ROOT / "Makefile", ROOT / "images" / "image.mk", ROOT / "tests" / "chart" / "tools.mk"]
    rules = "\n".join(path.read_text() for path in makefiles)
    targets = set(re.findall(r"^([a-z][a-z-]*):", rules, re.MULTILINE))
    named = {first or second for text in texts().values() for first, second in _TARGET.findall(text)}
    assert named - targets == set()


def test_the_readme_names_the_command_that_continuous_integration_runs() -> None:
    assert "$ make test" in texts()["README.md"]
    assert "exec make test" in (ROOT / ".ci" / "run").read_text()


def test_every_setting_that_is_named_exists() -> None:
    known = {f"ACTORQ_{field.name.upper()}" for field in fields(Settings)}
    source = "\n".join(path.read_text() for path in (ROOT / "actorq").rglob("*.py"))
    named = {name for page in pages().values() for name in _VARIABLE.findall(page.text)}
    assert {name for name in named - known if f'"{name.removesuffix("_FILE")}"' not in source} == set()


def test_every_option_is_documented() -> None:
    page = texts()["docs/tasks-and-maps.md"]
    options = {*ActorEnvironment.__init__.__annotations__} - {"name", "return"}
    options |= {*ActorEnvironment.task.__annotations__} - {"function", "return"}
    options |= {*MapArguments.__annotations__, "return_exceptions"}
    assert {name for name in options if f"`{name}`" not in page} == set()


def test_every_error_is_documented() -> None:
    page = texts()["docs/failures.md"]
    errors = {name for name in actorq.__all__ if name.endswith("Error")} - {"ActorqError"}
    assert {name for name in errors if name not in page} == set()


def test_a_package_index_is_given_no_link_that_leads_nowhere() -> None:
    shown = for_index(texts()["README.md"])
    assert [link for link in _LINK.findall(shown) if not link.startswith("https://")] == []
    assert "Tutorial (`docs/tutorial.md`)" in shown


def test_the_floors_of_the_page_are_those_that_lint_checks() -> None:
    rooms = re.findall(r"`actorq/(\w+)/`", texts()["docs/architecture.md"].partition("## The floors")[2])
    layers = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"][0]["layers"]
    assert rooms == [layer for layer in layers if (ROOT / "actorq" / layer).is_dir()]


def test_no_page_promises_more_than_at_least_once() -> None:
    assert [name for name, text in texts().items() if re.search(r"exactly[- ]once", text, re.IGNORECASE)] == []


def test_the_rule_of_the_login_is_the_one_that_the_chart_grants() -> None:
    values = yaml.safe_load((ROOT / "charts" / "actorq" / "values.yaml").read_text())
    assert values["redis"]["auth"]["rules"] in texts()["docs/security.md"]
