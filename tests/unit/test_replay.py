"""What replays share of the history: it is equal to the broker's, asked for once, and bounded."""

from __future__ import annotations

import random
import threading
import time

import pytest

from flask_ssemux.brokers import HistoryLimits, Range, open_broker
from flask_ssemux.errors import BrokerBehind, BrokerUnavailable
from flask_ssemux.hub import history_cache
from flask_ssemux.hub import replay as replay_module
from flask_ssemux.hub.history_cache import OVERHEAD
from flask_ssemux.hub.replay import PAGE_BYTES, PAGE_EVENTS, Replay
from tests.harness.waiting import until

MIB = 1024 * 1024


class Counting:
    """A memory broker that counts its calls, and can be made to wait or fail."""

    def __init__(self, events=10**6):
        self.real = open_broker("memory:", HistoryLimits(events=events))
        self.history = self
        self.read = []
        self.floors_asked = []
        self.calls = 0
        self.go = threading.Event()
        self.go.set()
        self.is_away = False

    @property
    def epoch(self):
        return self.real.history.get_newest_cursor().epoch

    def fill(self, channels, count, size=4):
        for number in range(count):
            self.real.history.append_event(channels[number % len(channels)], b"%0*d\n\n" % (size, number))

    def read_channels(self, ranges, limit, size):
        self.calls += 1
        assert self.go.wait(10)
        if self.is_away:
            raise BrokerUnavailable("away")
        parts = self.real.history.read_channels(ranges, limit, size)
        self.read += [record.sequence for part in parts.values() for record in part.records]
        return parts

    def get_floors(self, channels):
        self.floors_asked.append(list(channels))
        return self.real.history.get_floors(channels)


@pytest.fixture
def broker():
    return Counting()


@pytest.fixture
def make(broker):
    def make(size=64 * MIB):
        made = Replay(broker, lambda: time.sleep(0), size)
        made.begin_epoch(broker.epoch)
        return made

    return make


@pytest.fixture
def replay(make):
    return make()


def sequences(data):
    return [int(line.split(b"-")[1]) for line in data.split(b"\n") if line.startswith(b"id: ")]


def ranges(channels, after, upto):
    return dict.fromkeys(channels, Range(after, upto))


def read_all(replay, broker, channels, after, upto):
    """Return the sequences that a client is sent, and the channels that are lost to it."""
    left = ranges(channels, after, upto)
    lost = replay.find_lost(left, broker.epoch)
    left = {name: places for name, places in left.items() if name not in lost}
    found = []
    while left:
        data, missing, left = replay.read_page(left, broker.epoch)
        found += sequences(data)
        lost += missing
    return found, lost


def test_the_same_range_is_read_once(broker, replay):
    broker.fill(["a"], 100)
    for _ in range(50):
        assert read_all(replay, broker, ["a"], 40, 100) == (list(range(41, 101)), [])
    assert broker.calls == 1


def test_ten_thousand_clients_with_different_cursors_read_each_event_once(broker, replay):
    broker.fill(["jobs", "*"], 400)
    chance = random.Random(7)
    for _ in range(10000):
        after = chance.randrange(300, 401)
        assert read_all(replay, broker, ["jobs", "*"], after, 400) == (list(range(after + 1, 401)), [])
    assert len(broker.read) == len(set(broker.read)) <= 100


def test_ten_thousand_clients_that_come_at_once_rarely_ask_for_floors(broker, replay):
    broker.fill(["jobs", "*"], 400)
    began = time.monotonic()
    for _ in range(10000):
        replay.find_lost(ranges(["jobs", "*"], 100, 400), broker.epoch)
        replay.read_page(ranges(["jobs", "*"], 100, 400), broker.epoch)
    assert len(broker.floors_asked) <= 2 + (time.monotonic() - began) / replay_module.FLOOR_SECONDS


