"""In a real browser: a click does what it says, what is shown stays true without a reload, and everybody can use it."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from actorq import PoolError
from actorq.broker.link import Link
from actorq.monitor.failures import failures
from tests.conftest import Worker, eventually
from tests.page.browser import Browser, browser, missing
from tests.support.code import tasks
from tests.support.served_page import TOKEN, Served, served

pytestmark = pytest.mark.skipif(bool(missing()), reason=f"SKIPPED, the page in a browser: {missing()}")


@pytest.fixture(scope="module")
def light() -> Iterator[Browser]:
    with browser() as window:
        yield window


@pytest.fixture
def busy(worker: Worker, tmp_path: Path) -> Iterator[Served]:
    """The page of a server with a map that goes on until it is cancelled, failures of another one, and a run."""
    with served(worker.url, actions=True) as page:
        list(tasks.fails_at.map(range(7), map_id="broken", return_exceptions=True))
        run = tasks.fails_at.spawn_map(range(7), map_id="kept", return_exceptions=True)
        run.wait(60)

        def submit() -> None:
            with contextlib.suppress(PoolError):
                list(tasks.until.map([str(tmp_path / "never")] * 4, map_id="live"))

        thread = threading.Thread(target=submit)
        thread.start()
        assert eventually(lambda: page.shows("/work", "this map", id="live"))
        assert eventually(lambda: page.shows("/work", "Retry", id="kept") or page.shows("/work", "retry it", id="kept"))
        yield page
        page.client.post("/do/cancel", data={"name": "live"}, auth=("", TOKEN))
        thread.join()
        run.delete()


def test_a_click_cancels_a_real_map_and_the_page_says_so_without_a_reload(busy: Served, light: Browser) -> None:
    light.open(f"{busy.url}/work?id=live")
    light.find('a[href^="/login"]')
    light.run("document.querySelector('main a[href^=\"/login\"]').click()")
    light.find("#token").send_keys(TOKEN)
    light.find("main button").click()
    light.wait_live()
    light.find("#act-cancel summary").click()
    light.find("#act-cancel button").click()
    light.wait_for("Map live is cancelled")
    light.run("window.same = true")
    light.wait_for("It is not on the server any more.")
    assert light.run("return window.same") is True
    assert light.complaints() == []


def fail(map_id: str) -> None:
    """One input of a map fails."""
    list(tasks.fails_at.map(range(7), map_id=map_id, return_exceptions=True))


def test_what_comes_is_shown_without_a_reload_and_what_is_open_or_focused_stays(worker: Worker, light: Browser) -> None:
    fail("first")
    with served(worker.url) as page:
        assert eventually(lambda: page.shows("/failures", "details", env="plain"))
        light.open(f"{page.url}/failures?env=plain")
        light.wait_live()
        light.find("details.trace summary").click()
        light.run("window.same = true; document.querySelector('details.group summary').focus()")
        fail("again")
        light.find('a[href="/work?id=again"]')
        assert light.run("return window.same") is True
        assert light.run("return document.querySelector('.count').textContent") == "2"
        assert light.run("return document.querySelector('details.trace').open") is True
        assert light.run("return document.activeElement.localName") == "summary"
        light.run("document.querySelector('details.group summary').click()")
        fail("more")
        light.find('a[href="/work?id=more"]')
        assert light.run("return document.querySelector('details.group').open") is False
        light.open("about:blank")


def test_a_monitor_that_ends_is_told_and_so_is_one_that_comes_back(server: str, light: Browser) -> None:
    with served(server) as page:
        light.open(page.url)
        light.wait_live()
    light.wait_for("not connected")


def test_the_first_key_leads_past_the_bar(busy: Served, light: Browser) -> None:
    from selenium.webdriver.common.keys import Keys

    light.open(busy.url)
    light.find("body").send_keys(Keys.TAB)
    assert light.run("return document.activeElement.className") == "skip"
    light.driver.switch_to.active_element.send_keys(Keys.ENTER)
    assert light.run("return document.activeElement.id") == "main"


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", [1280, 400])
def test_everybody_can_use_every_page_and_no_page_is_wider_than_the_window(
    busy: Served, worker: Worker, dark: bool, width: int
) -> None:
    link = Link(worker.url, patience=0.0)
    (one,) = failures(link, "plain", map_id="broken")
    link.close()
    paths = ["/", "/work?id=live", "/work?id=kept", "/work?id=broken", "/replicas", "/failures?env=plain", "/nix"]
    paths += [f"/failure?env=plain&id={one.id}", "/failure?id=kept&q=3", "/?q=nothing", "/login"]
    with browser(dark=dark, width=width) as window:
        for path in (*paths, "logged in", *paths[:3]):
            if path == "logged in":
                window.find("#token").send_keys(TOKEN)
                window.find("main button").click()
                window.find(".quiet")
                continue
            window.open(busy.url + path)
            if path not in ("/nix", "/login", "/work?id=broken"):
                window.wait_live()
            window.run("document.querySelectorAll('details').forEach(each => { each.open = true; })")
            assert window.violations() == [], path
            assert window.run("return document.documentElement.scrollWidth") <= width, path
        assert [line for line in window.complaints() if "404" not in line] == []


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_everybody_can_use_a_page_whose_server_is_empty_or_away(server: str, dark: bool) -> None:
    with browser(dark=dark) as window, served(server, private=True, actions=True) as page:
        window.open(page.url)
        assert window.violations() == []
        window.find("#token").send_keys(TOKEN)
        window.find("main button").click()
        window.wait_for("No environment was used")
        assert window.violations() == []
        link = Link(server, patience=0.0)
        link.command("CONFIG", "SET", "requirepass", "other")
        link.command("CLIENT", "KILL", "TYPE", "NORMAL")
        link.close()
        window.wait_for("The server does not answer.")
        assert window.violations() == []
