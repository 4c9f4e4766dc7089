"""ssemux.js with the browser's back/forward cache, which drivers of tests switch off by default.

A page that goes into the cache gives up the connection, and resumes when it is shown again. A leading page that does
not answer loses the lead within a heartbeat.
"""

from __future__ import annotations

import time

import pytest

from tests.browser.tabs import Tabs

HEARTBEAT = 2

#: Seconds in addition to a heartbeat: for opening a stream on a busy machine.
MARGIN = 2

ENV = {"SSEMUX_HEARTBEAT": str(HEARTBEAT), "SSEMUX_CLIENT_TIMEOUT": "6", "SSEMUX_RETRY": "100"}


@pytest.fixture
def server(gunicorn):
    return gunicorn("tests.apps.tabs:create_app()", env=ENV)


@pytest.fixture
def tabs(running, server, nginx):
    return running(Tabs(server, url=nginx(server.port).url))


def follow_link(tabs, name, to):
    """Follow an ordinary link in a tab's page; the page that it leads to calls itself `to`."""
    code = "location.href = '/tab?name=%s&channels=room:1'" % to
    tabs.go(name, code, "state", who=to, state="open")


def go_back(tabs, name):
    tabs.go(name, "history.back()", "pageshow", who=name)
    shown = tabs.all(name, "pageshow")[-1]
    assert shown["persisted"], "the page was not kept in the back/forward cache"
    assert shown["state"] == "connecting"
    return shown


def test_the_leading_tab_follows_a_link_and_goes_back(tabs):
    for name in ("first", "second"):
        tabs.open(name, "room:1")
    tabs.say("room:1", count=5)
    tabs.wait_number(5, "room:1", "first", "second")
    left = time.time()
    follow_link(tabs, "first", "third")
    tabs.say("room:1", count=5)
    tabs.wait_number(10, "room:1", "second", "third")
    assert tabs.all("second", "event")[-1]["at"] - left < HEARTBEAT + MARGIN, tabs.describe()
    assert len(tabs.numbers("first", "room:1")) == 5
    tabs.wait_streams(1, "room:1")
    assert not go_back(tabs, "first")["leader"]
    tabs.wait_number(10, "room:1", "first")
    tabs.say("room:1", count=5)
    tabs.wait_number(15, "room:1", "first", "second")
    tabs.wait_streams(1, "room:1")
    assert [tabs.find_leaders(number, "room:1") for number in (5, 10, 15)] == [["first"], ["second"], ["second"]]
    tabs.check()


def test_a_tab_with_a_connection_of_its_own_follows_a_link_and_goes_back(tabs):
    tabs.open("first", "room:1", shared=False)
    tabs.say("room:1", count=5)
    tabs.wait_number(5, "room:1", "first")
    follow_link(tabs, "first", "second")
    tabs.wait_streams(1, "room:1")
    tabs.say("room:1", count=5)
    go_back(tabs, "first")
    tabs.say("room:1", count=5)
    tabs.wait_number(15, "room:1", "first")
    tabs.wait_streams(1, "room:1")
    tabs.wait_leader("first")
    tabs.check()


def test_the_leading_tab_does_not_answer(tabs):
    """The other tabs, and a page that is opened meanwhile, do not wait for it, and none says `open` before it is so."""
    for name in ("first", "second"):
        tabs.open(name, "room:1")
    tabs.say("room:1", count=5)
    tabs.wait_number(5, "room:1", "first", "second")
    with tabs.again("second", state="connecting"), tabs.again("second"):
        blocked = time.time()
        tabs.command("block", "first", seconds=3 * HEARTBEAT)
        tabs.say("room:1", count=5)
        tabs.open("third", "room:1")
        assert time.time() - blocked < HEARTBEAT + MARGIN, tabs.describe()
    tabs.wait_number(10, "room:1", "second")
    assert tabs.all("second", "event")[-1]["at"] - blocked < HEARTBEAT + MARGIN, tabs.describe()
    tabs.say("room:1", count=5)
    tabs.wait_number(15, "room:1", "first", "second", "third")
    tabs.wait_streams(1, "room:1")
    tabs.check()
