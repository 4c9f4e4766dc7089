"""ssemux.js on unusual pages: with blocked cookies, with `<base href>`, in frames and windows without a URL.

The browser's own EventSource works on such pages, and so does ssemux.js.
"""

from __future__ import annotations

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
def test_urls_are_resolved_as_event_source_does(running, server, browser):
    tabs = running(Tabs(server, browser))
    for page, make in PAGES.items():
        tabs.open("page of " + page)
        tabs.command("run", "page of " + page, code="{%s}" % CODE.replace("PAGE", page).replace("MAKE", make))
        tabs.wait_all(page, "state", state="open", timeout=WAIT)
    tabs.say("room:1", count=3)
    tabs.wait_number(3, "room:1", *PAGES)
    tabs.check()
