"""ssemux.js in Chromium: the tabs of a browser share one connection, whoever comes, goes, freezes or crashes."""

from __future__ import annotations

import pytest

from tests.browser.tabs import WAIT, Tabs

ENV = {"SSEMUX_HEARTBEAT": "1", "SSEMUX_CLIENT_TIMEOUT": "3", "SSEMUX_RETRY": "100"}


@pytest.fixture
def server(gunicorn):
    return gunicorn("tests.apps.tabs:create_app()", env=ENV)


@pytest.fixture
def tabs(running, server):
    return running(Tabs(server))


def test_ten_tabs_have_one_connection_and_each_has_each_event_once(tabs):
    names = ["tab%d" % number for number in range(10)]
    for name in names:
        tabs.open(name, "room:all", "room:" + name)
    rooms = ["room:" + name for name in names]
    tabs.wait_streams(1, "room:all", *rooms)
    tabs.say("room:all", *rooms, count=20)
    tabs.say("*")
    for name in names:
        tabs.wait_number(20, "room:all", name)
        tabs.wait_number(20, "room:" + name, name)
        tabs.wait_number(1, None, name)
    assert len(tabs.all(what="event")) == 10 * (20 + 20 + 1), "what a tab does not read, or has had"
    for name in names[2:]:
        tabs.tell("close", name)
    tabs.wait_streams(1, "room:all", "room:tab0", "room:tab1")
    tabs.check()


@pytest.mark.parametrize("how", ["close", "crash"])
def test_the_leading_tab_is_no_more_and_another_takes_over_without_loss(tabs, how):
    names = ["tab%d" % number for number in range(4)]
    for name in names:
        tabs.open(name, "room:1")
    tabs.say("room:1", count=5)
    while len(names) > 1:
        tabs.say("room:1", count=5)
        tabs.tell(how, names.pop(0))
        number = tabs.say("room:1", count=5)["counts"]["room:1"]
        tabs.wait_number(number, "room:1", *names)
        tabs.wait_streams(1, "room:1")
    if how == "close":
        tabs.check()


def test_the_leading_tab_is_frozen_and_another_takes_over_without_loss(tabs):
    for name in ("first", "second", "third"):
        tabs.open(name, "room:1")
    tabs.say("room:1", count=5)
    tabs.wait_number(5, "room:1", "first", "second", "third")
    tabs.tell("freeze", "first")
    tabs.say("room:1", count=5)
    tabs.tell("run", "second", code="document.dispatchEvent(new Event('visibilitychange'))")  # somebody looks at it
    tabs.wait_number(10, "room:1", "second", "third")
    tabs.tell("thaw", "first")
    tabs.say("room:1", count=5)
    tabs.wait_number(15, "room:1", "first", "second", "third")
    tabs.wait_streams(1, "room:1")
    tabs.check()


def test_the_server_is_started_anew(tabs, server):
    for name in ("first", "second"):
        tabs.open(name, "room:1")
    tabs.say("room:1", count=3)
    server.stop()
    tabs.wait_all("second", "state", state="connecting")
    server.start()
    tabs.wait_for(lambda _: len(tabs.all("second", "state", state="open")) > 1, WAIT)
    for _ in range(3):
        tabs.say("room:1")
    for name in ("first", "second"):
        tabs.wait_for(lambda _, name=name: len(tabs.numbers(name, "room:1")) >= 6, WAIT)
        assert tabs.numbers(name, "room:1") == [1, 2, 3, 1, 2, 3]  # the application counts anew; the history goes on
    tabs.wait_streams(1, "room:1")


def test_the_network_is_away_for_a_while(tabs):
    for name in ("first", "second"):
        tabs.open(name, "room:1")
    tabs.say("room:1", count=3)
    tabs.wait_number(3, "room:1", "first", "second")
    tabs.tell("offline", yes=True)
    tabs.ask("/cut", b"")
    tabs.say("room:1", count=3)
    tabs.wait_all("second", "state", state="connecting")
    tabs.tell("offline", yes=False)
    tabs.wait_number(6, "room:1", "first", "second")
    tabs.wait_streams(1, "room:1")


def test_a_tab_that_comes_later_gets_the_snapshot_of_a_channel_that_others_read(tabs):
    tabs.open("first", "state:1")
    tabs.say("state:1", count=4)
    tabs.open("second", "state:1")
    assert [e["data"] for e in tabs.wait_all("second", "event", name="state")] == ["4"]
    tabs.say("state:1")
    tabs.wait_number(5, "state:1", "first", "second")
    assert tabs.numbers("second", "state:1") == [5]
    assert [e["data"] for e in tabs.all("first", "event", name="state")] == ["0"]
    tabs.wait_streams(1, "state:1")
    tabs.check()


def test_a_tab_that_was_rendered_at_a_cursor_misses_nothing(tabs):
    tabs.open("first", "room:1")
    cursors = tabs.say("room:1", count=6)["cursors"]
    tabs.wait_number(6, "room:1", "first")
    tabs.open("second", "room:1", lastEventId=cursors[2])
    tabs.wait_number(6, "room:1", "second")
    assert tabs.numbers("second", "room:1") == [4, 5, 6]
    tabs.say("room:1")
    tabs.wait_number(7, "room:1", "first", "second")
    tabs.wait_streams(1, "room:1")
    tabs.check()


def test_a_channel_that_one_tab_may_not_read_costs_the_others_nothing(tabs):
    tabs.open("first", "room:1")
    tabs.tell("run", "first", code="read('room:2')")
    tabs.open("second", "room:1", "secret:1")
    refused = tabs.wait_all("second", "error")[0]["it"]
    assert (refused["status"], refused["channel"], refused["final"]) == (401, "secret:1", False)
    tabs.say("room:1", "room:2")
    tabs.wait_number(1, "room:1", "first", "second")
    tabs.wait_number(1, "room:2", "first")
    assert not tabs.all("first", "error")
    tabs.wait_streams(1, "room:1", "room:2")


def test_tabs_that_do_not_share_have_a_connection_each(tabs):
    for name in ("first", "second"):
        tabs.open(name, "room:1", shared=False)
    tabs.open("third", "room:1", user="ada")
    tabs.open("fourth", "room:1", user="bob")
    tabs.wait_streams(4, "room:1")
    tabs.say("room:1", count=3)
    tabs.wait_number(3, "room:1", "first", "second", "third", "fourth")
    tabs.check()


def test_tabs_that_get_no_lock_have_a_connection_each(tabs):
    for name in ("first", "second"):
        tabs.open_lockless(name, "room:1")
    tabs.wait_streams(2, "room:1")
    tabs.say("room:1", count=3)
    tabs.wait_number(3, "room:1", "first", "second")
    tabs.check()
