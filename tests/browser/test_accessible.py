"""The example's pages in Chromium, in light and in dark: axe finds nothing, and the keyboard alone suffices.

tests/browser/test_status_page.py does the same for the status page.
"""

from __future__ import annotations

import pytest

from tests.browser.driver import Script
from tests.harness.packages import need, need_npm
from tests.harness.servers import Gunicorn

PAGES = {"/", "/?client=old", "/nowhere", "login", "login refused", "a job runs", "a notice", "demo"}
SECONDS = 60


@pytest.fixture(scope="module")
def look(tmp_path_factory):
    """A run of accessible.js that has ended."""
    need_npm("playwright-core")
    folder = tmp_path_factory.mktemp("accessible")
    (folder / "rows.csv").write_text("a,b\n" + "1,2\n" * 40 + "1\n")
    env = {"LEGACY_APP_INSTANCE": str(folder / "instance"), "LEGACY_APP_STEP_SECONDS": "0.1"}
    axe = str(need_npm("axe-core") / "axe.min.js")
    with Gunicorn("legacy_app:create_app()", env=env) as server:
        wish = {"url": server.url, "axe": axe, "file": str(folder / "rows.csv")}
        with Script("accessible.js", SECONDS, chromium=need("chromium", "/usr/bin/chromium"), **wish) as script:
            script.finish()
    return script


@pytest.mark.parametrize("who", ["light", "dark"])
def test_axe_finds_nothing(look, who):
    judged = {entry["page"]: entry for entry in look.all(who, "axe")}
    assert set(judged) == PAGES, look.describe()
    assert {page: found["violations"] for page, found in judged.items()} == {page: [] for page in PAGES}
    for page, found in judged.items():
        unsure = [(rule["id"], node) for rule in found["unsure"] for node in rule["nodes"]]
        assert [one for one in unsure if page != "demo" or not is_measured(*one)] == [], page
    assert all({"color-contrast", "document-title", "region"} <= set(found["passes"]) for found in judged.values())


def is_measured(rule: str, node: str) -> bool:
    """Return whether axe could not see what is behind a text in a drawing, or in a source that is scrolled."""
    return rule == "color-contrast" and node.startswith(("<text", "<code>"))


@pytest.mark.parametrize("who", ["light", "dark"])
def test_texts_in_drawings_can_be_read(look, who):
    (drawn,) = look.all(who, "contrast")
    assert drawn["count"] > 10 and drawn["least"] >= 4.5


@pytest.mark.parametrize("who", ["light", "dark"])
def test_the_tab_key_reaches_all_that_can_be_operated_and_shows_where_it_is(look, who):
    for entry in look.all(who, "tabs"):
        assert [one["html"] for one in entry["seen"]] == entry["wanted"] != [], entry["page"]
        assert all(one["isSeen"] for one in entry["seen"]), entry


@pytest.mark.parametrize("who", ["light", "dark"])
def test_the_keyboard_alone_logs_in_uploads_dismisses_and_unfolds(look, who):
    did = {name: value for entry in look.all(who, "did") for name, value in entry.items()}
    assert (did["login"], did["upload"], did["dismiss"], did["details"]) == ("ada", "done", 0, 1), did
    assert did["focus"] == "jobs-title"
    assert did["kept"] == 1, "a notice goes while its button has the focus"
    assert look.all(who, "thrown") == []
