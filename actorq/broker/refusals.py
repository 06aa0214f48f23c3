"""What a server refuses, and what goes wrong on the way to it: whether it passes, and told to a person.

The one idea: *one table says for each refusal whether waiting helps*. Who talks to the server asks the table, and keeps
no list of its own: a map that ends at a refusal which passes in seconds has lost its work for nothing, and one that
waits for what is final hangs.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from urllib.parse import urlsplit

from actorq.base.masking import masked, printable
from actorq.broker.kinds import OddKey
from actorq.errors import BrokerError


class ServerFullError(BrokerError):
    """The Redis server has reached `maxmemory` and takes no more work: raise it, or delete what fills it."""


class LoginRefusedError(BrokerError):
    """The Redis server does not know this user, or has another password for it."""


class NotPermittedError(BrokerError):
    """The Redis server keeps a command from this user, or from everybody."""


class WrongTypeError(BrokerError):
    """A key of actorq on the Redis server holds another kind of value: something else writes there."""


class ReplyTooLargeError(BrokerError):
    """The Redis server has sent more than anything of actorq has: something else writes to its keys."""


class CallError(Exception):
    """A call to the server has failed. Who makes it tries again, or explains it as a `BrokerError`."""


class LostError(CallError):
    """Nobody answers: the connection could not be opened, was cut, or is silent."""


class RefusedError(CallError):
    """An error reply. Its code is the first word of what the server says, or one that this module makes of it."""

    def __init__(self, code: str, text: str, odd: OddKey | None = None) -> None:
        super().__init__(text)
        self.code = code
        #: the key with another kind of value, where it was found
        self.odd = odd


@dataclass(frozen=True, kw_only=True)
class Refusal:
    """One row of the table."""

    #: said to a person, between the server's address and its own words
    means: str
    #: said to a person, behind them
    advice: str = ""
    kind: type[BrokerError] = BrokerError
    #: waiting may help
    passes: bool = False
    #: waiting may help whoever stays: a worker, whose login a restarted server may be told of again
    passes_in_time: bool = False
    #: a new connection may reach another server, as after a failover
    elsewhere: bool = False
    #: nobody has answered
    unreachable: bool = False


FULL, NO_LOGIN, NOT_PERMITTED = "OOM", "NOAUTH", "NOPERM"
TOO_MANY, NO_FILES, _FORGETFUL = "MAXCLIENTS", "EMFILE", "NOSCRIPT"
_WRONG_TYPE = "WRONGTYPE"
_WRONG_LOGIN, _NEEDLESS_LOGIN = "WRONGPASS", "no password set"

_TABLE = {
    "LOADING": Refusal(means="is loading its data", passes=True),
    "BUSY": Refusal(
        means="is kept busy by a script or a module", advice="SCRIPT KILL ends a script that never ends.", passes=True
    ),
    "MISCONF": Refusal(
        means="cannot write to its disk",
        advice="Look for a full disk, and into the server's log: it takes no writes until it can save.",
        passes=True,
    ),
    "NOREPLICAS": Refusal(
        means="has too few replicas in sync", advice="It takes writes again with min-replicas-to-write.", passes=True
    ),
    "MASTERDOWN": Refusal(means="is a replica whose primary is away", passes=True, elsewhere=True),
    "READONLY": Refusal(
        means="is a read-only replica", advice="Give the address of the primary.", passes=True, elsewhere=True
    ),
    "UNBLOCKED": Refusal(means="has changed its role", passes=True, elsewhere=True),
    "TRYAGAIN": Refusal(means="is moving keys", passes=True),
    "CLUSTERDOWN": Refusal(means="is a cluster that is down", passes=True),
    # ours to mend, once: `Link` loads the script and sends the call again
    _FORGETFUL: Refusal(means="forgets scripts as soon as they are loaded", passes=True),
    TOO_MANY: Refusal(means="takes no more connections", advice="Raise maxclients.", passes=True),
    # not of the server at all: this process has no descriptor left to connect with
    NO_FILES: Refusal(
        means="is not connected to: this program has all files open that it may have",
        advice="Raise ulimit -n, or close some.",
        passes=True,
    ),
    # whoever can wait for room does; a map that can still read its results frees some itself, see `RedisTransport`
    FULL: Refusal(
        means="is full: it has reached maxmemory",
        advice="Raise it, or delete what fills it.",
        kind=ServerFullError,
        passes=True,
    ),
    NO_LOGIN: Refusal(
        means="refuses the login: it asks for a password",
        advice="Put user and password into the URL.",
        kind=LoginRefusedError,
        passes_in_time=True,
    ),
    NOT_PERMITTED: Refusal(
        means="does not permit what actorq needs",
        advice="docs/security.md has the ACL rule.",
        kind=NotPermittedError,
    ),
    _WRONG_TYPE: Refusal(
        means="holds another kind of value at a key of actorq",
        advice="Does something else write there?",
        kind=WrongTypeError,
    ),
    "DENIED": Refusal(means="runs in protected mode", advice="Give it a password, or let it listen on loopback only."),
}
_TABLE[_WRONG_LOGIN] = replace(
    _TABLE[NO_LOGIN],
    means="refuses the login: the password is wrong, or there is no such user",
    advice="Correct user and password in the URL.",
)
_TABLE[_NEEDLESS_LOGIN] = replace(
    _TABLE[NO_LOGIN],
    means="refuses the login: it has no password",
    advice="Take user and password out of the URL, or set them on the server.",
)
_OTHER = Refusal(means="refused a command")
_AWAY = Refusal(
    means="cannot be reached",
    advice="Is the server running, and the address right?",
    passes=True,
    elsewhere=True,
    unreachable=True,
)

#: what else it may be, where an address that cannot be reached is one of this machine
_FORWARDED = "A port-forward of kubectl ends with the pod that it leads to: start it again."
_HERE = ("127.0.0.1", "localhost", "::1")

_MARKS = (
    ("username-password pair", _WRONG_LOGIN),
    ("invalid password", _WRONG_LOGIN),
    ("without any password configured", _NEEDLESS_LOGIN),
    ("no password is set", _NEEDLESS_LOGIN),
    ("max number of clients", TOO_MANY),
    ("too many open files", NO_FILES),
    ("noauth", NO_LOGIN),
    ("wrongpass", _WRONG_LOGIN),
    ("noperm", NOT_PERMITTED),
    ("unknown command", NOT_PERMITTED),
    ("wrongtype", _WRONG_TYPE),  # as redis-py tells it
)
#: a script's error, as Redis up to 6.2 wraps it: "ERR Error running script (…): @user_script: 1: -OOM command not …"
_WRAPPED = re.compile(r"@user_script.*?-([A-Z]+) ")


def typed(text: str) -> RefusedError:
    """An error reply as an exception."""
    code, _, rest = text.partition(" ")
    if code != "ERR":
        return RefusedError(code, text)
    wrapped = _WRAPPED.search(rest)
    return RefusedError(wrapped[1] if wrapped and wrapped[1] in _TABLE else code_in(rest), rest)


def refusal(error: CallError) -> Refusal:
    """What the table says of `error`."""
    if isinstance(error, RefusedError):
        return _TABLE.get(error.code, _OTHER)
    return _AWAY if isinstance(error, LostError) else _OTHER


def forgot_script(error: CallError) -> bool:
    """Whether the server does not know the script that was called."""
    return isinstance(error, RefusedError) and error.code == _FORGETFUL


def is_wrong_type(error: CallError) -> bool:
    """Whether a key holds another kind of value than the command is for."""
    return refusal(error) is _TABLE[_WRONG_TYPE]


def is_full(error: CallError) -> bool:
    """Whether the server has no room for what was sent."""
    return refusal(error) is _TABLE[FULL]


def explain(error: CallError, url: str) -> BrokerError:
    """`error` as a message for a person: what happened, to which server, what to do."""
    row = refusal(error)
    if isinstance(error, RefusedError) and error.odd is not None:
        return row.kind(f"{masked(url)} {row.means}: {error.odd.told()}. {error.odd.advice}.")
    text = printable(masked(str(error)))
    forwarded = _FORWARDED if row.unreachable and urlsplit(url).hostname in _HERE else ""
    return row.kind(" ".join(filter(None, [f"{masked(url)} {row.means} ({text}).", row.advice, forwarded])))


def code_in(text: str, otherwise: str = "ERR") -> str:
    """The row for a refusal without a code of its own."""
    lowered = text.lower()
    return next((code for mark, code in _MARKS if mark in lowered), otherwise)
