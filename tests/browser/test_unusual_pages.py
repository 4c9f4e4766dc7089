"""ssemux.js on unusual pages: with blocked cookies, with `<base href>`, in frames and windows without a URL; and
unusual content types.

The browser's own EventSource works on such pages and with some of these types, and so does ssemux.js.
"""

from __future__ import annotations

import json

import pytest

from tests.browser.tabs import BROWSERS, WAIT, Tabs

#: Settings of Firefox that block all cookies, and with them everything that tabs could share.
BLOCKED = {"network.cookie.cookieBehavior": 2}

#: By kind of page: how a page makes it, with `text` a module and `base` its base element, which resolves all URLs.
PAGES = {
    "base": "document.head.append(module(document))",
    "srcdoc": "Object.assign(frame(), {srcdoc: module(document).outerHTML})",
    "frame": "const {contentDocument: it} = frame(); it.head.append(module(it))",
    "window": "const it = open('').document; it.head.append(module(it))",
}

CODE = """
const base = Object.assign(document.createElement("base"), {href: "/events"});
document.head.append(base);
const module = (it) => Object.assign(it.createElement("script"), {type: "module", text: `
    import {SSEMux} from "/events/ssemux.js";
    const tell = (what, more) => (window.opener ?? top).report({who: "PAGE", what, ...more});
    const mux = new SSEMux("?at=PAGE");
    mux.channel("room:1").on("n", ({event: name, channel, data}) => tell("event", {name, channel, data}));
    mux.on("ssemux.open", ({state}) => tell("state", {state}));
`});
const frame = () => document.body.appendChild(document.createElement("iframe"));
MAKE;
"""

#: Values of Content-Type; "|" separates two headers.
TYPES = [
    "text/event-stream",
    "Text/Event-Stream",
    "TEXT/EVENT-STREAM;charset=UTF-8",
    "text/event-stream ; charset=utf-8",
    'text/event-stream; x="a,text/html;b"',
    "text/event-stream,",
    "text/event-stream|text/event-stream",
    "text/html|text/event-stream",
    "text/event-stream|text/html",
    "text/event-stream-x",
    "text/event-stream.x; charset=utf-8",
    "text/event",
    "application/json",
    "event-stream",
]

COMPARE_TYPES = """
import("/events/ssemux.js").then(async ({SSEMux}) => {
  for (const types of TYPES) {
    const url = "/typed?" + new URLSearchParams(types.split("|").map((type) => ["type", type]));
    const source = new EventSource(url);
    const browser = await new Promise((done) => {
      source.onopen = () => done(true);
      source.onerror = () => done(false);
    });
    source.close();
    const mux = new SSEMux(url, {shared: false});
    const ours = await new Promise((done) => {
      mux.on("ssemux.open", () => done(true)).on("ssemux.error", () => done(false));
    });
    mux.close();
    report({who: "types", what: "compared", types, browser, ours});
  }
});
"""


@pytest.fixture
def server(gunicorn):
    return gunicorn("tests.apps.tabs:create_app()")


def test_firefox_that_blocks_cookies(running, server):
    tabs = running(Tabs(server, "firefox", settings=BLOCKED))
    for name in ("first", "second"):
        tabs.open(name, "room:1")
    tabs.wait_streams(2, "room:1")
    tabs.say("room:1", count=3)
    tabs.wait_number(3, "room:1", "first", "second")
    tabs.check()


def test_a_sandbox(running, server):
    tabs = running(Tabs(server))
    for name in ("first", "second"):
        tabs.open(name, "room:1", query={"sandbox": ""})
    tabs.wait_streams(2, "room:1")
    tabs.say("room:1", count=3)
    tabs.wait_number(3, "room:1", "first", "second")
    tabs.check()


@pytest.mark.parametrize("browser", list(BROWSERS))
def test_urls_and_types_are_understood_as_event_source_does(running, server, browser):
    tabs = running(Tabs(server, browser))
    tabs.open("types")
    tabs.command("run", "types", code=COMPARE_TYPES.replace("TYPES", json.dumps(TYPES)))
    for page, make in PAGES.items():
        tabs.open("page of " + page)
        tabs.command("run", "page of " + page, code="{%s}" % CODE.replace("PAGE", page).replace("MAKE", make))
        tabs.wait_all(page, "state", state="open", timeout=WAIT)
    tabs.say("room:1", count=3)
    tabs.wait_number(3, "room:1", *PAGES)
    tabs.wait_for(lambda _: len(tabs.all("types", "compared")) == len(TYPES), WAIT)
    found = {one["types"]: (one["browser"], one["ours"]) for one in tabs.all("types", "compared")}
    assert all(ours == theirs for ours, theirs in found.values()), found
    assert [found[types][0] for types in TYPES[:4] + TYPES[-5:]] == 4 * [True] + 5 * [False], found
    tabs.check(but="types")  # browsers print that they refuse a type
