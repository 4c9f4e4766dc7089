"""The status page in Chromium behind nginx, in light and in dark: what it shows is true, and it is accessible.

Its screenshots are kept as build/status-light.png and build/status-dark.png.
"""

from __future__ import annotations

import random
import threading
from contextlib import contextmanager

from tests.browser.driver import BUILD, Script
from tests.browser.test_client_node import TESTS, run
from tests.harness.client import Herd
from tests.harness.packages import need, need_npm
from tests.server.conftest import Site

SECONDS = 20
ROOMS, USERS, STREAMS = 12, 23, 90

#: What the tab key reaches, in order.
STOPS = ["Pause", "Charts of", "over", *["As a table"] * 5, "Workers", "JSON", "Prometheus"]

#: True when the figures are there and each chart has something to show.
READY = """
document.querySelectorAll("#workers tbody tr").length === 3
  && document.querySelector("#tiles dd").textContent === "%d"
  && ["streams", "delivered", "published", "errors"]
    .every((id) => document.querySelector(`#${id} .drawn`)?.points.length > 1)
""" % (STREAMS + 1)


class Look(Script):
    """A run of status_page.js."""

    def __init__(self, url):
        need_npm("playwright-core")
        axe = need_npm("axe-core") / "axe.min.js"
        BUILD.mkdir(exist_ok=True)
        wish = {"url": url + "/events/status", "axe": str(axe), "folder": str(BUILD), "until": READY}
        super().__init__("status_page.js", SECONDS, chromium=need("chromium", "/usr/bin/chromium"), **wish)

    def found(self, who, what):
        return self.all(who, what)[0][what]


@contextmanager
def publishing(site):
    """Publish some events a second until the end of the block."""
    over, chance = threading.Event(), random.Random(7)

    def run():
        while not over.wait(0.2):
            for _ in range(chance.randrange(6)):
                site.publish("room:%d" % chance.randrange(ROOMS), "x")

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def test_its_history():
    run(need("nodejs", "node"), "--test", TESTS / "status.test.mjs")


def test_it_shows_the_truth_and_is_accessible(gunicorn, nginx):
    server = gunicorn("tests.apps.watched:create_app()", workers=3)
    proxy = nginx(server.port)
    herd = Herd(
        server.port,
        STREAMS,
        lambda number: "/events?channel=room:%d" % (number % ROOMS),
        lambda number: {"X-User": "user%d" % (number % USERS)},
    )
    with herd, publishing(Site(server)):
        herd.wait_all(b"ssemux.hello", 10)
        with Look(proxy.url) as look:
            look.finish()
    for who in ("light", "dark"):
        said = [entry["text"] for entry in look.all(who, "console")]
        assert all("ERR_FAILED" in text for text in said), "more than the stream that was withheld: %s" % said
        assert not look.all(who, "thrown"), look.describe()
        urls = [entry["url"] for entry in look.all(who, "request")]
        assert urls and all(url.startswith(proxy.url + "/events/") for url in urls), urls
        tiles = look.found(who, "tiles")
        assert (tiles["Streams"], tiles["Users"], tiles["Channels"]) == (str(STREAMS + 1), str(USERS), str(ROOMS))
        rows = look.found(who, "rows")
        assert sorted(int(row[0].split()[0]) for row in rows) == sorted(server.worker_pids())
        assert sum(int(row[2]) for row in rows) == STREAMS + 1
        tabs = look.found(who, "tabs")
        assert [stop["name"] for stop in tabs] == STOPS and all(stop["isSeen"] for stop in tabs), tabs
        assert look.found(who, "keys") == {"table": True, "paused": True, "live": True}
        choices = look.found(who, "choices")
        assert choices["workers"] == ["all workers", *("worker %s on %s" % (row[0], row[1]) for row in rows)]
        assert choices["isShown"] and choices["span"] == "over ten minutes"
        assert look.found(who, "narrow") == 360
        assert look.found(who, "trouble").startswith("The broker cannot be reached (a test).")
        accessible(look, who)

    assert look.all("hasty", "thrown") == []
    (paused,) = look.all("hasty", "early")
    assert (paused["early"], paused["state"]) == ([], "Paused")
    late = look.found("hasty", "late")
    assert late[:2] == ["stream", "now"] and "1" in late


def accessible(look, who):
    (axe,) = look.all(who, "axe")
    assert axe["violations"] == [] and {"color-contrast", "svg-img-alt", "scope-attr-valid"} <= {*axe["passes"]}, axe
    # axe is not sure about text in drawings, which has no element's background.
    assert all(node.startswith("<text") for unsure in axe["unsure"] for node in unsure["nodes"]), axe["unsure"]
    drawn = look.found(who, "contrasts")
    assert all(count > 10 for count in drawn["count"]), drawn
    assert drawn["words"] >= 4.5 and drawn["shapes"] >= 3, drawn
    assert (BUILD / ("status-%s.png" % who)).stat().st_size > 20_000
