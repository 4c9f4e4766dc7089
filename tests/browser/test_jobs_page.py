"""The example's page in Chromium, behind nginx with default settings: log in, send a file, watch it, get the notice.

The screenshots are for people to look at: build/jobs_page_running.png is a visitor's, build/jobs_page_done.png ada's.
"""

from __future__ import annotations

from tests.browser.driver import BUILD, Script
from tests.harness.packages import need, need_npm
from tests.server import jobs_site

SECONDS = 40
LINES = 601


def use_page(url, file):
    """Let ada send the file while a visitor looks on; what both saw."""
    need_npm("playwright-core")
    BUILD.mkdir(exist_ok=True)
    screenshots = {when: str(BUILD / f"jobs_page_{when}.png") for when in ("running", "done")}
    wish = {"url": url, "file": str(file), "name": "ada", "screenshots": screenshots}
    with Script("jobs_page.js", SECONDS, chromium=need("chromium", "/usr/bin/chromium"), **wish) as script:
        script.finish()
    return script


def test_a_file_sent_through_the_page_is_watched_to_its_end(gunicorn, nginx, tmp_path):
    site = jobs_site.start(gunicorn, tmp_path / "instance", LEGACY_APP_STEP_SECONDS="0.05")
    file = tmp_path / "numbers.csv"
    file.write_bytes(jobs_site.csv(LINES - 1))
    page = use_page(nginx(site.server.port).url, file)

    for who in ("user", "visitor"):
        bars = page.all(who, "job")
        values = [bar["value"] for bar in bars]
        assert {(bar["name"], bar["max"]) for bar in bars} == {("numbers.csv", LINES)}, page.describe()
        assert values == sorted(values) and values[-1] == LINES and bars[-1]["state"] == "done", page.describe()
        assert len({bar["value"] for bar in bars if bar["state"] == "running"}) >= 10, page.describe()
    assert [toast["text"] for toast in page.all("user", "toast")] == ["numbers.csv: 600 rows, all goodDismiss"]
    assert page.all("visitor", "toast") == [] and page.all(what="error") == [], page.describe()