@pytest.mark.parametrize("bytes_kept", [64 * MIB, MIB])
def test_random_ranges_are_read_as_the_broker_would_read_them(make, broker, bytes_kept, monkeypatch):
    monkeypatch.setattr(history_cache, "STRETCH_BYTES", 3000)
    for seed in range(40):
        chance = random.Random(seed)
        replay = make(bytes_kept // 100)
        channels = ["%d%s" % (seed, name) for name in ("a", "b", "c", "never")]
        begin = broker.real.history.get_newest_cursor().sequence
        for number in range(chance.randrange(80)):
            broker.real.history.append_event(chance.choice(channels[:3]), b"%d\n\n" % number)
        for _ in range(40):
            if chance.random() < 0.2:
                broker.real.history.append_event(chance.choice(channels[:3]), b"later\n\n")
            if chance.random() < 0.1:
                replay.forget_unused()
            top = broker.real.history.get_newest_cursor().sequence
            asked = chance.sample(channels, chance.randrange(1, 5))
            after, upto = sorted((chance.randrange(begin, top + 1), chance.randrange(begin, top + 1)))
            expected = [record.sequence for record in broker.real.history.read_events(asked, after, upto, 1000).records]
            assert read_all(replay, broker, asked, after, upto) == (expected, []), seed


def test_a_long_replay_is_read_as_it_is_needed(broker, replay):
    broker.fill(["a"], 3000)
    left, found = ranges(["a"], 0, 3000), []
    while left:
        data, missing, left = replay.read_page(left, broker.epoch)
        assert len(data) <= PAGE_BYTES + 100 and len(sequences(data)) <= PAGE_EVENTS and not missing
        found += sequences(data)
        assert len(broker.read) <= len(found) + 400
    assert found == list(range(1, 3001)) == broker.read


def test_the_cost_of_a_page_follows_its_events_and_not_the_number_of_channels(broker, replay):
    names = ["c%d" % number for number in range(100)]
    broker.fill(names, 20000)
    found, lost = read_all(replay, broker, names, 0, 20000)
    assert found == list(range(1, 20001)) == sorted(broker.read) and not lost
    assert broker.calls < 150


def test_large_events_of_many_channels_are_not_read_to_find_their_order(broker, make):
    """A merge knows where the next event of each channel is; every event that is read is sent."""
    replay, names = make(MIB), ["c%d" % number for number in range(50)]
    broker.fill(names, 200, size=100_000)
    left = ranges(names, 0, 200)
    for number in range(1, 200):
        data, _, left = replay.read_page(left, broker.epoch)
        assert sequences(data) == [number] and len(broker.read) <= number + 8


def test_events_over_a_limit_are_not_sent_even_if_they_are_in_the_cache(broker, replay):
    broker.real.history._limits = HistoryLimits(events=10)
    broker.fill(["a"], 10)
    assert read_all(replay, broker, ["a"], 0, 10)[0] == list(range(1, 11))
    broker.fill(["a"], 5)
    assert read_all(replay, broker, ["a", "b"], 0, 15) == ([], ["a"])
    assert read_all(replay, broker, ["a"], 4, 15) == ([], ["a"])
    assert read_all(replay, broker, ["a"], 5, 15) == (list(range(6, 16)), [])


def test_missing_events_are_not_asked_for_again(replay, broker):
    broker.real.history._limits = HistoryLimits(events=10)
    broker.fill(["a"], 100)
    for _ in range(5):
        assert read_all(replay, broker, ["a", "b"], 20, 100) == ([], ["a"])
    assert broker.calls == 1
    assert read_all(replay, broker, ["a"], 95, 100) == ([96, 97, 98, 99, 100], [])


def test_many_replays_at_once_wait_for_one_answer(broker, replay):
    broker.fill(["a"], 50)
    broker.go.clear()
    found = []
    threads = [
        threading.Thread(target=lambda: found.append(replay.read_page(ranges(["a"], 0, 50), broker.epoch)))
        for _ in range(40)
    ]
    for thread in threads:
        thread.start()
    broker.go.set()
    for thread in threads:
        thread.join()
    assert len(found) == 40 and all(len(sequences(page.data)) == 50 for page in found)
    assert broker.calls == 1


def test_replays_that_waited_for_one_that_failed_fail_at_once(broker, replay):
    broker.fill(["a"], 50)
    broker.go.clear()
    broker.is_away = True
    failed = []

    def read():
        with pytest.raises(BrokerUnavailable):
            replay.read_page(ranges(["a"], 0, 50), broker.epoch)
        failed.append(1)

    threads = [threading.Thread(target=read) for _ in range(20)]
    for thread in threads:
        thread.start()
    until(lambda: broker.calls == 1, 5, "no replay reads")
    until(lambda: len(replay._turns._waiting) == 19, 5, "the others do not wait for their turn")
    broker.go.set()
    for thread in threads:
        thread.join()
    assert len(failed) == 20 and broker.calls == 1
    broker.is_away = False
    assert read_all(replay, broker, ["a"], 0, 50)[0] == list(range(1, 51))


def test_unused_events_are_forgotten(broker, replay):
    broker.fill(["a"], 50)
    read_all(replay, broker, ["a"], 0, 50)
    replay.forget_unused()
    read_all(replay, broker, ["a"], 0, 50)
    assert broker.calls == 1 and replay.size > 50 * OVERHEAD
    replay.forget_unused()
    replay.forget_unused()
    assert replay.size == 0 and not replay._cache._stretches


def test_the_cache_is_bounded_in_bytes_and_every_event_is_read(broker, make):
    replay = make(MIB)
    broker.fill(["a", "b"], 6000, size=500)
    left, found = ranges(["a", "b"], 0, 6000), []
    while left:
        data, _, left = replay.read_page(left, broker.epoch)
        found += sequences(data)
        assert replay.size <= MIB // 2
    assert found == list(range(1, 6001)) == sorted(broker.read)


def test_the_events_used_longest_ago_are_removed_first(broker, make):
    replay = make(MIB)
    broker.fill(["a", "b"], 2000, size=100)
    for _ in range(20):
        read_all(replay, broker, ["a"], 1800, 2000)
        read_all(replay, broker, ["b"], 0, 1990)
    assert broker.read.count(1999) == 1


def test_a_new_epoch_has_its_own_cache(broker, replay):
    broker.fill(["a"], 5)
    old = broker.epoch
    read_all(replay, broker, ["a"], 0, 5)
    broker.real = open_broker("memory:", HistoryLimits())
    broker.real.history.append_event("a", b"new\n\n")
    replay.begin_epoch(broker.epoch)
    assert b"new" in replay.read_page(ranges(["a"], 0, 5), broker.epoch).data
    with pytest.raises(BrokerBehind):
        replay.read_page(ranges(["a"], 0, 5), old)


def test_what_is_being_read_when_a_new_epoch_begins_is_not_kept(broker, replay):
    broker.fill(["a"], 5)
    broker.go.clear()
    failed = []

    def read():
        with pytest.raises(BrokerBehind):
            replay.read_page(ranges(["a"], 0, 5), broker.epoch)
        failed.append(1)

    reader = threading.Thread(target=read)
    reader.start()
    until(lambda: broker.calls == 1, 5, "no replay reads")
    replay.begin_epoch("another1")
    broker.go.set()
    reader.join()
    assert failed and replay.size == 0
