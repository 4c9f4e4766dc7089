"""The limits of engines that keep them exactly at each append, and not a few events later."""

from __future__ import annotations

import pytest

from flask_ssemux.brokers.contract import constants
from flask_ssemux.brokers.memory import kept_events
from flask_ssemux.brokers.sqlite import trimming
from flask_ssemux.publishing.revocation import REVOCATION_CHANNEL as OWN
from tests.harness.waiting import until

ALL = 10**17

KB = b"x" * 1000


def kept(broker, *channels):
    return [record.sequence for record in broker.history.read_events(channels, 0, ALL, 100_000).records]


def missing(broker, channel, after=0):
    return bool(broker.history.read_events([channel], after, ALL, 1).missing)


class ExactLimitsSuite:
    """What engines promise that keep each limit exactly."""

    def test_the_limit_of_events_is_exact_after_each_append(self, make):
        broker = make(events=5)
        for number in range(1, 200):
            broker.history.append_event("a", b"x")
            assert kept(broker, "a") == list(range(max(1, number - 4), number + 1))
            assert missing(broker, "a") == (number > 5)
        assert not missing(broker, "a", 194) and missing(broker, "a", 193)

    def test_the_limit_of_age_is_exact_without_appends(self, make, travel):
        broker = make(seconds=100.0)
        for _ in range(3):
            broker.history.append_event("a", b"old")
        travel(broker, 60.0)
        broker.history.append_event("a", b"newer")
        broker.history.append_event("b", b"newest")
        assert kept(broker, "a") == [1, 2, 3, 4]
        travel(broker, 60.0)
        assert kept(broker, "a") == [4]
        assert missing(broker, "a", 2) and not missing(broker, "a", 3) and not missing(broker, "b")

    def test_the_limit_of_bytes_is_exact_and_takes_the_oldest_of_all_channels(self, make):
        broker = make(size=65536)
        broker.history.append_event("before", KB)
        for number in range(2, 200):
            broker.history.append_event("c%d" % (number % 3), KB)
            all_kept = kept(broker, "before", "c0", "c1", "c2")
            assert all_kept == list(range(max(1, number - 64), number + 1))
        assert missing(broker, "before") and missing(broker, "c0")
        assert not missing(broker, "before", 1) and not missing(broker, "never")
        broker.history.append_event("a", b"y" * 70_000)  # more than the limit; the newest event is kept all the same
        assert kept(broker, "c0", "c1", "c2", "a") == [200]

    def test_a_replaced_event_takes_no_bytes(self, make):
        broker = make(size=65536)
        broker.history.append_event("quiet", b"x")
        for number in range(1000):
            broker.history.append_event("progress", KB, "p%d" % (number % 3))
        assert not missing(broker, "quiet") and kept(broker, "quiet") == [1]

    def test_latest_events_over_a_limit_are_not_returned_to_new_subscribers(self, make, travel):
        broker = make(events=3, seconds=100.0)
        broker.history.append_event("a", b"p", "p")
        broker.history.append_event("b", b"p", "p")
        for _ in range(3):
            broker.history.append_event("a", b"x")
        assert [record.channel for record in broker.history.subscribe_channels(["a", "b"]).latest] == ["b"]
        travel(broker, 200.0)
        assert broker.history.subscribe_channels(["a", "b"]).latest == []

    def test_the_extensions_own_channels_have_limits_of_their_own(self, make, travel):
        broker = make(events=5, seconds=100.0, size=65536)
        for _ in range(300):
            broker.history.append_event(OWN, b"order")
            broker.history.append_event("a", KB)
        travel(broker, 3000.0)
        broker.history.append_event("a", b"x")
        assert len(kept(broker, OWN)) == 300 and not missing(broker, OWN)
        travel(broker, 1000.0)
        assert kept(broker, OWN) == [] and missing(broker, OWN)

    @pytest.mark.parametrize("channel", ["a", OWN])
    def test_live_events_need_no_history(self, make, recorder, channel):
        broker = make(events=5, seconds=0.0, size=65536)
        broker.history.start_delivery(recorder.listener)
        broker.history.subscribe_channels([channel])
        for _ in range(5):
            for _ in range(60):
                broker.history.append_event(channel, KB)
            until(lambda: len(recorder.records) % 60 == 0, 5, "a burst did not come whole")
        recorder.wait(300)
        assert recorder.sequences == list(range(1, 301)) and recorder.gaps == []

    def test_a_gap_in_forgotten_channels_begins_an_epoch_for_all(self, make, recorder, monkeypatch):
        for name, value in (("LIVE_SECONDS", 0.0), ("LIVE_EVENTS", 1)):
            monkeypatch.setattr(constants, name, value)
        for module in (trimming, kept_events):
            monkeypatch.setattr(module, "FLOORS", 50)
        monkeypatch.setattr(trimming, "FLOORS_SECONDS", 0.0)
        broker = make(seconds=0.0)
        slow, is_waiting, go_on = recorder.make_blocked_listener()
        broker.history.start_delivery(slow)
        broker.history.append_event("first", b"x")
        assert is_waiting.wait(10)
        for number in range(500):
            broker.history.append_event("once:%d" % number, b"x")
        go_on.set()
        until(lambda: recorder.renewals, 5, "nothing was reported")
        broker.history.append_event("last", b"x")
        until(lambda: recorder.records[-1].channel == "last", 5, "delivery does not go on")
