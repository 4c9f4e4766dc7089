"""The register of the applications that use a store, and stores that a namespace separates."""

from __future__ import annotations

import sqlite3
import subprocess
import sys

import pytest

from flask_ssemux.brokers import History, open_broker
from flask_ssemux.brokers.base import APPLICATION_LASTS

ENROLL = """
import os, sys
from flask_ssemux.brokers import open_broker
open_broker(sys.argv[1]).enroll("office", "")
os._exit(0)
"""


def names(others):
    return [(other.name, other.key, other.script_name) for other in others]


def test_processes_of_one_application_find_each_other(make_shared):
    first, second = make_shared(), make_shared()
    assert first.enroll("shop", "a1b2c3") == []
    assert names(second.enroll("shop", "")) == [("shop", "a1b2c3", "")]
    assert names(first.enroll("shop", "d4e5f6")) == [("shop", "", "")]
    assert names(second.enroll("shop", "")) == [("shop", "d4e5f6", "")]


def test_the_first_application_stays_and_another_is_not_registered(make_shared):
    first, second = make_shared(), make_shared()
    first.enroll("shop", "")
    for _ in range(2):
        assert names(second.enroll("a shop\tof ümlauts", "")) == [("shop", "", "")]
        assert first.enroll("shop", "") == []
    first.close()
    assert second.enroll("office", "") == []


def test_one_name_that_is_mounted_in_two_places_is_two_applications(make_shared):
    first, second, anywhere = make_shared(), make_shared(), make_shared()
    assert first.enroll("app", "", "/shop") == []
    assert names(anywhere.enroll("app", "")) == [("app", "", "/shop")]
    assert sorted(names(second.enroll("app", "", "/office"))) == [("app", "", ""), ("app", "", "/shop")]
    assert names(first.enroll("app", "", "/shop")) == [("app", "", "")]


def test_one_application_may_be_imported_by_two_names(make_shared):
    first, second, third = make_shared(), make_shared(), make_shared()
    first.enroll("services.shop", "")
    second.enroll("shop", "")
    assert names(second.enroll("shop", "")) == [("services.shop", "", "")]
    third.enroll("workshop", "")
    assert names(first.enroll("services.shop", "")) == [("shop", "", "")]


def test_a_registration_that_is_not_renewed_ends(make_shared, travel):
    first, second = make_shared(), make_shared()
    first.enroll("shop", "")
    travel(first, APPLICATION_LASTS - 5)
    assert names(second.enroll("office", "")) == [("shop", "", "")]
    travel(first, 10)
    assert second.enroll("office", "") == []


def test_a_process_that_died_does_not_hold_the_store(make_shared, shared_url):
    subprocess.run([sys.executable, "-c", ENROLL, shared_url], check=True)
    broker = make_shared()
    assert broker.enroll("shop", "") == []
    assert make_shared().enroll("shop", "")


def test_a_file_from_before_there_was_a_register_takes_it(sqlite, sqlite_url):
    sqlite().append("a", b"x")
    with sqlite3.connect(sqlite_url[len("sqlite:///") :]) as file:
        file.execute("DROP TABLE applications")
    file.close()
    assert sqlite().enroll("shop", "") == []


def test_a_server_that_takes_no_writes_answers(redis_server):
    url = "redis://127.0.0.1:%d/0" % redis_server.port
    broker, other = open_broker(url), open_broker(url)
    broker.enroll("shop", "")
    redis_server.ask("CONFIG", "SET", "maxmemory", "1")
    assert names(other.enroll("office", "")) == [("shop", "", "")]
    assert broker.enroll("shop", "") == []
    broker.close()
    other.close()


@pytest.fixture
def pair(make_shared, shared_url, opened):
    """A broker of one namespace, and one of another, by the same URL."""
    brokers = [open_broker(shared_url, History(), namespace=name) for name in ("shop", "office")]
    for broker in brokers:
        opened(broker)
    return brokers


def test_namespaces_share_nothing(pair, make_shared, ear):
    shop, office = pair
    office.listen(ear.listener)
    office.want(["a"])
    cursor = shop.append("a", b"data: 1\n\n")
    assert (shop.head(), office.head().sequence) == (cursor, 0)
    assert office.head().epoch != cursor.epoch
    assert office.read(["a"], 0, cursor.sequence, 10).records == []
    assert shop.hold("user:1", 1) and office.hold("user:1", 1)
    assert shop.claim("ticket", 30) and office.claim("ticket", 30)
    shop.report({"pid": 1})
    assert (len(shop.reports()), office.reports()) == (1, [])
    shop.present({("a", "7"): 1}, 30)
    assert (shop.presence("a"), office.presence("a")) == ({"7": 1}, {})
    assert make_shared().head().sequence == 0
    office.append("a", b"data: 2\n\n")
    ear.wait(1)
    assert [record.body for record in ear.records] == [b"data: 2\n\n"]


def test_one_namespace_is_one_store(pair, shared_url, opened):
    again = open_broker(shared_url, namespace="shop")
    opened(again)
    assert pair[0].append("a", b"x") == again.head()
    assert pair[0].store == again.store != pair[1].store
