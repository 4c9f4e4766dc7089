"""`make demo` as it is, gunicorn and nginx with default settings, and its page in Chromium; the jobs page's clients.

The screenshots are for people to look at: build/demo_*.png.
"""

from __future__ import annotations

import re
import signal
import sys
import urllib.request

import pytest

from tests.browser.driver import BUILD, Script
from tests.harness.packages import need, need_npm
from tests.harness.ports import free_port
from tests.harness.servers import Server, answers, listens
from tests.server import jobs_site

LANES = {f"{form}-{way}" for form in ("before", "feed", "after") for way in ("direct", "nginx")}
FEED = ("feed-direct", "feed-nginx")
AFTER = ("after-direct", "after-nginx")
COMPLAINT = "No activity within 6000 milliseconds. No response received. Reconnecting."
CAUGHT_UP = re.compile(r"Away for \d+\.\d s: caught up (\d+) changes in \d+ ms, none lost, none twice\.")
LOST = re.compile(r"Away for \d+\.\d s: (\d+) of \d+ changes not told\.")
TOLD = re.compile(r"told (\d+) of (\d+) changes")

#: Six heartbeats are the polyfill's time-out.
IDLE = {"SSEMUX_HEARTBEAT": "0.5", "SSEMUX_CLIENT_TIMEOUT": "3"}
IDLE_SECONDS = 25 * 0.5


class Demo(Server):
    """`python -m legacy_app`, with all its files in a folder of its own."""

    name = "demo"

    def __init__(self, folder):
        env = {"LEGACY_APP_INSTANCE": str(folder), "LEGACY_APP_STEP_SECONDS": "0.1", "WEB_CONCURRENCY": "2"}
        super().__init__({**env, "SSEMUX_HEARTBEAT": "1", "SSEMUX_CLIENT_TIMEOUT": "6"})
        self.proxy_port = free_port()

    def command(self):
        ports = ["--port", str(self.port), "--proxy-port", str(self.proxy_port)]
        return [sys.executable, "-m", "legacy_app", *ports]

    def ready(self):
        return answers(self.port) and listens(self.proxy_port)


def figures(lane):
    """Return how many changes the lane reported, and how many there were."""
    return tuple(int(number) for number in TOLD.search(lane["figures"]).groups())


def test_the_demo_shows_what_nginx_buffers_what_a_cut_costs_and_a_check_that_outlives_its_tab(running, tmp_path):
    need("nginx-light", "/usr/sbin/nginx")
    demo = running(Demo(tmp_path / "instance"))
    url = f"{demo.url}/demo"
    need_npm("playwright-core")
    BUILD.mkdir(exist_ok=True)
    wish = {"chromium": need("chromium", "/usr/bin/chromium"), "screenshots": str(BUILD / "demo")}
    with Script("demo_page.js", 70, url=url, name="ada", **wish) as page:
        page.finish()
    seen = {entry["what"]: entry for entry in page.seen}
    assert "error" not in seen, page.describe()
    lanes = {what: entry["lanes"] for what, entry in seen.items()}
    assert all(set(shown) == LANES for shown in lanes.values())

    watched = lanes["watched"]
    assert seen["watched"]["told"] == "A notice for ada: sample.csv: 600 rows, all good."
    for name in AFTER:
        told, happened = figures(watched[name])
        assert told == happened >= 30 and watched[name]["marks"]["event"] > 20, page.describe()
    assert 0 < figures(watched["before-direct"])[0] < 10, "the old generator asks once a second"
    assert watched["before-nginx"]["figures"].startswith("0 chunks, 0 B"), page.describe()

    queries = seen["given up"]["queries"]
    before, feed, after = (queries[url] for url in (jobs_site.BEFORE, jobs_site.FEED, jobs_site.STREAM))
    assert before > 1.2 * feed > 0, "two clients ask twice a second, the feed once for both"
    assert after <= 2, "one query for each client that had no cursor"
    check = seen["watched"]["check"]
    assert (check["state"], check["told"]) == ("done", "sample.csv: 600 rows, all good."), page.describe()
    assert re.fullmatch(r"\d\d steps, none twice, came back \d+×", check["figures"]), page.describe()
    assert seen["left"]["check"]["state"] == "running"
    assert (seen["found"]["check"]["state"], seen["found"]["check"]["told"]) == ("done", check["told"]), page.describe()
    assert seen["found"]["check"]["figures"].startswith(check["figures"].partition(",")[0] + ", none twice")

    cut = lanes["cut"]
    for name in (*AFTER, *FEED):
        assert int(CAUGHT_UP.fullmatch(cut[name]["news"]).group(1)) > 5, page.describe()
        assert cut[name]["marks"]["cut"] == 1 and (name in FEED or cut[name]["marks"]["caught"] >= 1), page.describe()
    assert int(LOST.fullmatch(cut["before-direct"]["news"]).group(1)) > 5, page.describe()

    given_up = lanes["given up"]
    assert given_up["before-nginx"]["news"] == COMPLAINT and not given_up["before-nginx"]["marks"].get("opening")
    for name in AFTER:
        assert given_up[name]["state"] == "open" and given_up[name]["marks"]["beat"] >= 3, page.describe()

    demo.signal(signal.SIGINT)
    assert demo.wait(10) == 0
    assert not listens(demo.port) and not listens(demo.proxy_port)


def test_without_nginx_the_demo_says_so(gunicorn, tmp_path):
    site = jobs_site.start(gunicorn, tmp_path / "instance")
    with urllib.request.urlopen(f"{site.server.url}/demo", timeout=5) as answer:
        page = answer.read().decode()
    assert "No nginx stands before this server" in page and 'id="before-nginx"' not in page
    with urllib.request.urlopen(f"{site.server.url}{jobs_site.STREAM}", timeout=5) as stream:
        assert stream.headers["Access-Control-Allow-Origin"] is None


@pytest.fixture
def idle_site(gunicorn, nginx, tmp_path):
    site = jobs_site.start(gunicorn, tmp_path / "instance", LEGACY_APP_STEP_SECONDS="0.05", **IDLE)
    site.proxy_url = nginx(site.server.port).url
    return site


def test_old_and_new_clients_are_idle_without_an_error_and_are_then_notified_of_a_job(idle_site):
    polyfill = need_npm("event-source-polyfill") / "src" / "eventsource.js"
    clients = ["polyfill", "native", "new"]
    wish = {"chromium": need("chromium", "/usr/bin/chromium"), "polyfill": str(polyfill), "timeout": 3000}
    with Script("jobs_clients.js", 40, url=idle_site.proxy_url, clients=clients, **wish) as pages:
        for who in clients:
            pages.wait_all(who, "live", timeout=15)
        pages.let_pass(IDLE_SECONDS, until=lambda pages: pages.all(what="waiting") or pages.all(what="error"))
        visitor = idle_site.visitor()
        job = visitor.upload("numbers.csv", jobs_site.csv(60))
        for who in clients:
            pages.wait_all(who, "job", state="done", id=job["id"], timeout=10)
        seen = pages.stop()
    for who in clients:
        assert len(pages.all(who, "live")) == 1, seen
        revisions = [entry["revision"] for entry in pages.all(who, "job")]
        assert revisions == list(range(1, visitor.job(job["id"])["revision"] + 1)), (who, seen)
        (stream,) = pages.all(who, "stream")
        assert ("/events?" in stream["url"]) == (who == "new"), seen
