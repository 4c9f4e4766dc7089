"""Hostile events in Chromium: its own EventSource and event-source-polyfill receive each one unchanged."""

from __future__ import annotations

import json

import pytest

from tests.browser.driver import Browser
from tests.hostile.corpus import TEXTS
from tests.hostile.test_frames import is_name, seen

#: Names that fit into the page's query, which separates them by commas.
NAMES = [text for text in TEXTS if is_name(text) and len(text) < 12 and "," not in text]


@pytest.fixture(scope="module")
def site(fortress):
    env = {"SSEMUX_HEARTBEAT": "60", "SSEMUX_CLIENT_TIMEOUT": "200", "SSEMUX_QUEUE_EVENTS": "100000"}
    return fortress(args=["--limit-request-line", "8190"], **env)


def test_in_chromium(site):
    events = [["room:1", text, None] for text in TEXTS] + [["room:1", {text: text}, None] for text in TEXTS]
    events += [["*", "to " + name, name] for name in NAMES] + [["*", name + "\n" + name, name] for name in NAMES]
    expected = []
    names = ",".join([*NAMES, "last", "ssemux.hello"])
    query = {"stream": "/events?channel=room:1", "names": names, "heartbeat": 60000}
    with Browser(site.server.url, 60, **query) as browser:
        for who in ("native", "polyfill"):
            browser.wait_all(who, "event", timeout=20, name="ssemux.hello")
        for (_, data, name), answer in zip(events, site.publish(*events)):
            expected.append((name or "message", seen(data) if isinstance(data, str) else data, answer["cursor"]))
        site.publish(["*", "the last", "last"])
        for who in ("native", "polyfill"):
            browser.wait_all(who, "event", timeout=20, name="last")
            got = browser.all(who, "event")[1:-1]
            assert len(got) == len(expected), who
            for event, (name, data, cursor) in zip(got, expected):
                received = event["data"] if isinstance(data, str) else json.loads(event["data"])
                assert (event["name"], received, event["id"]) == (name, data, cursor), who
