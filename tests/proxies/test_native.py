"""Pages in Chromium while gunicorn is away: the documents' pages, exactly as printed, and a minimal page.

The documents' pages, with ssemux.js and with an EventSource of the browser, are behind a proxy that answers 502; the
minimal page with an EventSource is behind deploy/nginx.conf, which does not.
"""

from __future__ import annotations

import re

import pytest

from flask_ssemux import Publisher
from tests.browser.tabs import Tabs
from tests.harness.servers import Gunicorn
from tests.harness.waiting import until
from tests.proxies import nginx

WAIT = 15
DOCUMENTS = {"readme": "news", "client": "jobs:42"}
NAMES = {"news": "sale", "jobs:42": "progress"}


@pytest.fixture
def server(running, tmp_path):
    env = {"INSTANCE_PATH": str(tmp_path), "SSEMUX_RETRY": "200"}
    return running(Gunicorn("tests.apps.news:create_app()", env=env))


@pytest.fixture
def publish(running, tmp_path):
    publisher = running(Publisher("sqlite:///%s" % (tmp_path / "ssemux.sqlite3")))

    def say(number):
        for channel, event in NAMES.items():
            publisher.publish(channel, number, event=event)

    return say


def logged(tabs, name):
    """Return the numbers that a document's page wrote to the console."""
    return [int(entry["text"]) for entry in tabs.all(name, "console") if entry["text"].isdigit()]


def heard(tabs):
    """Return the numbers that the minimal page's EventSource received."""
    return [int(entry["data"]) for entry in tabs.all("native", "event", name="sale")]


def test_it_resumes_whole(running, server, publish, pem):
    bare, sample = running(nginx.bare()(server.port, pem)), running(nginx.deployed(server.port, pem))
    tabs = running(Tabs(server, url=bare.url))
    for name in DOCUMENTS:
        tabs.command("open", name, path="/" + name)
    address = sample.url.replace("http:", "https:")
    tabs.command("open", "clients", path=address, query={"stream": "/events?channel=news", "names": "sale"})
    tabs.wait_all("native", "open", timeout=WAIT)
    until(lambda: tabs.ask("/streams") == b"4\n", WAIT, lambda: repr(tabs.ask("/streams")))  # and those of the polyfill
    publish(1)
    wait(tabs, [1])
    server.stop()
    for name in DOCUMENTS:
        tabs.wait_for(lambda _, name=name: is_refused(tabs, name), WAIT)
    tabs.wait_all("native", "error", count=2, timeout=WAIT)
    publish(2)
    server.start()
    wait(tabs, [1, 2])
    publish(3)
    wait(tabs, [1, 2, 3])
    assert {entry["state"] for entry in tabs.all("native", "error")} == {0}, "it gave up"


def is_refused(tabs, name):
    return any(re.search("status of 502", entry["text"]) for entry in tabs.all(name, "console"))


def wait(tabs, numbers):
    tabs.wait_for(lambda _: heard(tabs) == numbers and all(logged(tabs, name) == numbers for name in DOCUMENTS), WAIT)
