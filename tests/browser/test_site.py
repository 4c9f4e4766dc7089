"""The documentation's site in Chromium, opened as files: nothing is wider than the screen, and the search works."""

from __future__ import annotations

import pytest

from tests.browser.driver import Script
from tests.harness.packages import need, need_npm
from tests.harness.site import build_site

SECONDS = 60
#: The pages with the widest tables, pictures and signatures.
WIDE = ["architecture.html", "client.html", "proxies.html", "reference/javascript.html"]
#: A page that is written, and one that is made from code.
JUDGED = ["index.html", "reference/errors.html"]
#: What a reader searches for, and the page on which it is.
SEARCHED = {"SSEMUX_HEARTBEAT": "reference/options.html", "publish_many_on_commit": "reference/publish.html"}


@pytest.fixture(scope="module")
def look(tmp_path_factory):
    """A run of site.js that has ended."""
    need_npm("playwright-core")
    folder = tmp_path_factory.mktemp("site")
    done = build_site(folder)
    assert done.returncode == 0, done.stdout
    wish = {"folder": str(folder), "pages": WIDE, "judged": JUDGED, "search": list(SEARCHED)}
    axe = str(need_npm("axe-core") / "axe.min.js")
    with Script("site.js", SECONDS, chromium=need("chromium", "/usr/bin/chromium"), axe=axe, **wish) as script:
        script.finish()
    return script


@pytest.mark.parametrize("who", ["phone", "desktop"])
def test_no_page_is_wider_than_the_screen(look, who):
    pages = look.all(who, "page")
    assert [page["page"] for page in pages] == WIDE
    assert [page for page in pages if page["width"] > page["screen"]] == []


def test_nothing_is_requested_from_another_server_and_nothing_fails(look):
    assert look.all("foreign") == [] and look.all(what="thrown") == []


@pytest.mark.parametrize("who", ["light", "dark"])
def test_axe_finds_nothing(look, who):
    judged = {entry["page"]: entry["violations"] for entry in look.all(who, "axe")}
    assert judged == {page: [] for page in JUDGED}


@pytest.mark.parametrize("query", list(SEARCHED))
def test_the_search_works_without_a_server(look, query):
    (found,) = look.all("search", "found", query=query)
    assert SEARCHED[query] in found["hrefs"][0]
