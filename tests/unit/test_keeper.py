"""The keeper renews the leases of a process, as long as a member needs it; and the messages about work."""

from __future__ import annotations

import pytest

from flask_ssemux.brokers import HistoryLimits
from flask_ssemux.brokers.memory import MemoryBroker
from flask_ssemux.errors import BrokerUnavailable
from flask_ssemux.runs import keeper as module
from flask_ssemux.runs.keeper import WorkKeeper
from flask_ssemux.runs.messages import WorkMessage, WorkMessages
from tests.harness.waiting import until


class Member:
    def __init__(self, leases=(), wants=(), watches=()):
        self.leases, self.wants, self.watches = leases, wants, watches
        self.answers, self.unreachable = [], []

    @property
    def is_needed(self):
        return bool(self.leases or self.wants or self.watches)

    def list_leases(self):
        return self.leases

    def list_wants(self):
        return self.wants

    def list_watches(self):
        return self.watches

    def note_kept(self, kept, lost):
        self.answers.append((kept[:3], lost))

    def note_unreachable(self, seconds):
        self.unreachable.append(seconds)


@pytest.fixture
def broker():
    made = MemoryBroker(HistoryLimits())
    yield made
    made.close()


@pytest.fixture
def keeper(broker, monkeypatch):
    monkeypatch.setattr(module, "WORK_INTERVAL", 0.02)
    return WorkKeeper(lambda: broker)


def test_all_members_share_one_call_and_learn_what_was_lost(broker, keeper):
    (old,) = broker.work.take_work(["feed:a"])
    (new,) = broker.work.take_work(["feed:a"])
    first, second = Member([old, new], ["feed:a", "feed:b"]), Member(watches=["run:x"])
    keeper.add_member(first)
    keeper.add_member(second)
    keeper.wake()
    until(lambda: len(first.answers) >= 3, 10, "it is not repeated")
    assert first.answers[0] == (([new], {"feed:a"}, {"feed:b", "run:x"}), {old}) == second.answers[0]
    first.leases = first.wants = second.watches = ()
    until(lambda: not keeper._loop.is_running, 10, "it does not end")
    assert broker.work.keep_work([new]).wanted == set()  # what was wanted is no longer announced


def test_an_outage_is_told_with_its_length(broker, keeper, monkeypatch):
    member = Member(broker.work.take_work(["feed:a"]))
    keeper.add_member(member)
    with monkeypatch.context() as outage:

        def fail(*_):
            raise BrokerUnavailable("it is away")

        outage.setattr(broker.work, "keep_work", fail)
        keeper.wake()
        until(lambda: member.unreachable and member.unreachable[-1] > 0.1, 10, "nobody is told")
    assert member.unreachable == sorted(member.unreachable) and member.unreachable[0] < 0.1
    until(lambda: member.answers, 10, "it does not go on")


def test_without_need_there_is_no_thread_and_no_call(broker, keeper, monkeypatch):
    monkeypatch.setattr(broker.work, "keep_work", None)
    keeper.add_member(Member())
    assert not keeper._loop.is_running
    keeper.wake()
    until(lambda: not keeper._loop.is_running, 10, "it does not end")


def test_messages_are_passed_on_as_they_were_sent():
    messages, first, second = WorkMessages(), [], []
    messages.handlers += [first.append, second.append]
    for message in (WorkMessage(("feed:a", "feed:ä")), WorkMessage(cancel="x")):
        messages.handle_body(message.to_json())
    assert first == second == [(("feed:a", "feed:ä"), ""), ((), "x")]
    for body in (b"7", b"{", b'{"free": [7]}', b'{"cancel": 7}'):
        with pytest.raises(ValueError):
            messages.handle_body(body)
    messages.handle_body(b'{"later": 1}')
