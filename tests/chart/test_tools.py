"""Tools are brought as they are needed, and a registry that has a moment is asked again."""

from __future__ import annotations

import pytest

from tests.chart import tools


@pytest.fixture
def downloads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What happens to one download after the other: "ok", or what is wrong. Those that were made are gone."""
    fates: list[str] = []

    def run(*command: object, cwd: object = None) -> None:
        fate = fates.pop(0)
        if fate != "ok":
            raise tools.UnavailableError(fate)

    monkeypatch.setattr(tools, "_run", run)
    monkeypatch.setattr(tools, "_PAUSES", (0.0, 0.0))
    return fates


def test_a_download_that_fails_is_tried_again(downloads: list[str]) -> None:
    downloads += ["reset", "reset", "ok"]
    tools._download("get it")
    assert not downloads


def test_a_download_that_fails_every_time_says_why(downloads: list[str]) -> None:
    downloads += ["first", "second", "third"]
    with pytest.raises(tools.UnavailableError, match="third"):
        tools._download("get it")


def test_only_the_tools_that_are_named_are_brought(monkeypatch: pytest.MonkeyPatch) -> None:
    brought: list[str] = []

    def bring(tool: tools.Tool) -> str:
        brought.append(tool.name)
        return ""

    monkeypatch.setattr(tools, "bring", bring)
    assert tools.main(["helm4", "kubectl"]) == 0
    assert sorted(brought) == ["helm4", "kubectl"]
    brought.clear()
    tools.main([])
    assert len(brought) == len(tools.ALL)
