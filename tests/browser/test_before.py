"""The bug that started this project: the old stream behind nginx with default settings, in a real browser.

The stream sends a heartbeat every second, but nothing arrives, not even the headers.
"""

from __future__ import annotations

from tests.browser.driver import Browser
from tests.harness.client import RawStream

COMPLAINT = "No activity within 6000 milliseconds. No response received. Reconnecting."


def test_old_stream_behind_default_nginx_reaches_no_client(gunicorn, nginx):
    server = gunicorn("tests.apps.before:create_app()")
    proxy = nginx(server.port)
    with RawStream(server.port) as direct, Browser(f"{proxy.url}/", 30, screenshot="before.png") as browser:

        def requests():
            return [e for e in browser.all("page", "request") if e["url"].startswith(f"{proxy.url}/events")]

        browser.wait_for(lambda _: [e for e in browser.all("console") if COMPLAINT in e["text"]], 20)
        # One request of the native client, and two of the polyfill.
        browser.wait_for(lambda _: len(requests()) == 3, 5)
        seen = browser.stop()
        beats = direct.comments().count(" heartbeat")

    assert beats >= 7, f"the stream itself was not alive: {beats} heartbeats; {direct.describe()}"
    (failed,) = browser.all("polyfill")
    assert failed["what"] == "error" and 5.9 < failed["after"] < 7, seen
    assert browser.all("native") == [], "native EventSource opened or gave up, although it should wait"
    assert not [e for e in browser.all("page", "response") if "/events" in e["url"]], "headers came through after all"
