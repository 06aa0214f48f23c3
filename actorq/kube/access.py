"""A login for the pods of one map, which fits the keys of that map and nothing else.

A regular task is the choice for strict isolation, so its pod must not hold the key to everybody's work. Where the
server lets us (ACL, Redis 6 and later), each map gets a user of its own, with a random password, and loses it with the
map. Where it does not (a managed server without ACL commands), pods get the program's own login, and the program says
so once.
"""

from __future__ import annotations

import secrets
import time
import warnings

from actorq.broker import keys
from actorq.broker.wire import Link
from actorq.errors import BrokerError
from actorq.kube.address import with_login

_PREFIX = "actorq-map-"
#: a user of a map whose submitter died is removed by a later map after so long; a live map renews its own, seconds
_STALE_SECONDS = 86_400
#: what a pod sends: its login, reading its input, committing its result
_COMMANDS = ("blmove", "xadd", "expire", "set", "get", "exists")


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
            *([f"~{keys.code(code)}"] if code else []),
        ]
        self._shared_url = url
        self._refused = False

    @property
    def url(self) -> str:
        """The address for the pods, login included."""
        return self._shared_url if self._refused else with_login(self._shared_url, self._user, self._password)

    def create(self, link: Link) -> None:
        """Makes the user, and removes those of maps long gone."""
        try:
            self.renew(link)
            for name in link.command("ACL", "USERS"):
                stamp = name.decode().removeprefix(_PREFIX).partition("-")[0]
                if name.decode().startswith(_PREFIX) and time.time() - int(stamp) > _STALE_SECONDS:
                    link.command("ACL", "DELUSER", name)
        except BrokerError as error:
            self._refused = True
            warnings.warn(
                f"Pods of regular tasks get this program's own login, since the server refuses to make one for "
                f"their map alone ({error}): permit ACL SETUSER and ACL DELUSER to it.",
                RuntimeWarning,
                stacklevel=2,
            )

    def renew(self, link: Link) -> None:
        if not self._refused:
            commands = [f"+{command}" for command in _COMMANDS]
            rules = ["reset", "on", f">{self._password}", *self._patterns, "resetchannels", *commands]
            link.command("ACL", "SETUSER", self._user, *rules)

    def remove(self, link: Link) -> None:
        if not self._refused:
            link.command("ACL", "DELUSER", self._user)
