"""ssemux.js in Chromium behind nginx: the tabs of a browser share one connection, even if one joins, freezes or
crashes.

What other browsers can do as well is in test_between.py.
"""

from __future__ import annotations

import threading

import pytest

from tests.browser.tabs import Tabs

ENV = {"SSEMUX_HEARTBEAT": "1", "SSEMUX_CLIENT_TIMEOUT": "3", "SSEMUX_RETRY": "100"}


@pytest.fixture
def server(gunicorn):
    return gunicorn("tests.apps.tabs:create_app()", env=ENV)


@pytest.fixture
def tabs(running, server, nginx):
    return running(Tabs(server, url=nginx(server.port).url))


def test_the_leading_tab_crashes_and_another_takes_over_without_loss(tabs):
    names = ["tab%d" % number for number in range(4)]
    for name in names:
        tabs.open(name, "room:1")
    tabs.say("room:1", count=5)
    while len(names) > 1:
        tabs.say("room:1", count=5)
        tabs.wait_leader(names[0])
        tabs.command("crash", names.pop(0))
        number = tabs.say("room:1", count=5)["counts"]["room:1"]
        tabs.wait_number(number, "room:1", *names)
        tabs.wait_streams(1, "room:1")
        leaders = {one: tabs.find_leaders(one, "room:1") for one in range(number - 4, number + 1)}
        assert all(len(found) == 1 for found in leaders.values()), (leaders, tabs.describe())
    # a page that crashes may have taken an event that it cannot report
    assert all(len(tabs.find_leaders(one, "room:1")) <= 1 for one in range(1, number + 1))


def test_the_leading_tab_is_closed_and_each_event_has_one_leader(tabs):
    """A sound or a notification for an event comes once, also while the lead is handed over."""
    names = ["tab%d" % number for number in range(3)]
    for name in names:
        tabs.open(name, "room:1")
    number = 0
    while len(names) > 1:
        tabs.wait_leader(names[0])
        assert not any(tabs.all(name, "leader") for name in names[1:])
        number += 25
        closing = threading.Thread(target=tabs.command, args=("close", names.pop(0)))
        closing.start()
        for _ in range(25):
            tabs.say("room:1")
        closing.join()
        tabs.wait_number(number, "room:1", *names)
    doubled = {one: leaders for one in range(1, number + 1) if len(leaders := tabs.find_leaders(one, "room:1")) > 1}
    assert not doubled, (doubled, tabs.describe())
    number = tabs.say("room:1")["counts"]["room:1"]
    tabs.wait_number(number, "room:1", *names)
    assert tabs.find_leaders(number, "room:1") == names
    tabs.command("run", names[0], code="mux.close()")
    tabs.wait_leader(names[0], leader=False)


def test_the_leading_tab_is_frozen_and_another_takes_over_without_loss(tabs):
    for name in ("first", "second", "third"):
        tabs.open(name, "room:1")
    tabs.say("room:1", count=5)
    tabs.wait_number(5, "room:1", "first", "second", "third")
    tabs.command("freeze", "first")
    tabs.say("room:1", count=5)
    # The user looks at this tab.
    tabs.command("run", "second", code="document.dispatchEvent(new Event('visibilitychange'))")
    tabs.wait_number(10, "room:1", "second", "third")
    tabs.command("thaw", "first")
    tabs.say("room:1", count=5)
    tabs.wait_number(15, "room:1", "first", "second", "third")
    tabs.wait_streams(1, "room:1")
    assert [len(tabs.find_leaders(number, "room:1")) for number in range(1, 16)] == [1] * 15
    tabs.check()


def test_the_network_is_away_for_a_while(tabs):
    """No tab waits after the network is back."""
    for name in ("first", "second"):
        tabs.open(name, "room:1")
    tabs.be_patient()
    tabs.say("room:1", count=3)
    tabs.wait_number(3, "room:1", "first", "second")
    tabs.command("offline", yes=True)
    tabs.ask("/cut", b"")
    tabs.say("room:1", count=3)
    tabs.wait_all("second", "state", state="connecting")
    tabs.command("offline", yes=False)
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


def test_a_channel_that_one_tab_may_not_read_does_not_affect_the_others(tabs):
    tabs.open("first", "room:1")
    tabs.command("run", "first", code="read('room:2')")
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
    for name in ("first", "second", "third", "fourth"):
        tabs.wait_leader(name)
    tabs.say("room:1", count=3)
    tabs.wait_number(3, "room:1", "first", "second", "third", "fourth")
    tabs.check()


def test_tabs_without_a_lock_have_a_connection_each(tabs):
    for name in ("first", "second"):
        tabs.open_lockless(name, "room:1")
    tabs.wait_streams(2, "room:1")
    for name in ("first", "second"):
        tabs.wait_leader(name)
    tabs.say("room:1", count=3)
    tabs.wait_number(3, "room:1", "first", "second")
    tabs.check()
