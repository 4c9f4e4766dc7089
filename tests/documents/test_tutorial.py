"""The tutorial from its first page to its last, as a reader does it: its files, its commands, and what they print.

One shop, one browser and two terminals. The environment of the tests stands for the one that the tutorial installs:
`tests/test_readme.py` installs, by the same commands.
"""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

import pytest

from tests.browser.tabs import Tabs
from tests.documents.terminal import Foreground, Terminal, shows
from tests.harness.document import block, command, files
from tests.harness.ports import free_port
from tests.harness.servers import ROOT, environment
from tests.harness.waiting import until

WAIT = 20

#: What a tab reports: its text, at each change.
TELL = """
  const who = "%s", tell = () => report({ who, what: "text", text: document.body.innerText.trim() });
  new MutationObserver(tell).observe(document.body, { childList: true, characterData: true, subtree: true });
  tell();
"""

WHICH_WORKER = r"^worker +(\d+) .*streams 1$"


class Reader:
    """Somebody who follows the tutorial in an empty folder."""

    def __init__(self, folder: Path, running) -> None:
        self.folder, self.port, self._running = folder, free_port(), running
        path = "%s:%s" % (Path(sys.executable).parent, os.environ["PATH"])
        (folder / ".curlrc").write_text("silent\nshow-error\n", encoding="utf-8")  # as curl is in a terminal
        bind = "--bind 127.0.0.1:%d" % self.port
        # A reader waits for 3 s, a test need not.
        options = {"GUNICORN_CMD_ARGS": bind, "SSEMUX_RETRY": "500"}
        self.env = environment({"PATH": path, "CURL_HOME": str(folder), **options})
        (folder / ".venv" / "bin").mkdir(parents=True)
        (folder / ".venv" / "bin" / "activate").write_text("PATH=%s\n" % path, encoding="utf-8")
        self._terminal = running(Terminal(folder, self.env))

    @property
    def url(self) -> str:
        return "http://127.0.0.1:%d" % self.port

    def start(self, line: str, page: str) -> Foreground:
        """Start a command that goes on, and wait until it has printed what the page shows."""
        line = line.replace("127.0.0.1:8000", "127.0.0.1:%d" % self.port)
        return self._running(Foreground(line, page, self.folder, self.env))

    def type(self, *lines: str) -> str:
        """Type commands into the second terminal, and return what the last one printed."""
        for line in lines:
            printed = self._terminal.type(line.replace("127.0.0.1:8000", "127.0.0.1:%d" % self.port))
        return printed

    def see(self, shown: str, *lines: str) -> str:
        """Type commands, and check that the page shows what the last one prints."""
        printed = self.type(*lines)
        assert shows(printed, shown), printed
        return printed


class Browser(Tabs):
    """The tabs of the tutorial."""

    def visit(self, name: str, url: str) -> None:
        self.command("open", name, path=url)
        self.command("run", name, code=TELL % name)

    def wait_text(self, name: str, *lines: str) -> None:
        """Wait until a tab shows just these lines."""
        self.wait_for(lambda _: self.list_texts(name)[-1] == " ".join(lines), WAIT)

    def wait_seen(self, name: str, *lines: str) -> None:
        """Wait until a tab has shown just these lines at any time."""
        self.wait_for(lambda _: " ".join(lines) in self.list_texts(name), WAIT)

    def list_texts(self, name: str) -> list[str]:
        return [" ".join(entry["text"].split()) for entry in self.all(name, "text")]


@pytest.fixture
def reader(tmp_path, running):
    return Reader(tmp_path, running)


@pytest.fixture
def browser(reader, running):
    return running(Browser(reader, seconds=90))


