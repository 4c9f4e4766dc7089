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
import subprocess
import threading
import urllib.request

import aiohttp
import aiohttp_sse_client.client
import aiohttp_sse_client2.client
import httpx
import httpx_sse
import pytest
import requests
import sseclient

from tests.apps.npm import DATASTAR
from tests.apps.scripted import WORDS
from tests.browser.driver import Script
from tests.browser.tabs import Tabs
from tests.clients.programs import CLIENTS, Programs, Reader
from tests.clients.read import load_sseclient
from tests.harness.document import modules
from tests.harness.packages import need, need_from_wheel, need_npm, need_python
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
    "reconnecting": "npm's `reconnecting-eventsource`",
    "vueuse": "`useEventSource`",
    "ssejs": "npm's `sse.js`",
    "htmx1": "htmx 1.9",
    "htmx2": "htmx 2",
    "htmx4": "htmx 4",
    "datastar": "Datastar",
    "turbo": "Turbo",
}
FIREFOX = {"firefox": "`EventSource`"}
NODE = {
    **dict.fromkeys(["eventsource", "eventsource4", "eventsource5"], "npm's `eventsource` 3"),
    **dict.fromkeys(["eventsource2", "eventsource1"], "npm's `eventsource` 2"),
    **dict.fromkeys(["eventsource-client", "launchdarkly-eventsource"], "npm's `eventsource-client`"),
}
PYTHON = {
    "httpx_sse": "`httpx-sse`",
    "sseclient_py": "`sseclient-py`",
    "sseclient": "`sseclient` ",
    "aiohttp_sse_client": "`aiohttp-sse-client`",
    "aiohttp_sse_client2": "`aiohttp-sse-client`",
}
GO = {"go": "Go's"}

#: Those for which a clean end is the end.
END_FOR_GOOD = ("fetched", "datastar", "ssejs", "httpx_sse", "sseclient_py")

#: By client: its function in script_clients.js, if it has another name.
FUNCTIONS = {"firefox": "native"}

#: What the document says beside their lines: sse.js with its option, and reconnecting-eventsource with `onmessage`.
BESIDE = {
    "ssejsagain": ["resumes", "asks again", "asks again"],
    "reconnectingplain": ["resumes", "asks again, without the cursor", "asks again, without the cursor"],
}

#: By language: the key of the answers to this package.
OPENAI = {"JavaScript": "openai", "Python": "openai-python"}

QUESTION = [{"role": "user", "content": "Tell me a tale"}]

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
    found = {client: measured.list_cells(client) for client in clients}
    assert found == {client: find_row(table, start)[:4] for client, start in clients.items()}


def check_openai(measured, table, language, ends):
    """One request is answered with the beginning of an answer and with a 204, and three with a 502."""
    end, bad_gateway, gone, heartbeat = find_row(table, "`openai`")[:4]
    asked = {key: len(ids) for key, ids in measured.ask().items()}
    assert [asked["%s-%s" % (OPENAI[language], kind)] for kind in ends] == [1, 3, 1]
    messages = [
        report for report in measured.list_reports() if (report["who"], report["what"]) == ("openai", "message")
    ]
    assert [(report["script"], report["data"]) for report in messages] == [("end", "one")]
    assert (end, bad_gateway, heartbeat) == ("ends: the answer is complete", "sends the POST again, twice", "nothing")
    assert gone == "ends (Python), or raises" and (ends["204"] == "ended") == (language == "Python")


def find_row(table, start):
    (row,) = (row for name, row in table.items() if name.startswith(start))
    return row


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
    beside = BESIDE if browser == "chromium" else {}
    for client in [*clients, *beside]:  # each has a host of its own: browsers open six connections to a host
        path = "http://%s.localhost:%d/page" % (client, server.port)
        tabs.command(
            "open",
            client,
            path=path,
            query={"client": FUNCTIONS.get(client, client), "scripts": ";".join(list_scripts(client))},
        )
    measured = Measured(server, tabs.all)
    check(measured, clients, table)
    measured.wait(beside)
    assert {client: measured.list_cells(client)[:3] for client in beside} == beside


def test_clients_in_node(running, server, table):
    need_npm("eventsource5")
    scripts = sorted({script for client in NODE for script in list_scripts(client)})
    wish = {"url": server.url, "packages": list(NODE), "scripts": scripts, "answers": ["end", "502", "204"]}
    node = running(Script("node_clients.js", SECONDS, **wish))
    measured = Measured(server, node.all)
    check(measured, NODE, table)
    until(lambda: len(node.all("openai", "over")) == 3, WAIT, measured.describe)
    check_openai(measured, table, "JavaScript", {"end": "ended", "502": "raised", "204": "raised"})


