"""What streams share of the past: right as the broker is, and asked of it once."""

from __future__ import annotations

import random
import threading

import pytest

from flask_ssemux import replay as replay_
from flask_ssemux.brokers import History, Page, Record, open_broker
from flask_ssemux.replay import Replay
from tests.harness.waiting import until


class Counting:
    """A memory broker that counts what it is asked, and may be held up."""

    def __init__(self, events=10**6):
        self.real = open_broker("memory:", History(events=events))
        self.asked = []
        self.go = threading.Event()
        self.go.set()

    def fill(self, channels, count, size=4):
        for number in range(count):
            self.real.append(channels[number % len(channels)], b"%0*d" % (size, number))

    def read(self, channels, after, upto, limit):
        assert self.go.wait(10)
        page = self.real.read(channels, after, upto, limit)
        self.asked.append((sorted(channels), after, upto, len(page.records)))
        return page


@pytest.fixture
def broker():
    return Counting()


@pytest.fixture
def shared(broker):
    return Replay(broker)


def sequences(page):
    return [record.sequence for record in page.records]


def test_the_same_question_is_asked_once(broker, shared):
    broker.fill(["a"], 100)
    for _ in range(50):
        assert sequences(shared.read(["a"], 40, 100, 20)) == list(range(41, 61))
    assert len(broker.asked) == 1


def test_ten_thousand_clients_with_their_own_places_read_each_event_once(broker, shared):
    broker.fill(["jobs", "*"], 400)
    chance = random.Random(7)
    for _ in range(10000):
        after = chance.randrange(300, 401)
        page = shared.read(["jobs", "*"], after, 400, 200)
        assert sequences(page) == list(range(after + 1, 401))
    assert sum(count for *_, count in broker.asked) <= 100
    assert len(broker.asked) < 20


def test_is_as_the_broker_whatever_is_asked_in_whatever_order(monkeypatch):
    monkeypatch.setattr(replay_, "CHUNK", 7)
    for seed in range(60):
        chance = random.Random(seed)
        broker = Counting()
        shared = Replay(broker)
        channels = ["a", "b", "c", "never"]
        for number in range(chance.randrange(80)):
            broker.real.append(chance.choice(channels[:3]), b"%d" % number)
        for _ in range(60):
            if chance.random() < 0.2:
                broker.real.append(chance.choice(channels[:3]), b"later")
            if chance.random() < 0.1:
                shared.forget_unused()
            top = broker.real.head().sequence
            question = (
                chance.sample(channels, chance.randrange(1, 5)), chance.randrange(top + 1), chance.randrange(top + 1),
                chance.choice([1, 3, 5, 7]),
            )  # fmt: skip
            assert shared.read(*question)[:2] == broker.real.read(*question)[:2], (seed, question)


def test_pages_of_a_long_replay_are_read_as_they_are_needed(broker, shared):
    broker.fill(["a"], 3000)
    after, pages = 0, 0
    while after < 3000:
        found = sequences(shared.read(["a"], after, 3000, 200))
        assert found == list(range(after + 1, min(after + 200, 3000) + 1))
        after, pages = found[-1], pages + 1
        assert sum(count for *_, count in broker.asked) <= after + replay_.CHUNK
    assert pages == 15 == len(broker.asked)


def test_what_is_missing_is_said_and_not_asked_again(shared, broker):
    broker.real._history = History(events=10)
    broker.fill(["a"], 100)
    for _ in range(5):
        assert shared.read(["a", "b"], 20, 100, 5) == Page([], ["a"], True)
    assert len(broker.asked) == 1
    assert sequences(shared.read(["b"], 20, 100, 5)) == []
    assert sequences(shared.read(["a"], 95, 100, 5)) == [96, 97, 98, 99, 100]


def test_what_was_read_before_it_was_trimmed_is_still_there(shared, broker):
    broker.fill(["a"], 10)
    shared.read(["a"], 0, 10, 10)
    broker.real._history = History(events=3)
    broker.fill(["a"], 10)
    assert sequences(shared.read(["a"], 4, 10, 10)) == [5, 6, 7, 8, 9, 10]


def test_many_at_once_wait_for_one_answer(broker, shared):
    broker.fill(["a"], 50)
    broker.go.clear()
    found = []
    threads = [threading.Thread(target=lambda: found.append(shared.read(["a"], 0, 50, 50))) for _ in range(40)]
    for thread in threads:
        thread.start()
    broker.go.set()
    for thread in threads:
        thread.join()
    assert len(found) == 40 and all(len(page.records) == 50 for page in found)
    assert len(broker.asked) == 1


def test_what_is_of_no_use_is_forgotten(broker, shared):
    broker.fill(["a"], 50)
    shared.read(["a"], 0, 50, 50)
    shared.forget_unused()
    shared.read(["a"], 0, 50, 50)
    assert len(broker.asked) == 1 and shared.size > 50 * replay_.OVERHEAD
    shared.forget_unused()
    shared.forget_unused()
    assert shared.size == 0 and not shared._stretches


def test_bytes_are_bounded_and_all_is_read(broker, shared, monkeypatch):
    monkeypatch.setattr(replay_, "BYTES", 300_000)
    broker.fill(["a", "b"], 3000, size=500)
    after = 0
    while after < 3000:
        found = sequences(shared.read(["a", "b"], after, 3000, 200))
        assert found == list(range(after + 1, min(after + 200, 3000) + 1))
        after = found[-1]
        assert shared.size <= 300_000 + 2 * replay_.CHUNK * (500 + replay_.OVERHEAD)


def test_another_life_has_another_past(broker, shared):
    broker.fill(["a"], 5)
    shared.read(["a"], 0, 5, 10)
    broker.real = open_broker("memory:", History())
    broker.real.append("a", b"new")
    shared.begin_anew()
    assert shared.read(["a"], 0, 5, 10).records == [Record(1, "a", b"new")]


def test_what_is_being_read_when_another_life_begins_is_not_kept(broker, shared):
    broker.fill(["a"], 5)
    broker.go.clear()
    found = []
    reader = threading.Thread(target=lambda: found.append(shared.read(["a"], 0, 5, 10)))
    reader.start()
    until(shared._reading.locked, 5, "nobody reads")
    shared.begin_anew()
    broker.go.set()
    reader.join()
    assert len(broker.asked) == 2
