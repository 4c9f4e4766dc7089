"""Clients that get a 204 stay away for good: native `EventSource`, the polyfill, and Node's package."""

from __future__ import annotations

import flask_ssemux
from tests.browser.driver import Browser, NodeClient

CHANNEL = "/events?channel=room:1"
ENV = {"SSEMUX_HEARTBEAT": "1", "SSEMUX_CLIENT_TIMEOUT": "6", "SSEMUX_RETRY": "300"}
CLOSED = 2


def test_clients_that_get_a_204_stay_away(gunicorn, instance_env):
    server = gunicorn("tests.apps.plain:create_app()", env=ENV, workers=2)
    publisher = flask_ssemux.Publisher("sqlite:///" + instance_env["INSTANCE_PATH"] + "/ssemux.sqlite3")
    names = ["ssemux.stop", "ssemux.hello"]
    with publisher, NodeClient(server.url + CHANNEL, 60, names=names) as node, Browser(
        f"{server.url}/", 60, stream=CHANNEL, names=",".join(names)
    ) as browser:
        clients = {"node": node, "polyfill": browser, "native": browser}
        for who, script in clients.items():
            script.wait_all(who, "event", name="ssemux.hello", timeout=30)
        publisher.disconnect(channel="room:1")
        for who, script in clients.items():  # the clients reconnect
            script.wait_all(who, "event", 2, name="ssemux.hello", timeout=10)
        publisher.disconnect(channel="room:1", stop=True, reason="the end")
        for who, script in clients.items():
            script.wait_all(who, "error", timeout=10, state=CLOSED)
        server.wait_log(r'(?s)(" 204 .*){3}', 5)  # gunicorn logs a request after its client has the answer
        asked = server.log.count("GET /events")
        assert server.log.count('" 204 ') == 3 and asked == 9
        browser.let_pass(2, until=lambda _: server.log.count("GET /events") != asked)
        for who, script in clients.items():
            (stop,) = script.all(who, "event", name="ssemux.stop")
            assert (stop["data"], stop["id"]) == ('{"reason":"the end"}', "stop")