def test_openai_in_python(server, table):
    reports = []
    ends = {kind: ask_openai(reports.append, server.url, kind) for kind in ("end", "502", "204")}
    measured = Measured(server, lambda: reports)
    check_openai(measured, table, "Python", ends)
    assert ends == {"end": "ended", "502": "raised", "204": "ended"}


def test_clients_in_go(server, table, tmp_path):
    scripts = [*list_scripts("go"), "502"]
    (client,) = (client for client in CLIENTS if client.kind == "Go")
    url = server.url + "/scripts/go-%s?answers=%s"
    readers = {script: Reader(client, url % (script, script)) for script in scripts}

    def list_reports():
        return [
            {"who": "go", "script": script, "what": "over" if "error" in line else "message", "data": line.get("data")}
            for script, reader in readers.items()
            for line in list(reader.lines)
            if line.get("event", "message") == "message"
        ]

    with Programs(list(readers.values()), tmp_path) as programs:
        measured = Measured(server, list_reports)
        measured.wait(GO)
        programs.wait_all(lambda reader: reader is not readers["502"] or reader.errors, "no error")
        found = measured.list_cells("go")
    assert len(measured.ask()["go-502"]) == 1
    found[1] += "; the first request returns an error"
    assert found == find_row(table, GO["go"])[:4]


def test_curl(server, table):
    ends = {kind: curl(server, kind) for kind in ("end", "502", "204")}
    failed = curl(server, "502", "-f")
    assert (ends["end"][0], ends["204"]) == (0, (0, "")) and "data: one\n" in ends["end"][1]
    assert ends["502"][0] == 0 and "502 Bad Gateway" in ends["502"][1] and failed == (22, "")
    assert ": heartbeat\n" in ends["end"][1]
    assert find_row(table, "`curl -N`")[:4] == ["ends", "prints it; `-f`: exit status 22", "ends", "prints it"]


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


def ask_openai(report, base, kind):
    """Ask a model with the package `openai` by its defaults, and return how the answer ends."""
    openai = need_python("openai", "openai")
    with openai.OpenAI(api_key="none", base_url="%s/answers/openai-python/%s" % (base, kind)) as client:
        try:
            for chunk in client.chat.completions.create(model="tale", messages=QUESTION, stream=True):
                report({"who": "openai", "script": kind, "what": "message", "data": chunk.choices[0].delta.content})
        except openai.OpenAIError:
            return "raised"
    return "ended"


def curl(server, kind, *options):
    """Return the exit status of curl, and what it printed of a script of one answer."""
    url = "%s/scripts/curl-%s%s?answers=%s" % (server.url, kind, "".join(options), kind)
    done = subprocess.run(
        [need("curl", "curl"), "-sN", *options, url], stdout=subprocess.PIPE, text=True, timeout=WAIT, check=False
    )
    return done.returncode, done.stdout


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


def read_with_aiohttp_sse_client(url, source_class=aiohttp_sse_client.client.EventSource):
    async def collect():
        async with aiohttp.ClientSession(trace_configs=[trace]) as session:
            try:
                async with source_class(url, session=session) as source:
                    async for message in source:
                        found.append((message.type, message.data))
                        if message.data == last_word:
                            return
            finally:
                for answer in answers:
                    answer.close()

    async def keep(session, context, request):
        answers.append(request.response)

    # The client leaves an answer that it refuses open, which Python would report in the midst of another test.
    answers, trace = [], aiohttp.TraceConfig()
    trace.on_request_end.append(keep)
    found, last_word = [], WORDS[url.rpartition("=")[2].count(",")]
    try:
        asyncio.run(collect())
    finally:
        yield from found


def read_with_aiohttp_sse_client2(url):
    return read_with_aiohttp_sse_client(url, aiohttp_sse_client2.client.EventSource)


READ = {
    "httpx_sse": read_with_httpx_sse,
    "sseclient_py": read_with_sseclient_py,
    "sseclient": read_with_sseclient,
    "aiohttp_sse_client": read_with_aiohttp_sse_client,
    "aiohttp_sse_client2": read_with_aiohttp_sse_client2,
}
