"""`actorq monitor`: the web page of one server."""

from __future__ import annotations

import re
from pathlib import Path

import click

from actorq.base.settings import masked
from actorq.cli.options import redis_url, say, server_url
from actorq.errors import DeclarationError

#: what the extra brings
_NEEDED = ("starlette", "jinja2", "uvicorn")
_LOOPBACK = ("127.0.0.1", "localhost", "::1")
#: characters of a token: shorter ones can be guessed
_LEAST_TOKEN = 16
#: what is neither `.` nor `..`, and needs no escape in an address
_PREFIX = re.compile(r"(/[A-Za-z0-9_-][A-Za-z0-9._-]*)*", re.ASCII)


@click.command(short_help="A web page of the server: what runs, how fast, what fails.")
@redis_url
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", default=8080, show_default=True, type=click.IntRange(0, 65535), help="0 takes a free one.")
@click.option("--url-prefix", default="", metavar="PATH", help="Path that a proxy serves it under, such as /actorq.")
@click.option(
    "--allowed-host",
    "allowed_hosts",
    multiple=True,
    metavar="NAME",
    help="A name that browsers reach it by, beside localhost and --host. May be given several times.",
)
@click.option("--allow-actions", is_flag=True, help="Those who have the token may cancel, retry and suspend.")
@click.option("--private", is_flag=True, help="Show nothing to those who have not the token.")
@click.option(
    "--token-file",
    type=click.Path(dir_okay=False),
    help="File that holds the token.  [default: one is made and printed]",
)
def monitor(
    redis_url: str | None,
    host: str,
    port: int,
    url_prefix: str,
    allowed_hosts: tuple[str, ...],
    allow_actions: bool,
    private: bool,
    token_file: str | None,
) -> None:
    """Serve a page of all environments, maps, runs, replicas and failures. It only shows, unless you allow more."""
    url = server_url(redis_url)
    prefix = _prefix(url_prefix)
    if token_file is not None and not (allow_actions or private):
        raise click.UsageError("--token-file is for --allow-actions, or --private: give one of them, too.")
    token = None if token_file is None else _token(token_file)
    try:
        from actorq.page.serve import Options, PageServer
    except ModuleNotFoundError as missing:
        if (missing.name or "").partition(".")[0] not in (*_NEEDED, "markupsafe"):
            raise
        raise DeclarationError("The page needs some packages: pip install 'actorq[monitor]'") from None
    options = Options(
        url=url,
        host=host,
        port=port,
        prefix=prefix,
        allowed_hosts=allowed_hosts,
        actions=allow_actions,
        private=private,
        token=token,
    )
    server = PageServer(options)
    shown = f"[{host}]" if ":" in host else host
    say(f"The page of {masked(url)}: http://{shown}:{server.port}{prefix}/", err=True)
    if server.token is not None and token is None:
        say(f"Token: {server.token}", err=True)
    if host not in _LOOPBACK and not private:
        say(
            "Whoever reaches this address reads inputs and tracebacks of failures: --private asks for a token.",
            err=True,
        )
    server.run()


def _prefix(given: str) -> str:
    """As links begin. Raises `UsageError` for what is no path."""
    path = given.strip("/")
    prefix = f"/{path}" if path else ""
    if not _PREFIX.fullmatch(prefix):
        raise click.UsageError(f"--url-prefix {given!r}: give a path of letters, digits, '-', '_' and '.'.")
    return prefix


def _token(path: str) -> str:
    """What a file holds. Raises `DeclarationError` where it is none, or one that can be guessed."""
    try:
        token = Path(path).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise DeclarationError(f"--token-file {path!r} cannot be read: {error}.") from error
    if len(token) < _LEAST_TOKEN:
        raise DeclarationError(f"--token-file {path!r} holds {len(token)} characters: give {_LEAST_TOKEN} at least.")
    return token
