"""What every engine promises: the same tests over all of them. Quirks have files of their own."""

from __future__ import annotations

import random
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from flask_ssemux.brokers import Merge, Page, Range, Record
from flask_ssemux.brokers.contract import constants
from flask_ssemux.errors import BrokerClosed
from flask_ssemux.sse.cursor import Cursor
from tests.harness.waiting import until

ALL = 10**9


def fill(broker, channels):
    return [broker.history.append_event(channel, b"body %d" % index) for index, channel in enumerate(channels)]


# -- order -------------------------------------------------------------------


def test_the_head_is_zero_before_the_first_event(broker):
    assert broker.history.get_newest_cursor().sequence == 0


def test_one_sequence_for_all_channels(broker):
    cursors = fill(broker, ["a", "b", "a", "c"])
    assert [cursor.sequence for cursor in cursors] == [1, 2, 3, 4]
    assert {cursor.epoch for cursor in cursors} == {broker.history.get_newest_cursor().epoch}
    assert broker.history.get_newest_cursor() == cursors[-1]


def test_cursors_can_be_parsed_back(broker):
    cursor = broker.history.append_event("a", b"x")
    assert Cursor.parse(str(cursor)) == cursor


def test_threads_that_append_at_once_get_each_number_once(broker):
    found = []
    threads = [threading.Thread(target=lambda: found.extend(fill(broker, ["a"] * 50))) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(cursor.sequence for cursor in found) == list(range(1, 301))


# -- history -----------------------------------------------------------------


def test_reads_the_channels_that_are_asked_for_in_order(broker):
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
def test_reads_a_range(broker, after, upto, limit, expected):
    fill(broker, ["a", "b", "a", "b", "a"])
    page = broker.history.read_events(["a", "b"], after, upto, limit)
    assert [record.sequence for record in page.records] == expected


def test_a_channel_without_events_has_nothing_and_misses_nothing(broker):
    fill(broker, ["a"])
    assert broker.history.read_events(["never"], 0, ALL, 10) == ([], [], True)


def test_bodies_are_kept_to_the_byte(broker):
    body = bytes(range(256)) * 40
    broker.history.append_event("é:\U0001f600", body)
    assert broker.history.read_events(["é:\U0001f600"], 0, ALL, 10).records == [Record(1, "é:\U0001f600", body)]


def test_each_channel_is_read_from_its_own_place(broker):
    fill(broker, ["a", "b"] * 10)
    parts = broker.history.read_channels({"a": Range(4, 20), "b": Range(13, 17), "never": Range(0, 20)}, 3, 10**6)
    found = {name: [record.sequence for record in part.records] for name, part in parts.items()}
    assert found == {"a": [5, 7, 9], "b": [14, 16], "never": []}
    assert parts["a"].upto in (9, 10) and (parts["b"].upto, parts["never"].upto) == (17, 20)
    assert not any(part.is_missing for part in parts.values())


def test_reading_costs_what_it_gives(broker):
    """Bytes are bounded over all channels: the first has one event at least; of the others, the next place is told."""
    for number in range(30):
        broker.history.append_event("abc"[number % 3], b"%02d" % number + b"x" * 100_000)
    ranges = {"b": Range(4, 30), "c": Range(0, 30), "a": Range(9, 30), "never": Range(0, 30)}
    parts = broker.history.read_channels(ranges, 100, 250_000)
    assert [r.sequence for r in parts["b"].records] == [5, 8, 11] and parts["b"].upto in (11, 13)
    assert [(part.records, part.upto) for part in list(parts.values())[1:]] == [([], 2), ([], 9), ([], 30)]
    parts = broker.history.read_channels(ranges, 100, 1)
    assert [len(part.records) for part in parts.values()] == [1, 0, 0, 0]


@pytest.mark.parametrize("limit, size", [(1, 10**6), (7, 40), (1000, 3000), (1000, 10**6)])
def test_a_merge_gives_all_in_order_once_and_reads_nothing_twice(broker, limit, size):
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


def test_floors_say_what_is_over_a_limit(make):
    broker = make(events=10)
    assert broker.history.get_floors(["a"]) == (broker.history.get_newest_cursor(), {"a": 0})
    fill(broker, ["quiet"] + ["busy"] * 100)
    head, floors = broker.history.get_floors(["quiet", "busy", "never"])
    assert head == broker.history.get_newest_cursor() and floors["quiet"] == floors["never"] == 0
    assert broker.history.read_events(["busy"], floors["busy"], ALL, 100).missing == []
    assert broker.history.read_events(["busy"], floors["busy"] - 1, ALL, 100).missing == ["busy"]


# -- trimming ----------------------------------------------------------------


def test_trims_each_channel_by_count_and_says_what_is_missing(make):
    broker = make(events=10)
    fill(broker, ["quiet"] + ["busy"] * 100)
    page = broker.history.read_events(["quiet", "busy"], 0, ALL, 1000)
    kept = [record.sequence for record in page.records if record.channel == "busy"]
    assert 10 <= len(kept) <= 11 and kept[-1] == 101
    assert page.missing == ["busy"]
    assert page.records[0].channel == "quiet"


def test_a_cursor_within_what_is_kept_misses_nothing(make):
    broker = make(events=10)
    fill(broker, ["busy"] * 100)
    assert broker.history.read_events(["busy"], 95, ALL, 100).missing == []


def test_trims_by_age_and_remembers_it(make, travel):
    broker = make(seconds=1000.0)
    fill(broker, ["old", "old", "old"])
    travel(broker, 2000.0)
    fill(broker, ["new"])
    page = broker.history.read_events(["old", "new"], 0, ALL, 100)
    assert [record.channel for record in page.records] == ["new"]
    assert page.missing == ["old"]
    assert broker.history.read_events(["old"], 3, ALL, 100).missing == []
    assert broker.history.get_newest_cursor().sequence == 4


def test_the_newest_event_is_kept_however_short_the_history(make):
    broker = make(seconds=0.0)
    fill(broker, ["a", "a", "a"])
    assert broker.history.read_events(["a"], 2, ALL, 10).records == [Record(3, "a", b"body 2")]


# -- delivery ----------------------------------------------------------------


def test_delivers_what_is_appended_after_listening_in_order_and_once(broker, ear):
    fill(broker, ["before"])
    assert broker.history.start_delivery(ear.listener).sequence == 1
    broker.history.subscribe_channels(["a", "b"])
    fill(broker, ["a", "b"] * 400)
    ear.wait(800)
    assert ear.sequences == list(range(2, 802))
    assert ear.records[0] == Record(2, "a", b"body 0")


def test_delivers_with_many_publishers_at_once(broker, ear):
    broker.history.start_delivery(ear.listener)
    broker.history.subscribe_channels(["a"])
    threads = [threading.Thread(target=fill, args=(broker, ["a"] * 100)) for _ in range(5)]
    for thread in threads:
        thread.start()
    ear.wait(500)
    for thread in threads:
        thread.join()
    assert ear.sequences == list(range(1, 501))


def test_a_listener_that_raises_does_not_stop_delivery(broker, ear, caplog):
    failing = ear.listener._replace(deliver=lambda records: ear.records.extend(records) or 1 / 0)
    broker.history.start_delivery(failing)
    broker.history.subscribe_channels(["a"])
    fill(broker, ["a"])
    ear.wait(1)
    fill(broker, ["a"])
    assert [record.sequence for record in ear.wait(2)] == [1, 2]
    assert "delivery from the" in caplog.text


def test_what_was_trimmed_before_it_was_delivered_is_told(make_tailing, ear, monkeypatch):
    """A listener that is held up for longer than events are kept for it hears of the gap, in its place."""
    monkeypatch.setattr(constants, "LIVE_SECONDS", 0.0)
    monkeypatch.setattr(constants, "LIVE_EVENTS", 20)
    broker = make_tailing(events=10)
    holds, held = threading.Event(), threading.Event()
    slow = ear.listener._replace(deliver=lambda records: (holds.set(), held.wait(10), ear.records.extend(records)))
    broker.history.start_delivery(slow)
    broker.history.subscribe_channels(["a"])
    fill(broker, ["a"])
    assert holds.wait(10)
    fill(broker, ["a"] * 1000)
    held.set()
    until(lambda: ear.sequences and ear.sequences[-1] == 1001, 5, lambda: str(ear.sequences))
    assert ear.gaps and ear.gaps[0][0] == ["a"]
    assert ear.sequences == sorted(set(ear.sequences))


# -- places ------------------------------------------------------------------


def test_places_are_limited_and_come_back(broker):
    assert [broker.leases.take_user_slot("user:1", 2) for _ in range(3)] == [True, True, False]
    assert broker.leases.take_user_slot("user:2", 2)
    broker.leases.release_user_slot("user:1")
    assert broker.leases.take_user_slot("user:1", 2)
    assert not broker.leases.take_user_slot("user:1", 2)


def test_releasing_what_was_not_held_is_harmless(broker):
    broker.leases.release_user_slot("user:1")
    assert [broker.leases.take_user_slot("user:1", 1), broker.leases.take_user_slot("user:1", 1)] == [True, False]


def test_the_oldest_is_whoever_holds_places(broker):
    assert broker.leases.find_oldest_slot_holder("user:1") is None
    broker.leases.announce_oldest_slot("user:1", 1000.0)
    assert broker.leases.find_oldest_slot_holder("user:1") is None  # it holds none
    broker.leases.take_user_slot("user:1", 5)
    assert (
        broker.leases.find_oldest_slot_holder("user:1") == broker.process_name
        and broker.leases.find_oldest_slot_holder("user:2") is None
    )
    broker.leases.announce_oldest_slot("user:1", None)
    assert broker.leases.find_oldest_slot_holder("user:1") == broker.process_name
    broker.leases.release_user_slot("user:1")
    until(lambda: broker.leases.find_oldest_slot_holder("user:1") is None, 5, "it is still held")


def test_what_was_claimed_is_claimed_until_its_time_is_over(broker, travel):
    assert [broker.one_time_keys.use_one_time_key(key, 30) for key in ("ticket:a", "ticket:a", "ticket:b")] == [
        True,
        False,
        True,
    ]
    travel(broker, 20)
    assert not broker.one_time_keys.use_one_time_key("ticket:a", 30)
    travel(broker, 20)
    assert broker.one_time_keys.use_one_time_key("ticket:a", 30)


def test_only_one_of_many_threads_claims_it(broker):
    with ThreadPoolExecutor(16) as pool:
        assert sum(pool.map(lambda _: broker.one_time_keys.use_one_time_key("ticket:a", 30), range(64))) == 1


# -- reports -----------------------------------------------------------------


def test_what_a_process_reported_last_is_shown(broker):
    assert broker.reports.read_reports() == []
    broker.reports.write_report({"streams": 1})
    broker.reports.write_report({"streams": 2, "host": "käfig\n", "more": [None, 1.5, {"a": "b c"}]})
    (report,) = broker.reports.read_reports()
    assert report.figures == {"streams": 2, "host": "käfig\n", "more": [None, 1.5, {"a": "b c"}]}
    assert 0 <= report.age < 5


def test_a_report_that_is_not_made_anew_runs_out(broker, travel):
    broker.reports.write_report({"streams": 1})
    travel(broker, 20)
    assert [round(report.age, -1) for report in broker.reports.read_reports()] == [20]
    travel(broker, 20)
    assert broker.reports.read_reports() == []
    broker.reports.write_report({"streams": 2})
    assert [report.figures for report in broker.reports.read_reports()] == [{"streams": 2}]


# -- the end -----------------------------------------------------------------


def test_figures_tell_what_is_kept(broker):
    fill(broker, ["a", "b"])
    broker.leases.take_user_slot("user:1", 5)
    figures = broker.get_figures()
    assert (figures["events"], figures["channels"], figures["held"]) == (2, 2, 1)
    assert figures["cursor"] == str(broker.history.get_newest_cursor())


def test_after_close_everything_raises_and_closing_again_does_not(broker):
    broker.history.get_newest_cursor()
    broker.close()
    broker.close()
    for call in (
        broker.history.get_newest_cursor,
        lambda: broker.history.append_event("a", b""),
        lambda: broker.history.read_events(["a"], 0, 1, 1),
        lambda: broker.history.get_floors(["a"]),
    ):
        with pytest.raises(BrokerClosed):
            call()
    with pytest.raises(BrokerClosed):
        broker.reports.read_reports()
    with pytest.raises(BrokerClosed):
        broker.leases.find_oldest_slot_holder("a")
    broker.leases.release_user_slot("a")
    broker.leases.announce_oldest_slot("a", 1.0)
    broker.leases.renew_leases()
    broker.reports.write_report({})
