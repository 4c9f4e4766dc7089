"""The contract of several events in one append: all or none, consecutive, in order."""

from __future__ import annotations

import os
import signal
import threading

import pytest

from flask_ssemux.brokers import NewEvent, Record, SubscriptionStart
from tests.brokers.processes import APPEND_SEVERAL, process

ALL = 10**9


def make_events(*channels):
    return [NewEvent(channel, b"body %d" % number) for number, channel in enumerate(channels)]


def list_kept(broker, *channels):
    page = broker.history.read_events(channels, 0, ALL, 10_000)
    assert page.is_whole
    return page.records


class SeveralEventsSuite:
    """What every engine promises."""

    def test_several_events_have_consecutive_sequences_in_their_order(self, broker):
        broker.history.append_event("a", b"before")
        cursors = broker.history.append_events(make_events("b", "a", "b"))
        assert [cursor.sequence for cursor in cursors] == [2, 3, 4]
        assert broker.history.get_newest_cursor() == cursors[-1]
        assert broker.history.append_event("a", b"after").sequence == 5
        assert list_kept(broker, "a", "b") == [
            Record(1, "a", b"before"),
            Record(2, "b", b"body 0"),
            Record(3, "a", b"body 1"),
            Record(4, "b", b"body 2"),
            Record(5, "a", b"after"),
        ]
        assert (broker.get_figures()["events"], broker.get_figures()["channels"]) == (5, 2)

    def test_the_first_append_of_a_store_may_be_several(self, broker):
        assert [cursor.sequence for cursor in broker.history.append_events(make_events("a", "a"))] == [1, 2]
        assert [record.sequence for record in list_kept(broker, "a")] == [1, 2]

    def test_they_are_delivered_in_their_order(self, broker, recorder):
        broker.history.start_delivery(recorder.listener)
        broker.history.subscribe_channels(["a", "b"])
        for _ in range(20):
            broker.history.append_events(make_events("a", "b", "a", "a", "b"))
        recorder.wait(100)
        assert recorder.sequences == list(range(1, 101)) and recorder.gaps == []
        assert [record.body for record in recorder.records[:5]] == [b"body %d" % number for number in range(5)]
        assert [record.channel for record in recorder.records[5:10]] == ["a", "b", "a", "a", "b"]

    def test_those_of_threads_do_not_mix(self, broker):
        found = []

        def append():
            for _ in range(20):
                found.append([cursor.sequence for cursor in broker.history.append_events(make_events(*"abcde"))])

        threads = [threading.Thread(target=append) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert all(numbers == list(range(numbers[0], numbers[0] + 5)) for numbers in found)
        assert sorted(number for numbers in found for number in numbers) == list(range(1, 401))

    def test_a_reader_sees_all_of_them_or_none(self, broker):
        """What a reader sees up to its newest cursor is always whole."""
        sizes, is_over = set(), threading.Event()

        def read():
            while not is_over.is_set():
                newest = broker.history.get_newest_cursor().sequence
                sizes.add(len(broker.history.read_events(["a", "b"], 0, newest, 10_000).records) % 10)

        reader = threading.Thread(target=read)
        reader.start()
        for _ in range(30):
            broker.history.append_events(make_events(*"aabbbababa"))
        is_over.set()
        reader.join()
        assert sizes <= {0}

    def test_a_latest_event_among_them_replaces_those_before_it(self, broker):
        broker.history.append_event("a", b"old", "p")
        broker.history.append_events(
            [NewEvent("a", b"1", "p"), NewEvent("a", b"2"), NewEvent("a", b"3", "p"), NewEvent("b", b"4", "p")]
        )
        a, b = Record(4, "a", b"3", "p"), Record(5, "b", b"4", "p")
        assert list_kept(broker, "a", "b") == [Record(3, "a", b"2"), a, b]
        assert broker.history.subscribe_channels(["a", "b"]) == SubscriptionStart(5, [a, b])
        assert broker.get_figures()["events"] == 3

    @pytest.mark.parametrize("times", [1, 5])
    def test_more_of_them_than_the_history_keeps(self, make, times):
        broker = make(events=10)
        broker.history.append_event("quiet", b"x")
        for _ in range(times):
            broker.history.append_events(make_events(*["busy"] * 25))
        page = broker.history.read_events(["quiet", "busy"], 0, ALL, 1000)
        last = 1 + 25 * times
        assert [record.sequence for record in page.records] == [1, *range(last - 9, last + 1)]
        assert page.missing == ["busy"]
        assert broker.history.read_events(["busy"], last - 10, ALL, 100).missing == []

    def test_they_count_as_bytes_of_the_history(self, make):
        broker = make(size=100_000)
        for _ in range(10):
            broker.history.append_events([NewEvent(channel, b"x" * 10_000) for channel in "abc"])
        page = broker.history.read_events(["a", "b", "c"], 0, ALL, 1000)
        assert [record.sequence for record in page.records] == list(range(21, 31))
        assert sorted(page.missing) == ["a", "b", "c"]


class SharedSeveralEventsSuite:
    """What engines promise that several processes share. Real processes."""

    def test_a_process_that_is_killed_leaves_all_of_them_or_none(self, make_shared, shared_url):
        writer = process(APPEND_SEVERAL, shared_url, "a", 100_000)
        numbers = [int(writer.stdout.readline()) for _ in range(20)]
        os.kill(writer.pid, signal.SIGKILL)
        numbers += [int(line) for line in writer.stdout if line.endswith("\n")]
        writer.communicate(timeout=30)
        broker = make_shared()
        newest = broker.history.get_newest_cursor().sequence
        assert newest in (numbers[-1], numbers[-1] + 10) and newest % 10 == 0
        assert len(list_kept(broker, "a")) == newest
