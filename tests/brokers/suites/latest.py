"""The contract of latest events: which are kept, which are missing, which are delivered."""

from __future__ import annotations

import random

import pytest

from flask_ssemux.brokers import Record, SubscriptionStart

ALL = 10**9


def kept(broker, *channels, after=0):
    page = broker.history.read_events(channels, after, ALL, 1000)
    assert page.missing == [] and page.is_whole
    return [(record.sequence, record.body) for record in page.records]


def page_of(broker):
    return broker.history.read_events(["a", "b"], 0, ALL, 1000).records


class LatestSuite:
    """What every engine promises."""

    def test_only_the_newest_of_its_channel_and_key_is_kept(self, broker):
        for number in range(3):
            broker.history.append_event("a", b"ordinary %d" % number)
            broker.history.append_event("a", b"p %d" % number, "progress")
            broker.history.append_event("a", b"s %d" % number, "Zustand ä b")
            broker.history.append_event("b", b"other %d" % number, "progress")
        assert kept(broker, "a") == [
            (1, b"ordinary 0"), (5, b"ordinary 1"), (9, b"ordinary 2"), (10, b"p 2"), (11, b"s 2")
        ]  # fmt: skip
        assert broker.history.read_events(["b"], 0, ALL, 10).records == [Record(12, "b", b"other 2", "progress")]
        assert broker.get_figures()["events"] == 6 and broker.get_figures()["channels"] == 2

    def test_a_replaced_event_is_not_missing_after_any_sequence(self, broker):
        for number in range(20):
            broker.history.append_event("a", b"%d" % number, "progress")
        for after in range(20):
            assert kept(broker, "a", after=after) == [(20, b"19")]
        assert kept(broker, "a", after=20) == []

    def test_a_sequence_is_given_once_although_the_newest_event_is_replaced(self, broker):
        assert [broker.history.append_event("a", b"x", "progress").sequence for _ in range(5)] == [1, 2, 3, 4, 5]
        assert broker.history.get_newest_cursor().sequence == 5

    def test_a_subscription_returns_the_latest_events_of_its_channels(self, broker, recorder):
        broker.history.start_delivery(recorder.listener)
        assert broker.history.subscribe_channels(["a"]) == SubscriptionStart(0, [])
        for number in range(2):
            broker.history.append_event("a", b"x")
            broker.history.append_event("a", b"p %d" % number, "progress")
            broker.history.append_event("a", b"s %d" % number, "state")
            broker.history.append_event("b", b"b %d" % number, "progress")
        a, b = (
            [Record(6, "a", b"p 1", "progress"), Record(7, "a", b"s 1", "state")],
            [Record(8, "b", b"b 1", "progress")],
        )
        assert broker.history.subscribe_channels(["a", "quiet"]) == SubscriptionStart(8, a)
        assert broker.history.subscribe_channels(["b", "a"]) == SubscriptionStart(8, a + b)

    def test_latest_events_are_delivered_in_order_and_the_newest_always(self, broker, recorder):
        broker.history.start_delivery(recorder.listener)
        broker.history.subscribe_channels(["a"])
        for number in range(200):
            broker.history.append_event("a", b"%d" % number, "progress")
        broker.history.append_event("a", b"the end")
        while not recorder.records or recorder.records[-1].body != b"the end":
            recorder.wait(len(recorder.records) + 1)
        assert recorder.sequences == sorted(set(recorder.sequences)) and recorder.gaps == []
        assert recorder.records[-2] == Record(200, "a", b"199", "progress")

    def test_a_latest_event_that_is_trimmed_by_count_is_missing(self, make):
        broker = make(events=10)
        broker.history.append_event("a", b"p", "progress")
        for _ in range(40):
            broker.history.append_event("a", b"x")
        assert broker.history.subscribe_channels(["a"]).latest == []
        assert broker.history.read_events(["a"], 0, ALL, 100).missing == ["a"]
        broker.history.append_event("a", b"q", "progress")
        assert [record.body for record in broker.history.subscribe_channels(["a"]).latest] == [b"q"]

    def test_a_latest_event_counts_once_however_often_it_is_replaced(self, make):
        """Trimming by count counts kept events: a moving progress bar does not push out the channel's other events."""
        broker = make(events=10)
        for number in range(9):
            broker.history.append_event("a", b"%d" % number)
        for number in range(100):
            broker.history.append_event("a", b"p %d" % number, "progress")
        assert [body for _, body in kept(broker, "a")] == [b"%d" % n for n in range(9)] + [b"p 99"]

    def test_a_latest_event_that_is_too_old_is_missing(self, make, travel):
        broker = make(seconds=1000.0)
        broker.history.append_event("a", b"p", "progress")
        travel(broker, 2000.0)
        broker.history.append_event("b", b"x")
        broker.history.append_event("b", b"x")
        assert broker.history.subscribe_channels(["a"]).latest == []
        assert broker.history.read_events(["a"], 0, ALL, 10).missing == ["a"]

    @pytest.mark.parametrize("seed", range(3))
    def test_a_client_without_a_gap_has_all_events(self, make, seed):
        """Random histories with trimming, read from every sequence: all ordinary events, and the newest of each key."""
        chance, broker, said = random.Random(seed), make(events=20), []
        for number in range(150):
            channel, key = chance.choice("ab"), chance.choice([None, None, "p", "q"])
            said.append(
                Record(broker.history.append_event(channel, b"%d" % number, key).sequence, channel, b"%d" % number, key)
            )
        newest = {(r.channel, r.latest_key): r for r in said if r.latest_key}
        complete = 0
        for after in range(0, 151, 3):
            page = broker.history.read_events(["a", "b"], after, ALL, 1000)
            expected = [
                r for r in said if r.sequence > after and r.channel not in page.missing
                and (r.latest_key is None or newest[r.channel, r.latest_key] is r)
            ]  # fmt: skip
            assert [record for record in page.records if record.channel not in page.missing] == expected
            complete += not page.missing
        assert complete > 5
        assert broker.history.subscribe_channels(["a", "b"]).latest == sorted(
            r for r in newest.values() if r in page_of(broker)
        )
