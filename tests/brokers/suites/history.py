"""The contract of the history: order, reading, trimming. The suite of ``EventHistory`` without delivery."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading

import pytest

from flask_ssemux.brokers import Merge, Page, Range, Record, open_broker
from flask_ssemux.sse.cursor import Cursor
from tests.brokers.processes import APPEND, process

ALL = 10**9


def fill(broker, channels, size=0):
    bodies = ((b"body %d" % index).ljust(size) for index in range(len(channels)))
    return [broker.history.append_event(channel, body) for channel, body in zip(channels, bodies)]


class HistorySuite:
    """What every engine promises."""

    def test_the_newest_sequence_is_zero_before_the_first_event(self, broker):
        assert broker.history.get_newest_cursor().sequence == 0

    def test_one_sequence_for_all_channels(self, broker):
        cursors = fill(broker, ["a", "b", "a", "c"])
        assert [cursor.sequence for cursor in cursors] == [1, 2, 3, 4]
        assert {cursor.epoch for cursor in cursors} == {broker.history.get_newest_cursor().epoch}
        assert broker.history.get_newest_cursor() == cursors[-1]

    def test_cursors_can_be_parsed_back(self, broker):
        cursor = broker.history.append_event("a", b"x")
        assert Cursor.parse(str(cursor)) == cursor

    def test_threads_that_append_at_once_get_each_sequence_once(self, broker):
        found = []
        threads = [threading.Thread(target=lambda: found.extend(fill(broker, ["a"] * 50))) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(cursor.sequence for cursor in found) == list(range(1, 301))

    def test_reads_the_channels_that_are_asked_for_in_order(self, broker):
        fill(broker, ["a", "b", "c", "a", "b"])
        page = broker.history.read_events(["b", "a"], 0, ALL, 100)
        assert page.records == [
            Record(1, "a", b"body 0"),
            Record(2, "b", b"body 1"),
            Record(4, "a", b"body 3"),
            Record(5, "b", b"body 4"),
        ]
        assert page.missing == []

    @pytest.mark.parametrize(
        "after, upto, limit, expected",
        [(0, ALL, 3, [1, 2, 3]), (2, ALL, 100, [3, 4, 5]), (1, 4, 100, [2, 3, 4]), (5, ALL, 9, []), (2, 2, 9, [])],
    )
    def test_reads_a_range(self, broker, after, upto, limit, expected):
        fill(broker, ["a", "b", "a", "b", "a"])
        page = broker.history.read_events(["a", "b"], after, upto, limit)
        assert [record.sequence for record in page.records] == expected

    def test_a_channel_without_events_has_no_records_and_no_gap(self, broker):
        fill(broker, ["a"])
        assert broker.history.read_events(["never"], 0, ALL, 10) == ([], [], True)

    def test_bodies_are_kept_unchanged(self, broker):
        body = bytes(range(256)) * 40
        broker.history.append_event("é:\U0001f600", body)
        assert broker.history.read_events(["é:\U0001f600"], 0, ALL, 10).records == [Record(1, "é:\U0001f600", body)]

    def test_each_channel_is_read_from_its_own_sequence(self, broker):
        fill(broker, ["a", "b"] * 10)
        parts = broker.history.read_channels({"a": Range(4, 20), "b": Range(13, 17), "never": Range(0, 20)}, 3, 10**6)
        found = {name: [record.sequence for record in part.records] for name, part in parts.items()}
        assert found == {"a": [5, 7, 9], "b": [14, 16], "never": []}
        assert parts["a"].upto in (9, 10) and (parts["b"].upto, parts["never"].upto) == (17, 20)
        assert not any(part.is_missing for part in parts.values())

    def test_the_last_event_of_a_channel_is_found_wherever_it_is(self, broker):
        fill(broker, ["a", "b", "b"] * 4)
        for after, upto in [(0, 12), (0, 10), (0, 9), (7, 12), (9, 10), (10, 12), (3, 3), (0, ALL)]:
            found = broker.history.find_last_event("a", Range(after, upto))
            there = [place for place in (1, 4, 7, 10) if after < place <= upto]
            assert (None if found is None else found.sequence) == (there[-1] if there else None), (after, upto)

    def test_the_size_of_a_page_is_bounded(self, broker):
        """Bytes are bounded over all channels: the first page has an event at least, the others end before the next."""
        for number in range(30):
            broker.history.append_event("abc"[number % 3], b"%02d" % number + b"x" * 100_000)
        ranges = {"b": Range(4, 30), "c": Range(0, 30), "a": Range(9, 30), "never": Range(0, 30)}
        parts = broker.history.read_channels(ranges, 100, 250_000)
        assert [r.sequence for r in parts["b"].records] == [5, 8, 11] and parts["b"].upto in (11, 13)
        assert [(part.records, part.upto) for part in list(parts.values())[1:]] == [([], 2), ([], 9), ([], 30)]
        parts = broker.history.read_channels(ranges, 100, 1)
        assert [len(part.records) for part in parts.values()] == [1, 0, 0, 0]

    @pytest.mark.parametrize("limit, size", [(1, 10**6), (7, 40), (1000, 3000), (1000, 10**6)])
    def test_a_merge_returns_each_event_once_in_order_and_reads_nothing_twice(self, broker, limit, size):
        chance, asked = random.Random(limit), []
        names = ["c%d" % number for number in range(30)]
        cursors = [
            broker.history.append_event(chance.choice(names[: 1 + number // 10]), b"x" * chance.randrange(60))
            for number in range(400)
        ]
        top = cursors[-1].sequence

        def fetch(*question):
            parts = broker.history.read_channels(*question)
            asked.extend(record.sequence for part in parts.values() for record in part.records)
            return parts

        merge, found, page = Merge(fetch, dict.fromkeys([*names, "never"], Range(50, top))), [], Page([], [], False)
        while not page.is_whole:
            page = merge.read_page(limit, size)
            assert len(page.records) <= limit and page.missing == []
            found += [record.sequence for record in page.records]
        assert found == list(range(51, 401)) == sorted(asked)

    def test_floors_show_what_is_over_a_limit(self, make):
        broker = make(events=10)
        assert broker.history.get_floors(["a"]) == (broker.history.get_newest_cursor(), {"a": 0})
        fill(broker, ["quiet"] + ["busy"] * 100)
        head, floors = broker.history.get_floors(["quiet", "busy", "never"])
        assert head == broker.history.get_newest_cursor() and floors["quiet"] == floors["never"] == 0
        assert broker.history.read_events(["busy"], floors["busy"], ALL, 100).missing == []
        assert broker.history.read_events(["busy"], floors["busy"] - 1, ALL, 100).missing == ["busy"]

    def test_each_channel_is_trimmed_by_count_and_reported_as_missing(self, make):
        broker = make(events=10)
        fill(broker, ["quiet"] + ["busy"] * 100)
        page = broker.history.read_events(["quiet", "busy"], 0, ALL, 1000)
        kept = [record.sequence for record in page.records if record.channel == "busy"]
        assert 10 <= len(kept) <= 11 and kept[-1] == 101
        assert page.missing == ["busy"]
        assert page.records[0].channel == "quiet"

    def test_nothing_is_missing_after_a_cursor_within_the_history(self, make):
        broker = make(events=10)
        fill(broker, ["busy"] * 100)
        assert broker.history.read_events(["busy"], 95, ALL, 100).missing == []

    def test_events_are_trimmed_by_age_and_reported_as_missing(self, make, travel):
        broker = make(seconds=1000.0)
        fill(broker, ["old", "old", "old"])
        travel(broker, 2000.0)
        fill(broker, ["new"])
        page = broker.history.read_events(["old", "new"], 0, ALL, 100)
        assert [record.channel for record in page.records] == ["new"]
        assert page.missing == ["old"]
        assert broker.history.read_events(["old"], 3, ALL, 100).missing == []
        assert broker.history.get_newest_cursor().sequence == 4

    def test_the_newest_event_is_kept_however_short_the_history(self, make):
        broker = make(seconds=0.0)
        fill(broker, ["a", "a", "a"])
        assert broker.history.read_events(["a"], 2, ALL, 10).records == [Record(3, "a", b"body 2")]


class SharedHistorySuite:
    """What engines promise that several processes share. Real processes."""

    def test_events_survive_the_process_that_appended_them(self, make_shared, shared_url):
        writer = process(APPEND, shared_url, "a", 100000)
        numbers = [int(writer.stdout.readline()) for _ in range(50)]
        os.kill(writer.pid, signal.SIGKILL)
        numbers += [int(line) for line in writer.stdout if line.endswith("\n")]
        writer.communicate(timeout=30)
        broker = make_shared()
        assert broker.history.get_newest_cursor().sequence in (numbers[-1], numbers[-1] + 1)
        kept = []
        while not kept or kept[-1] < numbers[-1]:
            kept += [
                record.sequence
                for record in broker.history.read_events(["a"], kept[-1] if kept else 0, numbers[-1], 1000).records
            ]
        assert kept == numbers

    def test_a_publisher_keeps_the_limits_of_the_application(self, make_shared, shared_url, opened):
        make_shared(events=10).history.get_newest_cursor()
        beside = open_broker(shared_url)
        opened(beside)
        for _ in range(50):
            beside.history.append_event("a", b"x")
        assert len(beside.history.read_events(["a"], 0, ALL, 100).records) <= 11

    def test_a_forked_child_publishes_too(self, make_shared, shared_url, tmp_path):
        """SQLite's locks do not survive a fork, and a connection belongs to one process: each opens its own."""
        script = (
            "import os, sys, flask, flask_ssemux\n"
            "app = flask.Flask('x', instance_path=sys.argv[2])\n"
            "app.config['SSEMUX_BROKER'] = sys.argv[1]\n"
            "flask_ssemux.init_app(app)\n"
            "app.app_context().push()\n"
            "flask_ssemux.publish('a', 'parent')\n"
            "ours, theirs = os.pipe()\n"
            "if not os.fork():\n"
            "    flask_ssemux.publish('a', 'child')\n"
            "    os.read(ours, 1)\n"
            "    for _ in range(4): flask_ssemux.publish('a', 'child')\n"
            "    os._exit(0)\n"
            "flask_ssemux.publish('a', 'parent')\n"
            "app.extensions['ssemux'].worker.close()\n"
            "os.write(theirs, b'x')\n"
            "assert os.wait()[1] == 0\n"
        )
        subprocess.run([sys.executable, "-c", script, shared_url, tmp_path], check=True, timeout=30)
        assert make_shared().history.get_newest_cursor().sequence == 7
