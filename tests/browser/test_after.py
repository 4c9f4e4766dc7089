"""The stream of flask_ssemux behind the same nginx with default settings, in the same browser: it opens and stays
open.
"""

from __future__ import annotations

import json
import urllib.request

import pytest

from tests.browser.driver import Browser, NodeClient

CHANNEL = "/events?channel=room:1"
ENV = {"SSEMUX_HEARTBEAT": "1", "SSEMUX_CLIENT_TIMEOUT": "6"}
OPEN_SECONDS = 0.5


@pytest.fixture
def server(gunicorn):
    return gunicorn("tests.apps.plain:create_app()", env=ENV)


@pytest.fixture
def proxy(nginx, server):
    return nginx(server.port)


def publish(server, data):
    body = json.dumps({"channel": "room:1", "event": "progress", "data": data}).encode()
    request = urllib.request.Request(f"{server.url}/publish", body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=5) as answer:
        return json.loads(answer.read())


def test_stream_behind_default_nginx_opens_at_once_and_stays(server, proxy):
    clients = ("polyfill", "native")
    with Browser(f"{proxy.url}/", 40, screenshot="after.png", stream=CHANNEL) as browser:
        opened = {who: browser.wait_all(who, "open", timeout=25)[0] for who in clients}
        publish(server, {"done": 1})
        first = {who: browser.wait_all(who, "event", name="progress")[0] for who in clients}
        # The polyfill gives up after 6 s without a byte.
        browser.let_pass(8.2, until=lambda browser: browser.all(what="error"))
        publish(server, {"done": 2})
        for who in clients:
            browser.wait_all(who, "event", 2, name="progress")
        seen = browser.stop()

    for who in clients:
        assert opened[who]["after"] < OPEN_SECONDS, seen
        assert json.loads(first[who]["data"]) == {"done": 1}, seen
        assert [json.loads(e["data"]) for e in browser.all(who, "event", name="progress")] == [{"done": 1}, {"done": 2}]
        assert len(browser.all(who, "open")) == 1, seen
    assert browser.all("polyfill", "event", name="progress")[1]["at"] - opened["native"]["at"] > 8, seen
    assert not [e for e in seen if e["what"] == "error" or "No activity" in e.get("text", "")], seen


def test_node_client_behind_default_nginx(server, proxy):
    with NodeClient(proxy.url + CHANNEL, 20, names=["progress", "ssemux.hello"]) as client:
        opened = client.wait_all("node", "open", timeout=10)[0]
        client.wait_all("node", "event", name="ssemux.hello")
        publish(server, {"done": 1})
        event = client.wait_all("node", "event", name="progress")[0]
        seen = client.stop()
    # Node's first request loads its HTTP client, hence the second stream.
    assert opened["after"] < OPEN_SECONDS + 1, seen
    assert json.loads(event["data"]) == {"done": 1} and event["id"], seen
    assert not [e for e in seen if e["what"] == "error"], seen
