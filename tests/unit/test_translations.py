"""The texts of the example's pages: each has a German translation, with the same names and the same elements."""

from __future__ import annotations

import json
import re
from string import Formatter

import pytest

from legacy_app import checks, create_app, failures, language, runner, watch
from tests.harness.servers import ROOT

APP = ROOT / "legacy_app"
GERMAN = json.loads((APP / "translations" / "de.json").read_text(encoding="utf-8"))

STRING = r'"((?:[^"\\]|\\.)*)"'

#: A text in a template, a script or a module, as it is looked up.
IN_TEMPLATES = re.compile(r'\b(?:_|html)\("((?:[^"\\]|\\.)*)"')
IN_SCRIPTS = re.compile(r"\bt\(\s*(?:\w+ === 1 \? )?" + STRING)
IN_MODULES = re.compile(r'(?:Refused\(|words = \(?|error=)\s*"((?:[^"\\]|\\.|"\s+")*)"')

#: Texts in the scripts that are looked up by a variable: tables of states, and the two forms of a plural.
TABLES = re.compile(r"(?:STATES = \{|\bplural\()[^})]*[})]")


def unescape(text):
    return text.replace('\\"', '"').replace('"\n            "', "")


def list_texts():
    found = {"queued", "running", "done", "failed", "csv", "text", *failures.DESCRIPTIONS.values()}
    found |= {runner.BROKEN, runner.CANCELLED, runner.NOT_STARTED, watch.INTERRUPTED}
    for path in APP.glob("templates/*.html"):
        found.update(IN_TEMPLATES.findall(path.read_text(encoding="utf-8")))
    for path in APP.glob("static/**/*.js"):
        source = re.sub(r"/\*.*?\*/", "", path.read_text(encoding="utf-8"), flags=re.S)
        found.update(IN_SCRIPTS.findall(source))
        for table in TABLES.findall(source):
            found.update(re.findall(STRING, table))
    for name in ("uploads.py", "pages.py", "failures.py"):
        found.update(IN_MODULES.findall((APP / name).read_text(encoding="utf-8")))
    return set(map(unescape, found))


def test_each_text_is_translated():
    assert sorted(list_texts() - set(GERMAN)) == []


def test_each_translation_has_the_names_and_the_elements_of_its_text():
    for text, german in GERMAN.items():
        names = [sorted(name for _, name, *_ in Formatter().parse(it) if name is not None) for it in (text, german)]
        assert names[0] == names[1], text
        assert sorted(re.findall(r"<[^>]*>", text)) == sorted(re.findall(r"<[^>]*>", german)), text


MESSAGES = [
    ("1,200 rows, all good", "1.200 Zeilen, alles in Ordnung"),
    ("line 7: 5 columns, the header has 2", "Zeile 7: 5 Spalten, die Kopfzeile hat 2"),
    ("cancelled before its end", "vor dem Ende abgebrochen"),
    ("what nobody translates, 7", "what nobody translates, 7"),
]


@pytest.fixture(scope="module")
def app(tmp_path_factory):
    """The application; a process can have only one, as its blueprints belong to modules."""
    return create_app({"LEGACY_APP_INSTANCE": str(tmp_path_factory.mktemp("legacy")), "SSEMUX_BROKER": "memory:"})


@pytest.mark.parametrize("text, german", MESSAGES)
def test_a_message_with_numbers_is_translated(app, text, german):
    with app.test_request_context(headers={"Accept-Language": "de"}):
        assert language.translate_message(text) == german
    with app.test_request_context():
        assert language.translate_message(text) == text


def test_all_that_a_check_reports_is_translated(app):
    texts = {"csv": ["a,b\n", "1\n", "1,2,3\n", '"x\n'], "text": ["x" * 10_001 + "\n", "\udcff\n"]}
    with app.test_request_context(headers={"Accept-Language": "de"}):
        for kind, lines in texts.items():
            *_, report = checks.check_file(kind, lines, 10)
            summary = runner._summarize_report(report)
            for text in (*report.notes, summary):
                assert language.translate_message(text) != text
        with pytest.raises(checks.Unreadable) as unreadable:
            list(checks.check_file("csv", ["a,b\n", '"' + "x" * 200_000], 10))
        assert language.translate_message(str(unreadable.value)).startswith("Zeile 2: Feld größer")


@pytest.mark.parametrize(
    "accepted, chosen",
    [
        ("de-AT,de;q=0.9,en;q=0.8", "de"),
        ("fr,de;q=0.5,en;q=0.4", "de"),
        ("en-GB,en;q=0.9,de;q=0.8", "en"),
        ("fr", "en"),
        ("", "en"),
    ],
)
def test_the_browser_chooses_the_language(app, accepted, chosen):
    answer = app.test_client().get("/", headers={"Accept-Language": accepted})
    assert '<html lang="%s">' % chosen in answer.get_data(as_text=True)
    assert (answer.headers["Content-Language"], "Accept-Language" in answer.headers["Vary"]) == (chosen, True)
    refused = app.test_client().get("/nowhere", headers={"Accept-Language": accepted}).get_data(as_text=True)
    assert ("Diese Seite gibt es nicht." if chosen == "de" else "There is no such page.") in refused


def test_values_in_translated_html_are_escaped(app):
    with app.test_request_context(headers={"Accept-Language": "de"}):
        shown = language.translate_html("Logged in as <strong>{name}</strong>", name="<b>")
    assert shown == "Angemeldet als <strong>&lt;b&gt;</strong>"
