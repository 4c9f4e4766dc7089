"""What other people's clients do by their defaults: the table of docs/client.md, each cell measured with the client.

A script (tests/apps/scripted.py) is what the server answers to a client, one answer after the other. It is done when
the client has asked for the last answer, or has given up.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import importlib
import json
import re
import threading
import urllib.request

import aiohttp
import httpx
import httpx_sse
import pytest
import requests
import sseclient
from aiohttp_sse_client.client import EventSource

from tests.apps.npm import DATASTAR
from tests.apps.scripted import WORDS
from tests.browser.driver import Script
from tests.browser.tabs import Tabs
from tests.clients.read import load_sseclient
from tests.harness.document import modules
from tests.harness.packages import need_from_wheel, need_npm
from tests.harness.servers import ROOT, Gunicorn
from tests.harness.waiting import until

WAIT = 30
SECONDS = 90

#: By client: how its line in the document begins.
CHROMIUM = {
    "mux": "`ssemux.js`",
    "native": "`EventSource`",
    "polyfill": "`event-source-polyfill`",
    "fetched": "`@microsoft/fetch-event-source`",
    "htmx1": "htmx 1.9",
    "htmx2": "htmx 2",
    "htmx4": "htmx 4",
    "datastar": "Datastar",
    "turbo": "Turbo",
}
FIREFOX = {"firefox": "`EventSource`"}
NODE = {"eventsource": "npm's `eventsource` 3", "eventsource2": "npm's `eventsource` 2"}
PYTHON = {
    "httpx_sse": "`httpx-sse`",
    "sseclient_py": "`sseclient-py`",
    "sseclient": "`sseclient` ",
    "aiohttp_sse_client": "`aiohttp-sse-client`",
}

#: Those for which a clean end is the end.
END_FOR_GOOD = ("fetched", "datastar", "httpx_sse", "sseclient_py")

#: By client: its function in script_clients.js, if it has another name.
FUNCTIONS = {"firefox": "native"}

#: The script in which a client meets a clean end.
END = "end,live"


def list_scripts(client):
    """Return the scripts for the table's columns: a clean end, a 502, a 204."""
    return [END, "502,live", "204,live"] if client in END_FOR_GOOD else [END, "end,502,live", "end,204,live"]


@pytest.fixture(scope="module")
def table():
    """The document's table: the cells of a line, by the line's first cell."""
    text = (ROOT / "docs" / "client.md").read_text(encoding="utf-8")
    lines = re.search(r"^\| client \|.*\n\|-.*\n((?:\|.*\n)+)", text, re.M).group(1).splitlines()
    cells = [[cell.strip() for cell in re.split(r"(?<!\\)\|", line.strip("|"))] for line in lines]
    return {row[0]: row[1:] for row in cells}


class Measured:
    """What the clients do, as far as they have come. Each report has `who`, `script`, `what` and `data`."""

    def __init__(self, server, list_reports):
        self.server, self.list_reports = server, list_reports

    def ask(self):
        """Return the ids that the clients sent, by client and script."""
        with urllib.request.urlopen(self.server.url + "/asked", timeout=5) as answer:
            return json.load(answer)

    def has_given_up(self, client, script):
        return any(
            (report["who"], report.get("script"), report["what"]) == (client, script, "over")
            for report in self.list_reports()
        )

    def is_done(self, client, script):
        asked = self.ask().get("%s-%s" % (client, script), [])
        return len(asked) == len(script.split(",")) or self.has_given_up(client, script)

    def describe(self):
        return "%s %s" % (self.ask(), self.list_reports())

    def wait(self, clients):
        for client in clients:
            for script in list_scripts(client):
                until(functools.partial(self.is_done, client, script), WAIT, self.describe)

    def list_cells(self, client):
        """Return the words of the client's line in the table."""
        return [*(self.name_outcome(client, script) for script in list_scripts(client)), self.name_heartbeat(client)]

    def name_outcome(self, client, script):
        ids = self.ask()["%s-%s" % (client, script)]
        if len(ids) < len(script.split(",")):
            return "ends" if script == END else "stops"
        is_resumed = bool(ids[-1]) or client in END_FOR_GOOD and script != END
        return ("resumes" if script == END else "asks again") + ("" if is_resumed else ", without the cursor")

    def name_heartbeat(self, client):
        texts = {
            report["data"]
            for report in self.list_reports()
            if (report["who"], report.get("script"), report["what"]) == (client, END, "message")
        }
        assert "one" in texts, texts
        return "an empty message" if "" in texts else "nothing"


