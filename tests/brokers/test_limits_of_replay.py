"""An event over a limit is never sent to a client that returns, whichever clients came before: on every engine."""

from __future__ import annotations

import pytest

from flask_ssemux.brokers import HistoryLimits, Range, open_broker
from flask_ssemux.hub.replay import Replay


@pytest.fixture
def workers(make, opened, request):
    """workers(**history): the replays of two workers, and a broker to publish with."""

    def start(**history):
        broker = make(**history)
        replays = [Replay(broker.history, lambda: None, 2**20)]
        if broker.is_shared:
            url = request.getfixturevalue("%s_url" % request.node.callspec.params["make"])
            other = open_broker(url, HistoryLimits(**history))
            opened(other)
            replays.append(Replay(other.history, lambda: None, 2**20))
        for replay in replays:
            replay.begin_epoch(broker.history.get_newest_cursor().epoch)
        return broker, replays

    return start


def returns(replay, broker, after):
    """The sequences that a client is sent; or None if it is sent a reset."""
    head = broker.history.get_newest_cursor()
    left = {"a": Range(after, head.sequence), "quiet": Range(after, head.sequence)}
    lost = replay.find_lost(left, head.epoch)
    found = []
    left = {name: places for name, places in left.items() if name not in lost}
    while left:
        data, missing, left = replay.read_page(left, head.epoch)
        lost += missing
        found += [int(line.split(b"-")[1]) for line in data.split(b"\n") if line.startswith(b"id: ")]
    assert lost in ([], ["a"])
    return None if lost else found


def publish(broker, count):
    for _ in range(count):
        broker.history.append_event("a", b"data: x\n\n")


def test_by_count_exactly_the_newest_are_sent(workers):
    broker, replays = workers(events=5)
    for top in range(1, 41):
        publish(broker, 1)
        for replay in replays:  # early clients receive events that late clients do not
            assert returns(replay, broker, max(0, top - 5)) == list(range(max(1, top - 4), top + 1))
            assert returns(replay, broker, top - 1) == [top]
            if top > 5:
                assert returns(replay, broker, top - 6) is None
                assert returns(replay, broker, 0) is None


def test_by_age_nothing_older_is_sent(workers, travel):
    broker, replays = workers(seconds=2.0)
    publish(broker, 10)
    for replay in replays:
        assert returns(replay, broker, 0) == list(range(1, 11))
    travel(broker, 30.0)
    publish(broker, 3)
    for replay in replays:
        assert returns(replay, broker, 0) is None
        assert returns(replay, broker, 9) is None
        assert returns(replay, broker, 10) == [11, 12, 13]


def test_by_age_without_new_events(workers, travel):
    broker, replays = workers(seconds=2.0)
    publish(broker, 10)
    for replay in replays:
        assert returns(replay, broker, 5) == [6, 7, 8, 9, 10]
    travel(broker, 30.0)
    for replay in replays:
        assert returns(replay, broker, 5) is None


def test_by_bytes_no_more_than_those_are_sent(workers):
    broker, replays = workers(size=20_000)
    for top in range(1, 61):
        broker.history.append_event("a", b"data: " + b"x" * 992 + b"\n\n")  # 1000 bytes
        for replay in replays:
            assert returns(replay, broker, max(0, top - 15)) == list(range(max(1, top - 14), top + 1))
            if top > 21:
                assert returns(replay, broker, top - 22) is None


@pytest.mark.parametrize("before", (0, 3))
def test_an_event_larger_than_the_limit_is_all_that_is_sent(make, before):
    broker = make(size=1000)
    for _ in range(before):
        broker.history.append_event("before", b"x" * 300)
    for number in range(3):
        assert broker.history.append_event("a", b"x" * (2000 + number)).sequence == before + number + 1
    assert [len(record.body) for record in broker.history.read_events(["before", "a"], 0, 100, 100).records] == [2002]
    assert broker.history.append_event("a", b"small").sequence == before + 4
    assert [record.body for record in broker.history.read_events(["before", "a"], 0, 100, 100).records] == [b"small"]
