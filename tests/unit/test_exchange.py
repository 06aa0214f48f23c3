"""What an executor and a server say to each other between two leases, whatever the connection does."""

from __future__ import annotations

from typing import Any

import hiredis
import pytest

from actorq.broker.blobs import LARGE_BYTES
from actorq.broker.refusals import LostError
from actorq.errors import BrokerError
from actorq.replica.executor.exchange import Done, Exchange
from actorq.replica.pages import PAGE_BYTES, Page
from actorq.wire.messages import Frame

NOTHING = [b"ok", b"", b"", b"", b""]
EMPTY_MAIL = [b"aq:mail:w", b""]
LEASE = [b"ok", b"m-2", b"1", b"payload", b"1"]
TAKEN = (b"m-2:1", b"payload")
PATIENCE = 0.05


class FakeLink:
    """A connection that is open or not, and breaks when it is used next. Notes what each call wants, and commits."""

    def __init__(self) -> None:
        self.connected = True
        self.breaks = self.refuses = False
        self.answers: list[list[bytes]] = []
        #: want, again, the lease that is committed
        self.asked: list[tuple[Any, Any, Any]] = []
        self.given_back: list[Any] = []
        self.takes_back = 1

    def send(self, *commands: bytes) -> None:
        if self.refuses:
            self.refuses = False
            raise BrokerError
        self._note(commands[0])

    def read(self) -> Any:
        if self.breaks:
            self.breaks = False
            raise LostError("cut")
        return self.answers.pop(0)

    def read_within(self, seconds: float) -> Any:
        return self.read()

    def call_once(self, script: Any, command: bytes, stores: Any) -> Any:
        self._note(command)
        return self.read()

    def call_packed(self, script: Any, command: bytes, stores: Any = ()) -> Any:
        self.connected = True
        self._note(command)
        return self.answers.pop(0)

    def call_quickly(self, script: Any, keys: Any, args: list[Any], stores: Any, seconds: float) -> Any:
        self.given_back = args[3:]
        if self.refuses:
            raise BrokerError
        return self.takes_back

    def drop(self) -> None:
        self.connected = False

    def _note(self, command: bytes) -> None:
        reader = hiredis.Reader(encoding="utf-8", errors="replace")
        reader.feed(command)
        words: Any = reader.gets()
        if words[0] != "BLPOP":
            args = words[3 + int(words[2]) :]
            self.asked.append((args[6], args[7], args[8]))


class Talk:
    """An exchange, and what it is seen to do."""

    def __init__(self) -> None:
        self.link = FakeLink()
        self.page = Page(memoryview(bytearray(PAGE_BYTES)))
        self.tidied = 0
        link: Any = self.link
        self.exchange = Exchange(link, "e", "w", 10, self.page, tidy=self._tidy)

    def _tidy(self) -> None:
        self.tidied += 1


@pytest.fixture
def talk() -> Talk:
    return Talk()


def done(lease: str = "m-1", outputs: bytes = b"\x91\x01") -> Done:
    return f"{lease}:1".encode(), Frame(start=0, count=1, busy=0.01, replica="w", errors={}, outputs=outputs), b""


@pytest.mark.parametrize("outputs", [b"\x91\x01", b"x" * LARGE_BYTES])
@pytest.mark.parametrize(("connected", "breaks"), [(True, False), (True, True), (False, False)])
def test_the_process_is_tidied_after_a_lease_whatever_the_connection_does(
    connected: bool, breaks: bool, outputs: bytes, talk: Talk
) -> None:
    talk.link.connected, talk.link.breaks = connected, breaks
    talk.link.answers = [NOTHING]
    assert talk.exchange.next(done(outputs=outputs), want=True) is None
    assert talk.tidied  # the executor tidies once, however often it is called
    assert (talk.link.asked[-1][1] == "1") == (breaks or not connected)


def test_a_lease_that_was_claimed_runs_without_a_wait(talk: Talk) -> None:
    talk.exchange.go_on(done(), b"m-1:1", PATIENCE)
    assert (talk.link.asked, talk.tidied) == ([("a", "m-1:1", "m-1")], 1)
    assert talk.page.patience == PATIENCE * 1e9
    talk.link.answers = [LEASE]
    assert talk.exchange.settle() == TAKEN
    assert talk.exchange.plenty
    assert talk.page.patience == 0
    assert talk.exchange.settle() is None


def test_results_are_committed_without_a_claim_too(talk: Talk) -> None:
    talk.exchange.go_on(done(), b"m-2:1", 0)
    talk.link.answers = [NOTHING]
    assert talk.exchange.settle() is None
    assert talk.link.asked == [("-", "m-2:1", "m-1")]


def test_nothing_is_said_when_nothing_is_done_and_nothing_claimed(talk: Talk) -> None:
    talk.exchange.go_on(None, b"m-2:1", 0)
    assert talk.link.asked == []
    assert talk.exchange.settle() is None


def test_what_was_committed_with_a_lost_answer_is_committed_again_and_the_claim_asked_for(talk: Talk) -> None:
    talk.exchange.go_on(done(), b"m-2:1", PATIENCE)
    talk.link.breaks = True
    talk.link.answers = [NOTHING, LEASE, EMPTY_MAIL]
    assert talk.exchange.settle() is None
    assert talk.exchange.next(done("m-2"), want=True) == TAKEN
    assert talk.link.asked[1:] == [("-", "m-2:1", "m-1"), ("+", "1", "m-2")]


