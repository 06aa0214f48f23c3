"""A login for the pods of one map, which fits the keys of that map and nothing else.

A regular task is the choice for strict isolation, so its pod must not hold the key to everybody's work. Where the
server lets us (ACL, Redis 6 and later), each map gets a user of its own, with a random password, and loses it with the
map. Where it does not (a managed server without ACL commands), pods get the program's own login, and the program says
so once.
"""

from __future__ import annotations

import contextlib
import re
import secrets
import time
import warnings

from actorq.broker import keys
from actorq.broker.refusals import NotPermittedError
from actorq.broker.serverinfo import server_version
from actorq.broker.wire import Link
from actorq.kube.address import with_login

#: `actorq-map-<Unix seconds>-<map id>`
_PREFIX = "actorq-map-"
_NAME = re.compile(rb"actorq-map-(\d+)-([A-Za-z0-9_-]+)")
#: a user of a map whose submitter died is removed by a later map after so long, seconds
_STALE_SECONDS = 86_400
#: what a pod sends: its login, choosing its database, reading its input, committing its result
_COMMANDS = ("select", "blmove", "xadd", "expire", "set", "get", "exists")
#: a key that may be read and not written came with this version
_READ_ONLY_KEYS = (7, 0)


class MapLogin:
    """The login of one map's pods. Call `renew` about every second: a server that was restarted has forgotten it."""

    def __init__(self, map_id: str, owner: str, code: str, url: str) -> None:
        self._user = f"{_PREFIX}{int(time.time())}-{map_id}"
        self._password = secrets.token_urlsafe(24)
        self._patterns = [
            f"~{keys.pod_inputs(map_id)}:*",
            f"~{keys.out(map_id)}",
            f"~{keys.map_(map_id)}",
            f"~{keys.blob(f'{map_id}-{owner}-')}*",
        ]
        self._code = code
        self._shared_url = url
        self._refused = False

    @property
    def url(self) -> str:
        """The address for the pods, login included."""
        return self._shared_url if self._refused else with_login(self._shared_url, self._user, self._password)

    def create(self, link: Link) -> None:
        """Makes the user, and removes those of maps long gone. Raises `BrokerError` when the server is away."""
        if self._code:
            readable = "%R~" if server_version(link) >= _READ_ONLY_KEYS else "~"
            self._patterns.append(f"{readable}{keys.code(self._code)}")
        try:
            self.renew(link)
        except NotPermittedError as error:
            self._refused = True
            warnings.warn(
                f"Pods of regular tasks get this program's own login, since the server refuses to make one for "
                f"their map alone ({error}): permit ACL SETUSER and ACL DELUSER to it.",
                RuntimeWarning,
                stacklevel=2,
            )
            return
        with contextlib.suppress(NotPermittedError):  # somebody else may clean up
            _remove_stale(link)

    def renew(self, link: Link) -> None:
        if not self._refused:
            commands = [f"+{command}" for command in _COMMANDS]
            rules = ["reset", "on", f">{self._password}", *self._patterns, "resetchannels", *commands]
            link.command("ACL", "SETUSER", self._user, *rules)

    def remove(self, link: Link) -> None:
        if not self._refused:
            link.command("ACL", "DELUSER", self._user)


def _remove_stale(link: Link) -> None:
    for name in link.command("ACL", "USERS"):
        found = _NAME.fullmatch(name)
        if found is None or time.time() - int(found[1]) <= _STALE_SECONDS:
            continue
        if not link.command("EXISTS", keys.map_(found[2].decode())):
            link.command("ACL", "DELUSER", name)
