"""A login for the pods of one map, which fits the keys of that map and nothing else.

A regular task is the choice for strict isolation, so its pod must not hold the key to everybody's work. Each map gets a
user of its own, with a random password, and loses it with the map. Whoever may make users may do all on that server: so
this needs a login of its own, `ACTORQ_ACL_URL`, which the submitter alone has, while everybody else's is the minimum.
Without one the program's own login is tried; where the server refuses, pods get that login, and the program says so
once.

A user that its submitter has left behind is removed as soon as its map has lapsed, by whoever has a map of regular
tasks then. Should that submitter only have been stalled, it makes the user again with its next heartbeat.
"""

from __future__ import annotations

import contextlib
import hashlib
import re
import secrets
import time

from actorq.base.warned import warn
from actorq.broker import keys
from actorq.broker.link import Link
from actorq.broker.records import map_lives
from actorq.broker.refusals import LoginRefusedError, NotPermittedError
from actorq.broker.serverinfo import server_version
from actorq.errors import DeclarationError
from actorq.kube.address import with_login

#: what users of maps are called: their scope, a nonce, and the map's id
_NAME = re.compile(r"actorq-map-([0-9a-f]{6})-[0-9a-f]{8}-([A-Za-z0-9_-]+)")
#: how often what others have left behind is looked for, seconds
_SWEEP_SECONDS = 60.0
#: what a pod sends: its login, choosing its database, reading its input, committing its result
_COMMANDS = ("select", "blmove", "xadd", "expire", "set", "get", "exists")
#: a key that may be read and not written came with this version
_READ_ONLY_KEYS = (7, 0)


class MapLogin:
    """The login of one map's pods. Call `renew` about every second: a server that was restarted has forgotten it.

    Args:
        map_id: the map.
        owner: its submitter's fence.
        code: hash of the bundle that the pods fetch, "" for none.
        url: the server as pods reach it.
        makers: a connection that may make users, None to try the one that a method is given.
    """

    def __init__(self, map_id: str, owner: str, code: str, url: str, makers: Link | None = None) -> None:
        self._scope = _scope(url)
        self._user = f"actorq-map-{self._scope}-{secrets.token_hex(4)}-{map_id}"
        self._password = secrets.token_urlsafe(24)
        self._patterns = [
            f"~{keys.pod_inputs(map_id)}:*",
            f"~{keys.out(map_id)}",
            f"~{keys.map_(map_id)}",
            f"~{keys.blob(f'{map_id}-{owner}-')}*",
        ]
        self._map_id = map_id
        self._code = code
        self._shared_url = url
        self._makers = makers
        self._refused = False
        self._swept = 0.0

    @property
    def url(self) -> str:
        """The address for the pods, login included."""
        return self._shared_url if self._refused else with_login(self._shared_url, self._user, self._password)

    def create(self, link: Link) -> None:
        """Makes the user, and removes those of maps that are gone.

        Raises `BrokerError` when the server is away, and `DeclarationError` when users are made on another one.
        """
        if self._code:
            readable = "%R~" if server_version(link) >= _READ_ONLY_KEYS else "~"
            self._patterns.append(f"{readable}{keys.code(self._code)}")
        try:
            self._make(link)
        except NotPermittedError as error:
            if self._makers is not None:
                raise
            self._refused = True
            warn(
                f"Pods of regular tasks get this program's own login, since the server refuses to make one for "
                f"their map alone ({error}). Set ACTORQ_ACL_URL to a login that may: docs/security.md has its rule."
            )
            return
        if self._makers is not None:
            self._try(link.url)
        self._sweep(link)

    def renew(self, link: Link) -> None:
        if self._refused:
            return
        self._make(link)
        if time.monotonic() - self._swept >= _SWEEP_SECONDS:
            self._sweep(link)

    def remove(self, link: Link) -> None:
        if not self._refused:
            (self._makers or link).command("ACL", "DELUSER", self._user)

    def hurry(self, seconds: float) -> None:
        """From now on nothing takes longer than `seconds` in all. Any thread may call it."""
        if self._makers is not None:
            self._makers.hurry(seconds)

    def close(self) -> None:
        if self._makers is not None:
            self._makers.close()

    # -- parts ---------------------------------------------------------------------------------------------------------

    def _make(self, link: Link) -> None:
        commands = [f"+{command}" for command in _COMMANDS]
        rules = ["reset", "on", f">{self._password}", *self._patterns, "resetchannels", *commands]
        (self._makers or link).command("ACL", "SETUSER", self._user, *rules)

    def _try(self, url: str) -> None:
        """Two addresses may lead to two servers: then no pod would ever get in."""
        probe = Link(with_login(url, self._user, self._password), patience=0.0)
        try:
            map_lives(probe, self._map_id)
        except LoginRefusedError as error:
            raise DeclarationError(
                "ACTORQ_ACL_URL leads to another server than ACTORQ_REDIS_URL: a login made there is not known here. "
                "Give the same server twice, with two logins."
            ) from error
        finally:
            probe.close()

    def _sweep(self, link: Link) -> None:
        """Removes the users of maps that are gone, and those that earlier maps of this name have left."""
        self._swept = time.monotonic()
        makers = self._makers or link
        with contextlib.suppress(NotPermittedError):  # somebody else may clean up
            for name in makers.command("ACL", "USERS"):
                found = _NAME.fullmatch(name.decode(errors="replace"))
                if found is None or found[1] != self._scope or found[0] == self._user:
                    continue
                if found[2] == self._map_id or not map_lives(link, found[2]):
                    makers.command("ACL", "DELUSER", name)


def _scope(url: str) -> str:
    """Users are of a whole server, and maps of one database and one prefix of keys in it: others' are not looked at."""
    from redis.connection import parse_url  # as the connections read it; not for programs without a cluster

    database = parse_url(url).get("db", 0)  # type: ignore[no-untyped-call]
    return hashlib.sha256(f"{keys.AQ}/{database}".encode()).hexdigest()[:6]
