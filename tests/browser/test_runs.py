"""Runs as browsers and ssemux.js read them: mux.run() in Node, EventSource and the page of docs/runs.md in Chromium."""

from __future__ import annotations

import json
import signal

import pytest

from tests.browser.command import run
from tests.browser.tabs import Tabs
from tests.harness.document import block, modules
from tests.harness.packages import need
from tests.harness.servers import ROOT

ENV = {"SSEMUX_HEARTBEAT": "1", "SSEMUX_CLIENT_TIMEOUT": "3", "SSEMUX_RETRY": "100"}
WAIT = 20

#: In the page: wait for a condition, and report it with what the page shows.
WATCH = """void (async () => {
    const wait = (check) => new Promise((done) => {
        const timer = setInterval(() => check() && done(clearInterval(timer)), 10);
    });
    const output = document.getElementById("answer");
    await wait(() => %s);
    report({ who: "page", what: "%s", text: output.textContent });
})()"""

#: In the page: read the run with the browser's EventSource, and report what it has read when it has stopped.
LISTEN = """void (() => {
    const [words, ends] = [[], []];
    const source = new EventSource(sessionStorage.run);
    source.addEventListener("token", ({ data }) => words.push(data));
    source.addEventListener("ssemux.run", ({ data }) => ends.push(JSON.parse(data).state));
    source.onerror = () => source.readyState === EventSource.CLOSED &&
        report({ who: "page", what: "stopped", words, ends });
})()"""


def test_runs_in_node(gunicorn):
    server = gunicorn("tests.apps.answers:create_app()", env=ENV)
    script = ROOT / "tests" / "browser" / "client" / "run.test.mjs"
    run(need("nodejs", "node"), "--test", script, URL=server.url)


@pytest.fixture
def site(gunicorn, tmp_path):
    """The application of docs/runs.md, with its page."""
    modules("runs.md", tmp_path)
    (tmp_path / "answers.html").write_text(block("runs.md", "html", "<!-- answers.html -->"), encoding="utf-8")
    return gunicorn("answers:app", workers=2, cwd=tmp_path, env=ENV)


def ask(page, words):
    """Ask for an answer of so many words; return it."""
    prompt = " ".join("word%d" % number for number in range(words))
    page.command("run", "page", code="document.querySelector('input').value = %s" % json.dumps(prompt))
    page.command("run", "page", code="document.querySelector('#ask button').click()")
    return prompt + " "


def wait(page, name, condition):
    """Wait until a condition in the page is true; return what it shows."""
    page.command("run", "page", code=WATCH % (condition, name))
    return page.wait_all("page", name, timeout=WAIT)[0]["text"]


def test_the_page_of_the_document_survives_a_reload_and_a_deploy_and_cancels(site, running):
    page = running(Tabs(site, seconds=100))
    page.command("open", "page", path="/")
    answer = ask(page, 50)
    wait(page, "begun", "output.textContent.includes('word5 ')")
    page.command("reload", "page")
    page.command("run", "page", code=LISTEN)
    old = site.worker_pids()
    site.signal(signal.SIGHUP)
    assert wait(page, "done", "output.textContent.includes('word49 ')") == answer
    (stopped,) = page.wait_all("page", "stopped", timeout=WAIT)
    assert ("".join(stopped["words"]), stopped["ends"]) == (answer, ["done"])
    site.wait_workers(2, WAIT, gone=old)

    answer = ask(page, 2000)
    wait(page, "much", "output.textContent.includes('word5 ')")
    page.command("run", "page", code="document.getElementById('cancel').click()")
    text = wait(page, "cancelled", "output.textContent.endsWith('(cancelled)')")
    assert answer.startswith(text[: -len("(cancelled)")])
    assert [entry["text"] for entry in page.all(what="thrown")] == []
