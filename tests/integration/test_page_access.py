"""Who may see the page, who may change things with it, and what a browser may do with what it gets."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from click.testing import CliRunner

from actorq import PoolError
from actorq.base.settings import settings
from actorq.broker import records
from actorq.broker.link import Link
from actorq.cli.main import main
from actorq.page.access import Access
from tests.conftest import ROOT, Worker, eventually
from tests.support.code import tasks
from tests.support.served_page import TOKEN, Served, served


@pytest.fixture
def page(server: str) -> Iterator[Served]:
    with served(server, actions=True) as found:
        yield found


@pytest.fixture
def link(server: str) -> Iterator[Link]:
    link = Link(server, patience=0.0)
    yield link
    link.close()


def is_suspended(link: Link) -> bool:
    return records.is_suspended(link)


def test_every_answer_tells_the_browser_what_it_may_not_do(page: Served) -> None:
    for path in ("/", "/replicas", "/login", "/nix", "/static/page.js", "/static/page.css", "/livez"):
        headers = page.client.get(path).headers
        policy = headers["content-security-policy"]
        assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self';")
        assert "unsafe" not in policy
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "same-origin"
        assert headers["cache-control"] == "no-store"
        assert "server" not in headers


def test_nothing_on_a_page_needs_another_host_or_an_inline_script(page: Served) -> None:
    for path in ("/", "/replicas", "/login", "/static/page.js", "/static/page.css"):
        text = page.get(path)
        assert "http://" not in text.replace("http://www.w3.org", "")
        assert "https://" not in text
        assert "<script>" not in text
        assert " onclick" not in text
        assert 'style="' not in text


@pytest.mark.parametrize("host", ["evil.example", "evil.example:80", "127.0.0.1.evil.example", "", "[::2]:1"])
def test_a_name_that_leads_here_and_is_not_known_is_refused(page: Served, host: str) -> None:
    for path in ("/", "/live/overview", "/static/page.js"):
        reply = page.client.get(path, headers={"host": host})
        assert reply.status_code in (400, 421)
        assert "actorq" not in reply.text
    assert page.client.get("/livez", headers={"host": host or "x"}).status_code == 200


def test_names_that_are_told_are_known(server: str) -> None:
    with served(server, allowed_hosts=["monitor.example"]) as page:
        for host in ("monitor.example", "Monitor.Example:8080", "localhost:1", "127.0.0.1", "[::1]:80"):
            assert page.client.get("/", headers={"host": host}).status_code == 200


def test_without_allow_actions_nothing_can_be_changed_and_nobody_logs_in(server: str, link: Link) -> None:
    with served(server) as page:
        assert page.server.token is None
        assert page.client.get("/login").status_code == 404
        assert page.post("/login", token=TOKEN).status_code == 404
        for headers in ({}, {"authorization": "Basic OmEtdG9rZW4tb2YtdGhlLXRlc3Rz"}):
            assert page.client.post("/do/suspend", headers=headers).status_code == 403
        assert "Suspend" not in page.get("/")
    assert not is_suspended(link)


def test_an_action_needs_the_token_the_secret_of_the_form_and_the_page_as_its_origin(page: Served, link: Link) -> None:
    assert page.post("/do/suspend").status_code == 403
    csrf = page.log_in()
    for wrong in ("", "x", csrf[:-1]):
        assert page.post("/do/suspend", csrf=wrong).status_code == 403
    for origin in ("http://evil.example", "null", f"http://localhost:{page.server.port}", "http://127.0.0.1:1"):
        reply = page.client.post("/do/suspend", data={"csrf": csrf}, headers={"origin": origin})
        assert reply.status_code == 403
    across = {"sec-fetch-site": "same-site"}
    assert page.client.post("/do/suspend", data={"csrf": csrf}, headers=across).status_code == 403
    assert not is_suspended(link)
    assert page.post("/do/suspend", csrf=csrf).headers["location"] == "/"
    assert is_suspended(link)
    assert "All queues of this server are suspended" in page.get("/")
    assert eventually(lambda: page.shows("/", "All queues are suspended, until"))
    page.post("/do/resume", csrf=csrf)
    assert not is_suspended(link)


def test_the_cookie_is_kept_from_scripts_and_other_sites(page: Served) -> None:
    reply = page.post("/login", token=TOKEN, next="/replicas")
    cookie = reply.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=strict" in cookie
    assert "Secure" not in cookie
    assert TOKEN not in cookie
    assert reply.headers["location"] == "/replicas"
    behind = page.client.post("/login", data={"token": TOKEN}, headers={"x-forwarded-proto": "https"})
    assert "Secure" in behind.headers["set-cookie"]


@pytest.mark.parametrize("back", ["//evil.example", "https://evil.example", "/\\evil.example", "", "/a\r\nx: y"])
def test_logging_in_leads_to_no_other_site(page: Served, back: str) -> None:
    assert page.post("/login", token=TOKEN, next=back).headers["location"] == "/"


def test_another_token_opens_nothing_and_logging_out_ends_a_session(page: Served, link: Link) -> None:
    assert page.post("/login", token="another").status_code == 403
    assert "set-cookie" not in page.post("/login", token="").headers
    csrf = page.log_in()
    page.post("/logout", csrf="other")
    assert "Log out" in page.get("/")
    page.post("/logout", csrf=csrf)
    assert "Log out" not in page.get("/")
    assert page.post("/do/suspend", csrf=csrf).status_code == 403
    assert not is_suspended(link)


def test_a_login_form_of_another_site_logs_nobody_in(page: Served) -> None:
    reply = page.client.post("/login", data={"token": TOKEN}, headers={"origin": "http://evil.example"})
    assert (reply.status_code, "set-cookie" in reply.headers) == (403, False)


def test_programs_give_the_token_as_a_password_and_browsers_are_held_to_their_origin(page: Served, link: Link) -> None:
    auth = httpx.BasicAuth("anybody", TOKEN)
    reply = page.client.post("/do/suspend", auth=auth)
    assert (reply.status_code, is_suspended(link)) == (200, True)
    forged = page.client.post("/do/resume", auth=auth, headers={"origin": "http://evil.example"})
    assert (forged.status_code, is_suspended(link)) == (403, True)
    wrong = page.client.post("/do/resume", auth=httpx.BasicAuth("anybody", "another"))
    assert (wrong.status_code, is_suspended(link)) == (403, True)


def test_a_session_ends_and_their_number_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    access = Access(TOKEN)
    secret = access.login(TOKEN)
    headers = {"cookie": f"actorq-monitor={secret}; other=1"}
    assert access.session(headers) is not None
    monkeypatch.setattr("actorq.page.access.time.monotonic", lambda: 1e12)
    assert access.session(headers) is None
    for _ in range(1100):
        access.login(TOKEN)
    assert len(access._sessions) == 1000
    for odd in ("", "a=b", "\x00", "actorq-monitor", "actorq-monitor=", 'actorq-monitor="\xff'):
        assert access.session({"cookie": odd}) is None
    for odd in ("Basic", "Basic !", "Basic /w==", "Bearer x"):
        assert access.session({"authorization": odd}) is None


def test_a_private_page_shows_nothing_to_those_without_the_token(server: str) -> None:
    with served(server, private=True) as page:
        for path in ("/", "/replicas", "/work?id=m", "/failures?env=e", "/failure?id=m&q=1"):
            reply = page.client.get(path)
            assert reply.status_code == 401
            assert "unix://" not in reply.text
        assert page.client.get("/live/overview").status_code == 403
        assert page.client.get("/readyz").status_code in (200, 503)
        assert 'value="/work?id=m"' in page.client.get("/work?id=m").text
        assert page.client.get("/", auth=("x", TOKEN)).status_code == 200
        assert page.client.get("/", auth=("x", "another")).status_code == 401
        csrf = page.log_in()
        assert "unix://" in page.get("/")
        assert page.post("/do/suspend", csrf=csrf).status_code == 403


def test_a_page_under_a_prefix_has_its_links_and_its_cookie_there(server: str) -> None:
    with served(server, prefix="/tools/actorq", actions=True) as page:
        text = page.get("/")
        for link in (
            'href="/tools/actorq/replicas"',
            'src="/tools/actorq/static/page.js"',
            '"/tools/actorq/live/overview"',
        ):
            assert link in text
        assert page.get("/static/page.css")
        assert httpx.get(page.url).status_code == 200
        reply = page.post("/login", token=TOKEN, next="/replicas")
        assert reply.headers["location"] == "/tools/actorq/replicas"
        assert "Path=/tools/actorq" in reply.headers["set-cookie"]
        # of a proxy that leaves the prefix out
        assert httpx.get(f"{page.origin}/replicas").status_code == 200
        assert httpx.get(f"{page.origin}/livez").status_code == 200
        assert httpx.get(f"{page.origin}/tools/actorqx").status_code == 404


def test_a_form_that_is_too_long_is_not_read(page: Served) -> None:
    csrf = page.log_in()
    assert page.post("/do/suspend", csrf=csrf, name="x" * 20_000).status_code == 403


def test_a_button_cancels_a_live_map(worker: Worker, tmp_path: Path) -> None:
    flag = tmp_path / "never"
    with served(worker.url, actions=True) as page:
        ended: list[BaseException] = []

        def submit() -> None:
            try:
                list(tasks.until.map([str(flag)] * 4, map_id="live"))
            except PoolError as error:
                ended.append(error)

        thread = threading.Thread(target=submit)
        thread.start()
        assert eventually(lambda: page.shows("/work", "Log in to cancel it", id="live"))
        csrf = page.log_in()
        assert "Cancel this map" in page.get("/work", id="live")
        reply = page.post("/do/cancel", csrf=csrf, name="live", next="/work?id=live")
        assert reply.headers["location"] == "/work?id=live"
        assert "Map live is cancelled" in page.get("/work", id="live")
        thread.join(60)
        assert [type(error) for error in ended] == [PoolError]
        assert eventually(lambda: page.shows("/work", "It is not on the server any more", id="live"))
        assert page.post("/do/cancel", csrf=csrf, name="live").status_code in (303, 409)
        assert page.post("/do/cancel", csrf=csrf, name="nothing").status_code == 409


def test_buttons_retry_and_cancel_a_run(worker: Worker, tmp_path: Path) -> None:
    flag = tmp_path / "flag"
    with served(worker.url, actions=True) as page:
        failed = tasks.fails_at.spawn_map(range(7), map_id="broken", return_exceptions=True)
        failed.wait(60)
        csrf = page.log_in()
        assert eventually(lambda: page.shows("/work", "Retry what failed", id="broken"))
        page.post("/do/retry", csrf=csrf, name="broken")
        assert failed.wait(60) == "done"
        held = tasks.until.spawn_map([str(flag)] * 3, map_id="held")
        assert eventually(lambda: page.shows("/work", "Cancel this run", id="held"))
        assert page.post("/do/retry", csrf=csrf, name="held").status_code == 409
        page.post("/do/cancel", csrf=csrf, name="held")
        assert held.wait(60) == "cancelled"
        assert eventually(lambda: page.shows("/work", "s-cancelled", id="held"))
        for run in (failed, held):
            run.delete()


# -- the command -------------------------------------------------------------------------------------------------------


def refused(*arguments: str) -> str:
    command = [sys.executable, "-m", "actorq.cli", "monitor", "-u", "redis://127.0.0.1:1/0", *arguments]
    done = subprocess.run(
        command, capture_output=True, text=True, cwd=ROOT, timeout=60, check=False, env=dict(os.environ)
    )
    assert done.returncode == 2, done
    assert "Traceback" not in done.stderr
    return done.stderr


def test_a_token_that_can_be_guessed_or_is_not_there_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("short\n")
    assert "holds 5 characters: give 16 at least" in refused("--allow-actions", "--token-file", str(file))
    assert "cannot be read" in refused("--private", "--token-file", str(tmp_path / "none"))
    assert "give one of them, too" in refused("--token-file", str(file))


@pytest.mark.parametrize("prefix", ["/a/../b", "..", "a b", "a//b", "/a?b", '/"'])
def test_a_prefix_that_is_no_path_is_refused(prefix: str) -> None:
    done = CliRunner().invoke(main, ["monitor", "-u", "redis://x", "--url-prefix", prefix])
    assert done.exit_code == 2
    assert "give a path of letters" in done.output


def test_a_port_that_is_taken_is_said(page: Served) -> None:
    assert "Cannot listen on 127.0.0.1:" in refused("--port", str(page.server.port))


def test_without_the_extra_it_says_in_one_line_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "starlette.py").write_text("raise ModuleNotFoundError('No module', name='starlette')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    settings.cache_clear()
    assert refused().strip() == "Error: The page needs some packages: pip install 'actorq[monitor]'"


def test_a_token_that_is_made_is_printed_once_and_a_readable_address_is_warned_of(server: str) -> None:
    command = [sys.executable, "-m", "actorq.cli", "monitor", "-u", server, "--port", "0", "--host", "0.0.0.0"]
    process = subprocess.Popen([*command, "--allow-actions"], stderr=subprocess.PIPE, text=True, cwd=ROOT)
    assert process.stderr is not None
    try:
        lines = [process.stderr.readline() for _ in range(3)]
        assert lines[0].startswith(f"The page of {server}: http://0.0.0.0:")
        assert len(lines[1].removeprefix("Token: ").strip()) == 32
        assert "--private asks for a token" in lines[2]
    finally:
        process.terminate()
        process.wait()
        process.stderr.close()
