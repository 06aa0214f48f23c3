"""Variables of the environment that look like settings of ours, and are none: a slip of a letter would be silent.

A name that is close to one that protects something is refused, as that one is where it is set and empty: somebody meant
to be safe. The others are worth a warning.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping

from actorq.base.warned import warn
from actorq.errors import DeclarationError

_PREFIX = "ACTORQ_"
#: read elsewhere than in `settings.py`: by commands, by pods, and by processes of ours that start others
_OTHERS = frozenset(
    _PREFIX + name
    for name in (
        *(
            "BUNDLES",
            "CAPTURE_OUTPUT",
            "CHART_VERSION",
            "DECLARED",
            "ENVIRONMENT",
            "HTTP_HOST",
            "HTTP_PORT",
            "HUGE_PAGES",
            "JOB",
            "LOG_FORMAT",
        ),
        *("LOG_LEVEL", "MAP", "MODULES", "POD_NAME", "PREFIX", "PROGRESS", "REPLICAS", "SPAWN_JOB"),
    )
)
#: what every option of a command begins with, as `ACTORQ_WORKER_REPLICAS`
COMMANDS = (
    *(
        "CANCEL",
        "DELETE",
        "DOCTOR",
        "EXPORTER",
        "FAILURES",
        "JOBS",
        "PLAN",
        "KEEP",
        "LOGS",
        "MAP",
        "MONITOR",
        "PING",
        "QUEUES",
        "RESULTS",
    ),
    *("RETRY", "RUN_INPUT", "RUNS", "SCALE", "SERVER", "STATUS", "WATCH", "WORKER", "WORKERS"),
)
#: what Kubernetes tells of a Service, and variables of tests
_FOREIGN = re.compile(
    r"ACTORQ_(.*_)?(SERVICE_(HOST|PORT)(_.*)?|PORT(_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)?)|ACTORQ_TEST(_.*)?"
)
#: they protect something
_GUARDS = ("ACTORQ_SIGNING_KEY", "ACTORQ_MAP_KEYS", "ACTORQ_REDIS_CA_FILE", "ACTORQ_ACL_URL")
#: how alike two names are where one is a slip for the other
_ALIKE = 0.8

_told = False


def look_at(environment: Mapping[str, str], settings: Collection[str]) -> None:
    """Warns of those that nothing reads, once in a process; raises `DeclarationError` where one was to protect.

    Args:
        environment: of the process.
        settings: the names that `settings.py` reads.
    """
    global _told
    unknown = [name for name in sorted(environment) if name.startswith(_PREFIX) and not _is_known(name, settings)]
    if not unknown or _told:
        return
    told = []
    for name in unknown:
        meant = _meant(name, settings)
        if meant in _GUARDS or "SIGN" in name:
            meant = meant or _GUARDS[0]
            raise DeclarationError(
                f"{name} is no setting of actorq, and what it was to protect would not be: did you mean {meant}? "
                "Correct the name, or unset it."
            )
        told.append(f"{name} (did you mean {meant}?)" if meant else name)
    _told = True
    warn(f"The environment has what is no setting of actorq and does nothing: {', '.join(told)}.")


def _is_known(name: str, settings: Collection[str]) -> bool:
    if name in settings or name in _OTHERS or name.removesuffix("_FILE") in settings:
        return True
    return name.startswith(tuple(f"{_PREFIX}{each}_" for each in COMMANDS)) or bool(_FOREIGN.fullmatch(name))


def _meant(name: str, settings: Collection[str]) -> str | None:
    import difflib  # seldom needed, and 2 ms

    found = difflib.get_close_matches(name.removesuffix("_FILE"), [*settings, *_OTHERS], n=1, cutoff=_ALIKE)
    return found[0] if found else None