def test_results_that_could_not_be_sent_are_sent_when_the_lease_behind_them_ends(talk: Talk) -> None:
    talk.link.connected = False
    talk.link.answers = [NOTHING, LEASE, EMPTY_MAIL]
    talk.exchange.go_on(done(), b"m-2:1", PATIENCE)
    assert talk.exchange.settle() is None
    assert talk.exchange.next(done("m-2"), want=True) == TAKEN
    assert talk.link.asked == [("-", "m-2:1", "m-1"), ("+", "1", "m-2")]


def test_what_the_supervisor_took_back_is_not_run(talk: Talk) -> None:
    talk.exchange.go_on(None, b"m-1:1", PATIENCE)
    talk.page.begin_lease(1, 0, None)
    talk.page.unclaim(talk.page.lease)
    talk.link.answers = [LEASE, NOTHING]
    assert talk.exchange.settle() is None
    assert talk.exchange.next(done(), want=True) is None
    assert talk.link.asked[1:] == [("+", "1", "m-1")]


def test_what_was_taken_back_behind_an_earlier_lease_does_not_matter(talk: Talk) -> None:
    talk.page.begin_lease(1, 0, None)
    talk.page.unclaim(talk.page.lease)
    talk.exchange.go_on(None, b"m-1:1", PATIENCE)
    talk.page.begin_lease(1, 0, None)
    talk.link.answers = [LEASE]
    assert talk.exchange.settle() == TAKEN


def test_an_answer_that_was_read_early_is_kept(talk: Talk) -> None:
    talk.exchange.go_on(None, b"m-1:1", PATIENCE)
    talk.link.answers = [LEASE]
    assert talk.exchange.free_link() is talk.exchange.free_link()
    assert talk.link.answers == []
    assert talk.exchange.settle() == TAKEN


def test_what_was_claimed_is_given_back_with_the_rest_of_the_lease_before_it(talk: Talk) -> None:
    talk.exchange.go_on(None, b"m-1:1", PATIENCE)
    talk.link.answers = [LEASE, NOTHING]
    talk.exchange.forgo(b"m-1:1")
    assert talk.link.given_back == ["w", b"m-1:1"]
    talk.link.takes_back = 0
    talk.exchange.forgo(b"m-1:1")  # asked twice, it has none left to give back
    assert talk.exchange.settle() is None
    assert talk.exchange.next(done(), want=True) is None
    assert talk.link.asked[1:] == [("+", "1", "m-1")]


def test_what_was_claimed_is_kept_when_there_is_nobody_else(talk: Talk) -> None:
    talk.exchange.go_on(None, b"m-1:1", PATIENCE)
    talk.link.answers, talk.link.takes_back = [LEASE], 0
    talk.exchange.forgo(b"m-1:1")
    assert talk.exchange.settle() == TAKEN


def test_nothing_is_given_back_when_nothing_was_claimed(talk: Talk) -> None:
    talk.exchange.forgo(b"m-1:1")
    talk.exchange.go_on(None, b"m-1:1", PATIENCE)
    talk.link.answers = [NOTHING]
    talk.exchange.forgo(b"m-1:1")
    assert talk.link.given_back == []


def test_large_results_are_waited_for(talk: Talk) -> None:
    talk.link.answers = [NOTHING]
    talk.exchange.go_on(done(outputs=b"x" * LARGE_BYTES), b"m-2:1", PATIENCE)
    assert talk.link.asked == [("-", "m-2:1", "m-1")]
    assert talk.link.answers == []
    assert talk.exchange.settle() is None


def test_a_replica_that_leaves_gives_back_what_it_claimed(talk: Talk) -> None:
    talk.exchange.go_on(done(), b"m-2:1", PATIENCE)
    talk.link.answers = [LEASE, NOTHING]
    talk.exchange.leave()
    assert talk.link.asked[1:] == [("", "1", "")]


def test_a_lease_comes_by_mail(talk: Talk) -> None:
    assert talk.exchange.mail(lambda: [b"mailbox", b"m-2\0001\0001\0payload"]) == TAKEN
    assert talk.exchange.plenty


@pytest.mark.parametrize("mail", [None, [b"mailbox", b""], [b"mailbox", b"hello"]])
def test_what_is_no_lease_is_a_reason_to_ask(talk: Talk, mail: Any) -> None:
    assert talk.exchange.mail(lambda: mail) is None


def test_a_commit_that_could_not_be_sent_is_made_after_the_next_lease(talk: Talk) -> None:
    talk.link.refuses = True
    talk.exchange.go_on(done(), b"m-2:1", PATIENCE)
    assert talk.page.unsettled == "m-1:1"  # the supervisor renews it
    talk.link.answers = [NOTHING]
    assert talk.exchange.settle() is None
    assert talk.link.asked == [("-", "m-2:1", "m-1")]
    assert talk.page.unsettled == ""


def test_an_answer_that_was_lost_early_is_not_waited_for(talk: Talk) -> None:
    talk.exchange.go_on(done(), b"m-2:1", PATIENCE)
    talk.link.breaks = True
    talk.exchange.free_link()
    talk.link.answers = [NOTHING]
    assert talk.exchange.settle() is None
    assert talk.link.answers == []


def test_what_may_have_been_given_back_is_not_run(talk: Talk) -> None:
    talk.exchange.go_on(None, b"m-1:1", PATIENCE)
    talk.link.answers, talk.link.refuses = [LEASE, NOTHING], True
    talk.exchange.forgo(b"m-1:1")
    talk.link.refuses = False
    assert talk.exchange.settle() is None
    assert talk.exchange.next(done(), want=True) is None
    assert talk.link.asked[1:] == [("+", "1", "m-1")]
