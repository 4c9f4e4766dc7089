"""The example's pages in Chromium, light in English and dark in German: axe finds nothing, the keyboard alone suffices.

tests/browser/test_status_page.py does the same for the status page.
"""

from __future__ import annotations

import re

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
    done = {"light": "done", "dark": "fertig"}[who]
    assert (did["login"], did["upload"], did["dismiss"], did["details"]) == ("ada", done, 0, 1), did
    assert did["focus"] == "jobs-title"
    assert did["kept"] == 1, "a notice goes while its button has the focus"
    assert look.all(who, "thrown") == []


#: What each page says in German. The job's message, its note and its time come from scripts and from stored English.
GERMAN = {
    "/": ("Aufträge · Row Check", "Melden Sie sich an, um eine Nachricht zu erhalten"),
    "/?client=old": ("Aufträge · Row Check", "Auf dieser Seite läuft der alte Client, jobsApi.js:"),
    "/nowhere": ("404 · Row Check", "Diese Seite gibt es nicht."),
    "login": ("Anmelden · Row Check", "Konten zum Ausprobieren:"),
    "login refused": ("Anmelden · Row Check", "Kein Konto hat diesen Namen und dieses Passwort."),
    "a job runs": ("Aufträge · Row Check", "läuft"),
    "a notice": ("Aufträge · Row Check", "rows.csv: 41 Zeilen, 1 Problem"),
    "demo": ("Vorher und nachher · Row Check", "Clients geben nach 120 s auf"),
}


def test_each_page_is_in_the_language_of_its_browser(look):
    found = {who: {entry["page"]: entry for entry in look.all(who, "words")} for who in ("light", "dark")}
    assert {entry["lang"] for entry in found["light"].values()} == {"en"}
    for page, (title, text) in GERMAN.items():
        german, english = found["dark"][page], found["light"][page]
        assert (german["lang"], german["title"]) == ("de", title) and text in german["words"], german
        assert text not in english["words"]
        alike = set(german["words"].splitlines()) & set(english["words"].splitlines())
        assert [line for line in alike if is_sentence(line)] == [], page
        assert not [label for label in set(german["labels"]) & set(english["labels"]) if " " in label], page
    job = found["dark"]["a notice"]["words"]
    assert "Zeile 42: 1 Spalte, die Kopfzeile hat 2" in job
    assert re.search(r"\d\d\.\d\d\.20\d\d, \d\d:\d\d:\d\d", job) and "166 Bytes" in job, job


def is_sentence(line: str) -> bool:
    """Return whether a line is neither a name, nor a figure, nor source."""
    return len(re.findall("[a-z]{3,}", line)) > 3 and "/" not in line
