"""The example's page in Chromium, behind nginx with default settings: log in, send a file, watch it, get the notice.

It runs with the page's new client and with its old one. The screenshots are for people to look at: of the new client,
build/jobs_page_running.png is a visitor's and build/jobs_page_done.png ada's; of the old one, jobs_page_old_*.png.
"""

from __future__ import annotations

import re

import pytest

from tests.browser.driver import BUILD, Script
from tests.harness.packages import need, need_npm
from tests.server import jobs_site

SECONDS = 40
LINES = 601

#: The paths of the streams that ada's page opens.
STREAMS = {"new": ["/events"], "old": ["/api/jobs/stream", "/events"]}


def use_page(url, file, client):
    """Let ada send the file while a visitor looks on; return the reports of both."""
    need_npm("playwright-core")
    BUILD.mkdir(exist_ok=True)
    name = "jobs_page" if client == "new" else "jobs_page_old"
    screenshots = {when: str(BUILD / f"{name}_{when}.png") for when in ("running", "done")}
    wish = {"url": url, "file": str(file), "name": "ada", "client": client, "screenshots": screenshots}
    with Script("jobs_page.js", SECONDS, chromium=need("chromium", "/usr/bin/chromium"), **wish) as script:
        script.finish()
    return script


@pytest.mark.parametrize("client", ["new", "old"])
def test_a_file_sent_through_the_page_is_watched_to_its_end(gunicorn, nginx, tmp_path, client):
    site = jobs_site.start(gunicorn, tmp_path / "instance", LEGACY_APP_STEP_SECONDS="0.05")
    file = tmp_path / "numbers.csv"
    file.write_bytes(jobs_site.csv(LINES - 1))
    page = use_page(nginx(site.server.port).url, file, client)

    for who in ("user", "visitor"):
        bars = page.all(who, "job")
        values = [bar["value"] for bar in bars]
        assert {(bar["name"], bar["max"]) for bar in bars} == {("numbers.csv", LINES)}, page.describe()
        assert values == sorted(values) and values[-1] == LINES and bars[-1]["state"] == "done", page.describe()
        assert len({bar["value"] for bar in bars if bar["state"] == "running"}) >= 10, page.describe()
    assert [toast["text"] for toast in page.all("user", "toast")] == ["numbers.csv: 600 rows, all goodDismiss"]
    assert page.all("visitor", "toast") == [] and page.all(what="error") == [], page.describe()
    streams = [re.sub(r"^https?://[^/]+|\?.*", "", entry["url"]) for entry in page.all("user", "stream")]
    assert sorted(streams) == STREAMS[client], page.describe()
