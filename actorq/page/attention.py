"""What a person should know of a look, in words, the worst first.

The one idea: as with `actorq doctor`, what is wrong is judged by functions that read nothing, and each sentence says
what happens and what to do.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from actorq.base.amounts import counted, span
from actorq.monitor.doctor import BAD, NOTE, findings
from actorq.monitor.model import EnvironmentView, ReplicaView
from actorq.page.collector import Look

#: findings of the doctor that say nothing a person has to act on while work runs
_QUIET = frozenset({"signing", "workers", "version"})
#: names that a sentence has
_NAMED = 3
_STATES = {
    "quarantined": (BAD, "cannot start", "Look into its log: it is tried once a minute."),
    "failing": (BAD, "fails to start", "Look into its log for the traceback of its start hook or import."),
    "stale": (
        BAD,
        "was not heard of for a lease",
        "Its machine or its connection may be gone: its work runs elsewhere.",
    ),
}


@dataclass(frozen=True)
class Notice:
    """One sentence."""

    #: "bad" or "note"
    level: str
    text: str
    advice: str = ""


def notices(look: Look) -> list[Notice]:
    """All of them."""
    found = [*_of_server(look), *_suspended(look)]
    for view in look.environments:
        found += [*_of_environment(view), *_of_replicas(view)]
    return sorted(found, key=lambda each: each.level != BAD)


def _of_server(look: Look) -> Iterator[Notice]:
    if look.problem:
        yield Notice(NOTE, look.problem)
    if look.facts is None:
        return
    for finding in findings(look.facts):
        if finding.level == BAD or (finding.level == NOTE and finding.what not in _QUIET):
            yield Notice(finding.level, f"Server, {finding.what}: {finding.told}.", finding.advice)


def _suspended(look: Look) -> Iterator[Notice]:
    if look.suspended is not None:
        until = f"for {span(look.suspended)} more, or until" if look.suspended >= 0 else "until"
        yield Notice(BAD, f"All queues are suspended, {until} somebody resumes them.", "No replica takes anything.")


def _of_environment(view: EnvironmentView) -> Iterator[Notice]:
    if view.unserved:
        waits = f"{view.name}: {counted(view.queued_inputs, 'input')} wait{'s' if view.queued_inputs == 1 else ''}"
        yield Notice(BAD, f"{waits}, and nobody serves it.", "Start a worker, or correct the name of the environment.")
    if view.trouble:
        yield Notice(BAD, f"{view.name} has no pool: {view.trouble}")
    for each in view.maps:
        if each.held:
            yield Notice(BAD, f"The pods of {each.id} are held up: {each.held}")
    for problem in view.problems[:_NAMED]:
        yield Notice(NOTE, f"{problem}.")
    if len(view.problems) > _NAMED:
        yield Notice(NOTE, f"{view.name}: {len(view.problems) - _NAMED} more records cannot be read in full.")


def _of_replicas(view: EnvironmentView) -> Iterator[Notice]:
    for state, (level, what, advice) in _STATES.items():
        found = [replica for replica in view.replicas if replica.state == state]
        if found:
            yield Notice(level, f"{view.name}: {_named(found)} {what}.", advice)


def _named(found: Sequence[ReplicaView]) -> str:
    names = ", ".join(each.name for each in found[:_NAMED])
    if len(found) == 1:
        return f"replica {names}"
    more = f" and {len(found) - _NAMED} more" if len(found) > _NAMED else ""
    return f"each of {len(found)} replicas ({names}{more})"