def check(measured, clients, table):
    measured.wait(clients)
    found = {start: measured.list_cells(client) for client, start in clients.items()}
    written = {start: row[:4] for start in clients.values() for name, row in table.items() if name.startswith(start)}
    assert found == written


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """One server for all tests: each client has scripts of its own."""
    instance = str(tmp_path_factory.mktemp("instance"))
    env = {"SSEMUX_RETRY": "50", "SSEMUX_HEARTBEAT": "1", "SSEMUX_CLIENT_TIMEOUT": "6", "INSTANCE_PATH": instance}
    # PyPI's sseclient notices the end of an answer only when the connection is closed.
    with Gunicorn("tests.apps.scripted:create_app()", args=("--keep-alive", "0"), env=env) as server:
        yield server


@pytest.mark.parametrize("browser, clients", [("chromium", CHROMIUM), ("firefox", FIREFOX)])
def test_clients_in_browsers(running, server, table, browser, clients):
    need_from_wheel(*DATASTAR)
    need_npm("htmx4")
    tabs = running(Tabs(server, browser, seconds=SECONDS))
    for client in clients:  # each has a host of its own: browsers open six connections to a host
        path = "http://%s.localhost:%d/page" % (client, server.port)
        tabs.command(
            "open",
            client,
            path=path,
            query={"client": FUNCTIONS.get(client, client), "scripts": ";".join(list_scripts(client))},
        )
    check(Measured(server, tabs.all), clients, table)


def test_clients_in_node(running, server, table):
    need_npm("eventsource2")
    scripts = sorted({script for client in NODE for script in list_scripts(client)})
    node = Script("node_clients.js", SECONDS, url=server.url, packages=list(NODE), scripts=scripts)
    check(Measured(server, running(node).all), NODE, table)


def test_clients_in_python(server, table):
    reports = []
    threads = [
        threading.Thread(target=read, args=(reports.append, server.url, client, script))
        for client in PYTHON
        for script in list_scripts(client)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(WAIT)
    check(Measured(server, lambda: list(reports)), PYTHON, table)


def test_the_loop_of_the_document_in_python(server, tmp_path, monkeypatch):
    modules("client.md", tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    follow = importlib.import_module("follow").follow
    url = server.url + "/scripts/%s?answers=%s"
    events = [event for event in follow(url % ("loop", "end,502,later,end,204")) if event.event == "message"]
    assert [event.data for event in events] == ["one", "four"]
    first, last = (event.id for event in events)
    assert Measured(server, list).ask()["loop"] == ["", first, first, first, last]
    with pytest.raises(httpx.HTTPStatusError, match="403"):
        next(follow(url % ("refused", "403")))


def read(report, base, client, script):
    """Read a script with a client, as the client's documentation shows it, until it ends, fails or has all it wants."""
    url = "%s/scripts/%s-%s?answers=%s" % (base, client, script, script)
    last_word = WORDS[script.count(",")]
    with contextlib.suppress(httpx_sse.SSEError, requests.HTTPError, OSError), contextlib.closing(
        READ[client](url)
    ) as it:
        for event, data in it:
            if event in (None, "message"):
                report({"who": client, "script": script, "what": "message", "data": data})
            if data == last_word:
                return
    report({"who": client, "script": script, "what": "over"})


def read_with_httpx_sse(url):
    with httpx.Client(timeout=WAIT) as client, httpx_sse.connect_sse(client, "GET", url) as source:
        for message in source.iter_sse():
            yield message.event, message.data


def read_with_sseclient_py(url):
    with httpx.stream("GET", url, timeout=WAIT) as response:
        for message in sseclient.SSEClient(response.iter_bytes()).events():
            yield message.event, message.data


def read_with_sseclient(url):
    with requests.Session() as session:
        client = load_sseclient().SSEClient(url, session=session)
        try:
            for message in client:
                yield message.event, message.data
        finally:
            client.resp.close()


def read_with_aiohttp_sse_client(url):
    async def collect():
        async with aiohttp.ClientSession() as session, EventSource(url, session=session) as source:
            async for message in source:
                found.append((message.type, message.data))
                if message.data == last_word:
                    return

    found, last_word = [], WORDS[url.rpartition("=")[2].count(",")]
    try:
        asyncio.run(collect())
    finally:
        yield from found


READ = {
    "httpx_sse": read_with_httpx_sse,
    "sseclient_py": read_with_sseclient_py,
    "sseclient": read_with_sseclient,
    "aiohttp_sse_client": read_with_aiohttp_sse_client,
}
