"""Whatever is lost between a submitter, a server and two replicas, every input has one accepted result."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from actorq.broker import keys
from actorq.runtime.embedded import EmbeddedServer
from tests.support.server_steps import Asked

REPLICAS = st.sampled_from(["me", "you"])


class Faults(RuleBasedStateMachine):
    """A submitter that offers again what was handed back or lost, and replicas that lose replies and die."""

    url: str

    def __init__(self) -> None:
        super().__init__()
        self.asked = Asked(self.url)
        self.open: dict[str, int] = {}  # lease -> its input
        self.accepted: list[int] = []
        self.read = 0
        self.inputs = 0
        self.holds: dict[str, str] = {"me": "", "you": ""}  # what each runs
        self.ran: set[str] = set()
        self.ahead: dict[str, str] = {"me": "", "you": ""}  # and what it has claimed behind that
        self.broken = {"me": True, "you": True}  # a connection is new

    @rule(count=st.integers(1, 4))
    def submit(self, count: int) -> None:
        for lease in self.asked.submit_all(*[""] * count):
            self.open[lease] = self.inputs
            self.inputs += 1

    @rule(who=REPLICAS, claims=st.booleans())
    def work(self, who: str, claims: bool = False) -> None:
        """Commits what it holds, and takes the next, which is what it has claimed if it has not been taken back."""
        _, self.holds[who] = self.asked.commit(who, self.holds[who], again=self._asks_again(who))
        self.ahead[who], self.broken[who] = "", False
        assert self.asked.idle(who) == (not self.holds[who])
        if claims and self.holds[who]:
            self.ahead[who] = self.asked.go_on(who, "", self.holds[who])

    @rule(who=REPLICAS)
    def lose_the_reply(self, who: str) -> None:
        self.asked.commit(who, self.holds[who], again=self._asks_again(who))
        self.ahead[who], self.broken[who] = "", True

    @rule(who=REPLICAS, ahead=st.booleans(), loses_the_reply=st.booleans(), unclaimed=st.booleans())
    def go_on(self, who: str, ahead: bool, loses_the_reply: bool, unclaimed: bool) -> None:
        """Commits what it has run, and runs what it has claimed."""
        if self.ahead[who] and not self.broken[who]:
            before, self.holds[who] = self.holds[who], self.ahead[who]
            self.ahead[who] = self.asked.go_on(who, before, self.holds[who], ahead=ahead)
            if loses_the_reply:  # and commits once more
                assert self.asked.go_on(who, before, self.holds[who], ahead=False) == ""
                self.ahead[who], self.broken[who] = "", True
            if unclaimed:  # too late: it runs already what would be given back
                assert self.asked.unclaim(who, before) == 0

    @rule(who=REPLICAS)
    def unclaim(self, who: str) -> None:
        """What it runs takes its time. It will ask what it still holds."""
        if self.holds[who]:
            assert self.asked.unclaim(who, self.holds[who]) <= 1
            self.ahead[who], self.broken[who] = "", True

    @rule(who=REPLICAS)
    def lapse_ahead(self, who: str) -> None:
        """What it has claimed is not renewed while it is not read."""
        if self.ahead[who]:
            self.asked.lapse(self.ahead[who])

    @rule(who=REPLICAS)
    def read_mail(self, who: str) -> None:
        if not self.holds[who] and not self.broken[who]:
            self.holds[who] = self._mail(who)

    @rule(who=REPLICAS)
    def lose_the_mail(self, who: str) -> None:
        if not self.holds[who]:
            self._mail(who)
            self.broken[who] = True

    @rule(who=REPLICAS)
    def a_broken_connection_takes_the_mail(self, who: str) -> None:
        """The server still serves its wait, which is older than that of the new one."""
        if not self.holds[who]:
            self._mail(who)

    @rule(who=REPLICAS)
    def nudge(self, who: str) -> None:
        self.asked.client.rpush(keys.mail(who), "")

    @rule(who=REPLICAS)
    def die(self, who: str) -> None:
        held = self.holds[who]
        self.asked.lost(who, held)
        self.holds[who], self.ahead[who], self.broken[who] = "", "", True
        for member in self.asked.client.zrange(keys.wip("e"), 0, -1):
            assert self.asked.client.hget(keys.job(str(member).partition(":")[0]), "worker_name") != who

    @rule(who=REPLICAS)
    def lapse(self, who: str) -> None:
        """Another takes over what a replica still runs."""
        if self.holds[who]:
            self.asked.lapse(self.holds[who])

    @rule(who=REPLICAS)
    def leave(self, who: str) -> None:
        """Commits, gives back what it was handed meanwhile, and starts anew."""
        self.asked.commit(who, self.holds[who], want=False, again=self._asks_again(who))
        assert not self.asked.idle(who)
        self.holds[who], self.ahead[who], self.broken[who] = "", "", True

    @rule(who=REPLICAS)
    def book(self, who: str) -> None:
        held = self.holds[who]
        self.asked.book(who, held)

    @rule()
    def hear(self) -> None:
        """The submitter reads what it was told, and offers again what has no result."""
        told = self.asked.reports()
        for lease, kind, _ in told[self.read :]:
            number = self.open.pop(lease)  # nothing is told twice of a lease that has ended
            assert kind != "x" or lease in self.ran  # what has not begun is not charged
            if kind == "f":
                self.accepted.append(number)
            else:
                self.open[self.asked.submit()] = number
        self.read = len(told)

    def teardown(self) -> None:
        try:
            for _ in range(4 * self.inputs + 4):
                self.hear()
                for who in self.holds:
                    self.work(who)
            self.hear()
            assert not self.open
            assert sorted(self.accepted) == list(range(self.inputs))
            assert not self.asked.client.keys("rq:job:*")
            assert not self.asked.client.exists(keys.wip("e"), keys.queue("e"))
        finally:
            self.asked.client.flushall()
            self.asked.close()

    @invariant()
    def note_what_runs(self) -> None:
        self.ran.update(self.holds.values())

    def _asks_again(self, who: str) -> bool:
        return self.broken[who] or not self.holds[who] or bool(self.ahead[who])

    def _mail(self, who: str) -> str:
        mail = self.asked.client.lpop(keys.mail(who))
        return mail.split("\0")[0] if isinstance(mail, str) else ""


@pytest.fixture(scope="module")
def shared() -> Iterator[str]:
    embedded = EmbeddedServer()
    embedded.wait_ready()
    yield embedded.url
    embedded.stop()


@pytest.mark.timeout(240)  # thousands of steps, which a busy machine takes longer for
def test_whatever_is_lost_every_input_has_one_accepted_result(shared: str) -> None:
    Faults.url = shared
    run_state_machine_as_test(Faults, settings=settings(max_examples=40, stateful_step_count=40, deadline=None))
