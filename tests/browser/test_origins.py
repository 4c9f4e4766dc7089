"""Streams of another origin in Chromium, as docs/identity.md sets them up: Flask-CORS, cookies, tickets.

The page is on one port, the streams are on another. `localhost` and `127.0.0.1` are two sites, which share no cookie.
"""

from __future__ import annotations

import pytest

from flask_ssemux import Publisher
from tests.browser.driver import Browser
from tests.harness.document import modules
from tests.harness.other_servers import need_python
from tests.harness.servers import ROOT, Gunicorn

SECONDS = 40
WAIT = 12
QUICK = {"SSEMUX_RETRY": "200", "SSEMUX_HEARTBEAT": "1", "SSEMUX_CLIENT_TIMEOUT": "6"}


@pytest.fixture
def page(gunicorn):
    return gunicorn("tests.apps.other_origin:create_app()")


@pytest.fixture
def publisher(tmp_path, running):
    return running(Publisher("sqlite:///%s" % (tmp_path / "instance" / "ssemux.sqlite3")))


@pytest.fixture
def serve(tmp_path, running):
    """serve(name, *pages): serve the document's application of that name, which allows these origins."""
    modules("identity.md", tmp_path)

    def start(name, *pages):
        api = tmp_path / "api.py"
        api.write_text(api.read_text().replace("from sessions import", "from %s import" % name) + ANSWERS)
        env = {"PYTHONPATH": "%s:%s" % (tmp_path, ROOT), "PAGES": ",".join(pages), **QUICK}
        return running(Gunicorn("api:app", env=env, cwd=tmp_path))

    return start


#: What starts a run, for the application of the document.
ANSWERS = """

@app.route("/answers", methods=["POST"])
def answers():
    import flask_ssemux

    return flask_ssemux.start_run(("token", word) for word in ("a", "b")).response()
"""


def hear(browser, ways, *expected):
    """Wait until each way has received exactly this, in order."""
    for way in ways:
        browser.wait_all(way, "event", count=len(expected), timeout=WAIT)
        assert [entry["data"] for entry in browser.all(way, "event")] == list(expected)


def check_it_comes_back(browser, server, publisher, ways):
    """Check that each event comes once, also events from while the server was away."""
    for way in ways:
        browser.wait_all(way, "open", timeout=WAIT)
    publisher.send_to_user("ann", "one")
    publisher.send_to_user("bob", "not hers")
    publisher.broadcast("two")
    hear(browser, ways, "one", "two")
    server.stop()
    publisher.send_to_user("ann", "three")
    server.start()
    hear(browser, ways, "one", "two", "three")
    publisher.send_to_user("ann", "four")
    hear(browser, ways, "one", "two", "three", "four")


def test_cookies_are_sent_to_another_origin_of_the_site(running, page, serve, publisher):
    server = serve("sessions", page.url)
    ways = ("native", "polyfill", "fetch", "mux")
    browser = running(Browser(page.url, SECONDS, events=server.url, name="ann", ways=",".join([*ways, "run"])))
    (end,) = browser.wait_all("run", "end", timeout=WAIT)
    assert end["url"].startswith(server.url + "/events/run/")
    hear(browser, ["run"], "a", "b", "a", "b")
    check_it_comes_back(browser, server, publisher, ways)


def test_tickets_work_where_no_cookie_is_sent(running, page, serve, publisher):
    need_python("flask_jwt_extended")
    other_site = "http://localhost:%d" % page.port
    server = serve("tokens", other_site)
    ways = ("native-ticket", "mux-ticket")
    browser = running(Browser(other_site, SECONDS, events=server.url, name="ann", ways=",".join(ways)))
    check_it_comes_back(browser, server, publisher, ways)


def test_an_origin_that_is_not_allowed_receives_nothing(running, page, serve, publisher):
    server = serve("sessions", "http://localhost:%d" % page.port)
    browser = running(Browser(page.url, SECONDS, events=server.url, name="ann", ways="native,mux"))
    browser.wait_all("page", "refused", timeout=WAIT)
    browser.wait_all("native", "error", timeout=WAIT)
    browser.wait_all("mux", "refused", timeout=WAIT)
    publisher.broadcast("not for this page")
    browser.let_pass(1, lambda it: it.all("native", "event") or it.all("native", "open") or it.all("mux", "event"))
