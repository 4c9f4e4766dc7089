"""The register of the applications that use a store, and stores that a namespace separates."""

from __future__ import annotations

import sqlite3
import subprocess
import sys

import pytest

from flask_ssemux.brokers import REGISTRATION_SECONDS, HistoryLimits, open_broker

ENROLL = """
import os, sys
from flask_ssemux.brokers import open_broker
open_broker(sys.argv[1]).reports.register_application("office", "")
os._exit(0)
"""


def names(others):
    return [(other.name, other.key, other.script_name) for other in others]


def test_processes_of_one_application_find_each_other(make_shared):
    first, second = make_shared(), make_shared()
    assert first.reports.register_application("shop", "a1b2c3") == []
    assert names(second.reports.register_application("shop", "")) == [("shop", "a1b2c3", "")]
    assert names(first.reports.register_application("shop", "d4e5f6")) == [("shop", "", "")]
    assert names(second.reports.register_application("shop", "")) == [("shop", "d4e5f6", "")]


def test_the_first_application_stays_and_another_is_not_registered(make_shared):
    first, second = make_shared(), make_shared()
    first.reports.register_application("shop", "")
    for _ in range(2):
        assert names(second.reports.register_application("a shop\tof ümlauts", "")) == [("shop", "", "")]
        assert first.reports.register_application("shop", "") == []
    first.close()
    assert second.reports.register_application("office", "") == []


def test_one_name_that_is_mounted_in_two_places_is_two_applications(make_shared):
    first, second, anywhere = make_shared(), make_shared(), make_shared()
    assert first.reports.register_application("app", "", "/shop") == []
    assert names(anywhere.reports.register_application("app", "")) == [("app", "", "/shop")]
    assert sorted(names(second.reports.register_application("app", "", "/office"))) == [
        ("app", "", ""),
        ("app", "", "/shop"),
    ]
    assert names(first.reports.register_application("app", "", "/shop")) == [("app", "", "")]


def test_one_application_may_be_imported_by_two_names(make_shared):
    first, second, third = make_shared(), make_shared(), make_shared()
    first.reports.register_application("services.shop", "")
    second.reports.register_application("shop", "")
    assert names(second.reports.register_application("shop", "")) == [("services.shop", "", "")]
    third.reports.register_application("workshop", "")
    assert names(first.reports.register_application("services.shop", "")) == [("shop", "", "")]


def test_a_registration_that_is_not_renewed_ends(make_shared, travel):
    first, second = make_shared(), make_shared()
    first.reports.register_application("shop", "")
    travel(first, REGISTRATION_SECONDS - 5)
    assert names(second.reports.register_application("office", "")) == [("shop", "", "")]
    travel(first, 10)
    assert second.reports.register_application("office", "") == []


def test_a_process_that_died_does_not_hold_the_store(make_shared, shared_url):
    subprocess.run([sys.executable, "-c", ENROLL, shared_url], check=True)
    broker = make_shared()
    assert broker.reports.register_application("shop", "") == []
    assert make_shared().reports.register_application("shop", "")


def test_a_file_from_before_there_was_a_register_takes_it(sqlite, sqlite_url):
    sqlite().history.append_event("a", b"x")
    with sqlite3.connect(sqlite_url[len("sqlite:///") :]) as file:
        file.execute("DROP TABLE applications")
    file.close()
    assert sqlite().reports.register_application("shop", "") == []


def test_a_server_that_takes_no_writes_answers(redis_server):
    url = "redis://127.0.0.1:%d/0" % redis_server.port
    broker, other = open_broker(url), open_broker(url)
    broker.reports.register_application("shop", "")
    redis_server.ask("CONFIG", "SET", "maxmemory", "1")
    assert names(other.reports.register_application("office", "")) == [("shop", "", "")]
    assert broker.reports.register_application("shop", "") == []
    broker.close()
    other.close()


@pytest.fixture
def pair(make_shared, shared_url, opened):
    """A broker of one namespace, and one of another, by the same URL."""
    brokers = [open_broker(shared_url, HistoryLimits(), namespace=name) for name in ("shop", "office")]
    for broker in brokers:
        opened(broker)
    return brokers


def test_namespaces_share_nothing(pair, make_shared, ear):
    shop, office = pair
    office.history.start_delivery(ear.listener)
    office.history.subscribe_channels(["a"])
    cursor = shop.history.append_event("a", b"data: 1\n\n")
    assert (shop.history.get_newest_cursor(), office.history.get_newest_cursor().sequence) == (cursor, 0)
    assert office.history.get_newest_cursor().epoch != cursor.epoch
    assert office.history.read_events(["a"], 0, cursor.sequence, 10).records == []
    assert shop.leases.take_user_slot("user:1", 1) and office.leases.take_user_slot("user:1", 1)
    assert shop.one_time_keys.use_one_time_key("ticket", 30) and office.one_time_keys.use_one_time_key("ticket", 30)
    shop.reports.write_report({"pid": 1})
    assert (len(shop.reports.read_reports()), office.reports.read_reports()) == (1, [])
    shop.presence.announce_presence({("a", "7"): 1}, 30)
    assert (shop.presence.get_presence("a"), office.presence.get_presence("a")) == ({"7": 1}, {})
    assert make_shared().history.get_newest_cursor().sequence == 0
    office.history.append_event("a", b"data: 2\n\n")
    ear.wait(1)
    assert [record.body for record in ear.records] == [b"data: 2\n\n"]


def test_one_namespace_is_one_store(pair, shared_url, opened):
    again = open_broker(shared_url, namespace="shop")
    opened(again)
    assert pair[0].history.append_event("a", b"x") == again.history.get_newest_cursor()
    assert pair[0].store_name == again.store_name != pair[1].store_name
