"""A contest's notifications (tests/apps/contest.py) before, wrapped and moved, as its page in Chromium gets them."""

from __future__ import annotations

import json
import signal

import pytest

from tests.browser.driver import Browser
from tests.harness.client import RawStream
from tests.server.conftest import Site

APP = "tests.apps.contest:create_app()"
CLIENTS = ("polyfill", "native")


def notify(site, title):
    site.post("/api/v1/notifications", title=title, content="It begins now")
    return {"title": title, "content": "It begins now", "type": "toast", "sound": True}


def read_notifications(browser, who):
    return [json.loads(entry["data"]) for entry in browser.all(who, "event", name="notification")]


@pytest.mark.parametrize("form, workers", [("before", 1), ("wrapped", 1), ("moved", 2)])
def test_the_page_gets_the_same_events(gunicorn, form, workers):
    site = Site(gunicorn(APP, workers, env={"FORM": form, "PING": "0.5"}))
    with RawStream(site.port, "/events") as anonymous:
        anonymous.wait_headers(5)
        assert anonymous.status == 403
    with Browser(site.server.url + "/login", 40, user="ada", names="notification,ping") as browser:
        for who in CLIENTS:
            browser.wait_all(who, "event", 3, timeout=20, name="ping")
        sent = [notify(site, "First"), notify(site, "Second")]
        for who in CLIENTS:
            browser.wait_all(who, "event", 2, name="notification")
        if form == "moved":  # what is published during a deploy is not lost, whatever worker it comes from
            gone = site.server.worker_pids()
            site.server.signal(signal.SIGHUP)
            for who in CLIENTS:
                browser.wait_all(who, "error", timeout=10)
            sent.append(notify(site, "Third"))
            site.server.wait_workers(workers, 15, gone)
            for who in CLIENTS:
                browser.wait_all(who, "event", 3, timeout=15, name="notification")
        browser.stop()
    for who in CLIENTS:
        assert read_notifications(browser, who) == sent
        first = browser.all(who, "event")[0]
        assert (first["name"], first["data"]) == ("ping", "ping")
        assert not browser.all(who, "event", name="message")


@pytest.mark.parametrize("form", ["before", "wrapped", "moved"])
def test_notifications_can_be_turned_off(monkeypatch, tmp_path, form):
    monkeypatch.setenv("FORM", form)
    monkeypatch.setenv("EVENTS", "off")
    monkeypatch.setenv("INSTANCE_PATH", str(tmp_path))
    from tests.apps import contest

    client = contest.create_app().test_client()
    client.get("/login?user=ada")
    assert client.get("/events").status_code == 204
