"""React, Vue, htmx and Datastar over one connection: the pages of docs/frameworks.md in Chromium, exactly as printed.

React's and Vue's pages are built by Vite. All pages are tabs of one browser, so the server has one stream for all of
them, and one for the page that Vite's development server has: that is another origin.
"""

from __future__ import annotations

import signal
import urllib.parse

import pytest

from tests.apps.npm import DATASTAR
from tests.browser.client_package import link_packages, pack
from tests.browser.command import run
from tests.browser.tabs import Tabs
from tests.harness.document import files
from tests.harness.packages import NODE_MODULES, need_from_wheel, need_node, need_npm
from tests.harness.servers import ROOT, Server
from tests.harness.waiting import until

PAGES = {
    "react": "/static/app/react.html",
    "vue": "/static/app/vue.html",
    "htmx1": "/page/htmx?version=1",
    "htmx2": "/page/htmx?version=2",
    "htmx4": "/page/htmx4?version=4",
    "datastar": "/page/datastar",
}
DEVELOPED = "developed"
CHANNELS = {"*", "news", "news:htmx", "news:htmx4", "news:datastar"}

#: In the page: what makes it leave its channel.
LEAVE = {
    "react": "document.querySelector('button').click()",
    "vue": "document.querySelector('button').click()",
    "htmx1": "htmx.remove(document.querySelector('[sse-connect]'))",
    "htmx2": "htmx.swap('[sse-connect]', '', { swapStyle: 'delete' })",
    "htmx4": "htmx.swap({ target: document.querySelector('ul'), swap: 'delete', text: '' })",
    "datastar": "document.querySelector('[data-ssemux]').remove()",
}

#: In a page of htmx: an element whose channel may not be read.
REFUSED = """
    document.addEventListener("htmx:sseError", ({ detail }) =>
        report({ who: "refused", what: "error", url: detail.source.url, readyState: detail.source.readyState }));
    document.body.insertAdjacentHTML("beforeend", "<div hx-ext='sse' sse-connect='/events?channel=secret'></div>");
    htmx.process(document.body.lastElementChild);
"""

#: In the page of Datastar: another value of a signal.
SIGNAL = """import("/static/datastar.js").then(({ mergePatch }) => mergePatch({ form: "%s" }))"""

#: In the page: report each item of the list.
WATCH = """(() => {
    const tell = (node) => node.tagName === "LI" && report({ who: "NAME", what: "shown", text: node.textContent });
    const look = (node) => node.querySelectorAll && [node, ...node.querySelectorAll("li")].forEach(tell);
    look(document.body);
    new MutationObserver((changes) => changes.forEach(({ addedNodes }) => addedNodes.forEach(look)))
        .observe(document.body, { childList: true, subtree: true });
})()"""

WAIT = 30

#: A client that polls, because the server started slowly after the deploy, changes channels and tries a stream within a
#: heartbeat interval.
ENV = {"SSEMUX_RETRY": "200", "SSEMUX_HEARTBEAT": "1", "SSEMUX_CLIENT_TIMEOUT": "3", "PYTHONPATH": str(ROOT)}


class Vite(Server):
    """Vite's development server, for the pages of a folder."""

    name = "vite"

    def command(self):
        vite = NODE_MODULES / "vite" / "bin" / "vite.js"
        return [need_node(22), str(vite), "--host", "127.0.0.1", "--port", str(self.port), "--strictPort"]

    def ready(self):
        return "ready in" in self.log


class Pages(Tabs):
    """The pages of the document, by name."""

    def show(self, name, path):
        self.command("open", name, path=path)
        self.command("run", name, code=WATCH.replace("NAME", name))

    def publish(self, title):
        self.ask("/publish", urllib.parse.urlencode({"title": title}).encode())

    def wait_shown(self, *titles, names=(*PAGES, DEVELOPED)):
        """Wait until each page has shown exactly these titles."""
        for name in names:
            self.wait_all(name, "shown", count=len(titles), timeout=WAIT)
            assert [entry["text"] for entry in self.all(name, "shown")] == list(titles), self.describe()

    def wait_channels(self, *streams):
        """Wait until the server has exactly these streams, each given by its channels."""
        wanted = sorted(map(sorted, streams))
        until(lambda: sorted(map(sorted, self.streams())) == wanted, WAIT, lambda: repr(self.streams()))


@pytest.fixture
def folder(tmp_path):
    """The files of the document, with the package and what builds the pages."""
    files("frameworks.md", tmp_path)
    (tmp_path / "package.json").write_text('{"type": "module"}')
    pack(tmp_path / "node_modules" / "flask-ssemux")
    link_packages(tmp_path, "vite", "react", "react-dom", "vue", "@vitejs/plugin-react", "@vitejs/plugin-vue")
    for package in ("htmx.org", "htmx1", "htmx4", "htmx-ext-sse"):
        need_npm(package)
    need_from_wheel(*DATASTAR)
    return tmp_path


def test_pages_of_all_frameworks_share_one_connection(folder, gunicorn, running):
    run(need_node(22), NODE_MODULES / "vite" / "bin" / "vite.js", "build", cwd=folder)
    server = gunicorn("tests.apps.frameworks:create_app()", env=ENV, cwd=folder)
    vite = running(Vite({"FLASK": server.url}, cwd=folder))
    pages = running(Pages(server, seconds=200))
    for name, path in PAGES.items():
        pages.show(name, path)
    pages.show(DEVELOPED, vite.url + PAGES["react"])
    pages.wait_channels(CHANNELS, {"*", "news"})

    pages.publish("one")
    pages.wait_shown("one")

    workers = server.worker_pids()
    server.signal(signal.SIGHUP)
    server.wait_workers(1, WAIT, gone=workers)
    pages.publish("two")
    pages.wait_shown("one", "two")

    pages.command("run", "htmx2", code=REFUSED)
    pages.wait_all("refused", "error", timeout=WAIT)
    pages.command("run", "datastar", code=SIGNAL % "htmx")
    pages.wait_channels(CHANNELS - {"news:datastar"}, {"*", "news"})
    pages.command("run", "datastar", code=SIGNAL % "datastar")
    pages.wait_channels(CHANNELS, {"*", "news"})
    pages.publish("again")
    pages.wait_shown("one", "two", "again")
    assert [urllib.parse.urlsplit(error["url"]).query for error in pages.all("refused", "error")] == ["channel=secret"]

    for name, code in LEAVE.items():
        pages.command("run", name, code=code)
    pages.publish("three")  # the extension of htmx 1.9 notices at an event that its element is gone
    pages.wait_channels({"*"}, {"*", "news"})
    pages.wait_shown("one", "two", "again", "three", names=[DEVELOPED])
    for name in ("react", "vue"):
        pages.command("run", name, code=LEAVE[name])  # the same button shows the list again
    pages.wait_channels({"*", "news"}, {"*", "news"})
    pages.publish("four")
    pages.wait_shown("one", "two", "again", "four", names=["react", "vue"])
    pages.wait_shown("one", "two", "again", names=["htmx1", "htmx2", "htmx4", "datastar"])

    for name in ("htmx2", "htmx4"):
        pages.show("old-" + name, PAGES[name] + "&cursor=unknown-1")
        pages.wait_shown("the list as it is now", names=["old-" + name])
    assert not pages.all(what="thrown"), pages.describe()