def test_the_tutorial_as_a_reader_does_it(reader, browser):
    # A page that is live
    reader.type(command("tutorial/live-page.md", "mkdir templates"))
    files("tutorial/live-page.md", reader.folder)
    server = reader.start(command("tutorial/live-page.md", "gunicorn "), block("tutorial/live-page.md", "text", "["))
    browser.visit("shop", reader.url + "/")
    browser.wait_text("shop", "The connection is open.")
    reader.see(block("tutorial/live-page.md", "text", "sold"), command("tutorial/live-page.md", "curl -X POST"))
    sold = ["sold: lamp"]
    browser.wait_text("shop", "The connection is open.", *sold)

    # Two workers
    files("tutorial/two-workers.md", reader.folder)
    server.press_ctrl_c()
    server = reader.start(
        command("tutorial/two-workers.md", "gunicorn "), block("tutorial/two-workers.md", "text", "[")
    )
    browser.wait_text("shop", "The connection is open.", *sold)
    reader.see(block("tutorial/two-workers.md", "text", "sold by"), command("tutorial/two-workers.md", "for n in"))
    sold *= 7
    browser.wait_text("shop", "The connection is open.", *sold)
    reader.type(command("tutorial/two-workers.md", ". .venv"), command("tutorial/two-workers.md", "export FLASK_APP"))
    worker = wait_worker(reader)

    # A reconnect
    kill = command("tutorial/reconnect.md", "kill -9 4277; ").replace("4277", worker)
    reader.see(block("tutorial/reconnect.md", "text", "sold by"), kill)
    browser.wait_seen("shop", "The connection is connecting.", *sold)
    sold += ["sold: lamp"]
    browser.wait_text("shop", "The connection is open.", *sold)
    server.wait_log(r"was sent SIGKILL", WAIT)
    server.wait_log(r"SIGKILL[^$]*Booting worker", WAIT)
    assert shows(server.log, block("tutorial/reconnect.md", "text", "["))

    # How it works
    sold = read_without_a_browser(reader, browser, sold)

    # A user's own events
    files("tutorial/own-events.md", reader.folder)
    server.press_ctrl_c()
    server = reader.start(
        command("tutorial/two-workers.md", "gunicorn "), block("tutorial/two-workers.md", "text", "[")
    )
    browser.command("close", "shop")
    browser.visit("ann", reader.url + "/login/ann")
    browser.visit("ben", "http://ben.localhost:%d/login/ben" % reader.port)
    for name in ("ann", "ben"):
        browser.wait_text(name, "Hello %s. The connection is open." % name)
    ship = command("tutorial/own-events.md", "curl -X POST http://127.0.0.1:8000/ship")
    sell = command("tutorial/own-events.md", "curl -X POST http://127.0.0.1:8000/sell")
    assert shows(reader.type(ship) + reader.type(sell), block("tutorial/own-events.md", "text", "ann was"))
    browser.wait_text("ann", "Hello ann. The connection is open.", "Your lamp is on its way.", "sold: lamp")
    browser.wait_text("ben", "Hello ben. The connection is open.", "sold: lamp")
    refused = block("tutorial/own-events.md", "text", "HTTP/1.1 403")
    reader.see(refused, command("tutorial/own-events.md", "curl -i"))
    assert browser.all(what="thrown") == []


def wait_worker(reader):
    """Return the process id of the worker that has the page's stream, once the status shows it."""
    which, shown = (
        command("tutorial/two-workers.md", "flask ssemux status"),
        block("tutorial/two-workers.md", "text", "worker"),
    )
    assert command("tutorial/reconnect.md", "flask ssemux status") == which
    printed = until(lambda: [out for out in [reader.type(which)] if re.search(WHICH_WORKER, out, re.M)], WAIT, which)[0]
    assert shows(printed, shown)
    assert block("tutorial/reconnect.md", "text", "worker") == shown
    return re.search(WHICH_WORKER, printed, re.M)[1]


def read_without_a_browser(reader, browser, sold):
    """Read the stream by curl, leave it, and come back; return what the page shows then."""
    sell = command("tutorial/live-page.md", "curl -X POST")
    shown = block("tutorial/reconnect.md", "text", "retry: 1920")
    curl = reader.start(command("tutorial/reconnect.md", 'curl -N "http'), shown.split("\nevent: sale")[0])
    reader.type(sell)
    curl.wait_log(r"event: sale\n(?:.+\n)+\n", WAIT)
    assert shows(curl.log, shown)
    seen = re.findall(r"^id: (.+)$", curl.log, re.M)[-1]
    curl.press_ctrl_c()
    reader.type(sell, sell)
    back = command("tutorial/reconnect.md", "curl -N -H").replace("ncxzphfk-1795955740868942", seen)
    reader.start(back, block("tutorial/reconnect.md", "text", "retry: 1830"))
    sold = sold + ["sold: lamp"] * 3
    browser.wait_text("shop", "The connection is open.", *sold)
    return sold


def test_the_first_commands_are_those_of_the_readme():
    """`tests/test_readme.py` runs them, in an empty folder and with an empty environment."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert command("tutorial/live-page.md", "mkdir shop") in readme
    assert command("tutorial/live-page.md", "python3 -m venv") in readme
    assert command("tutorial/live-page.md", "pip install") in readme
