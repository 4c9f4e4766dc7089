"""Tabs of a browser (tabs.js) on the page of tests/apps/tabs.py. The test sends commands; what the tabs receive is in
`seen`.
"""

from __future__ import annotations

import itertools
import json
import os
import urllib.request

from tests.browser.driver import Script
from tests.harness.packages import need, need_npm
from tests.harness.servers import children
from tests.harness.waiting import until

#: By browser: its Debian package, its program, and the npm package that drives it.
BROWSERS = {
    "chromium": ("chromium", "/usr/bin/chromium", "playwright-core"),
    "firefox": ("firefox-esr", "/usr/bin/firefox-esr", "puppeteer-core"),
}
WAIT = 12
LONG = 30


class Tabs(Script):
    """Pages of one browser, by name; see tabs.js. The test asks their `server` directly; the pages ask it through
    `url`.
    """

    def __init__(self, server, browser="chromium", url=None, seconds=60, settings=None):
        package, program, driver = BROWSERS[browser]
        need_npm(driver)
        self.server, self.browser = server, browser
        self._numbers = itertools.count(1)
        url = url or server.url
        program = need(package, program)
        super().__init__("tabs.js", seconds, browser=browser, program=program, url=url, settings=settings or {})

    def command(self, do, name=None, **more):
        """Send a command, and wait until it is done."""
        command = {"do": do, "name": name, **more}
        self._process.stdin.write(json.dumps(command).encode() + b"\n")
        self._process.stdin.flush()
        self.wait_all("driver", "done", number=next(self._numbers), timeout=LONG)  # the first one starts the browser

    def open(self, name, *channels, site="", query=None, **options):
        """Open a tab that reads these channels, and wait until it does. `site` replaces the URL that the other tabs
        use.
        """
        query = {"channels": ",".join(channels), "options": json.dumps(options), **(query or {})}
        self.command("open", name, path=site + "/tab", query=query)
        self.wait_all(name, "state", state="open", timeout=WAIT)

    def go(self, name, code, what, **more):
        """Make a tab's page navigate by its own script, and wait for what is reported then."""
        before = len(self.all(what=what, **more))
        self.command("run", name, code="void setTimeout(() => { %s })" % code)
        self.wait_for(lambda _: len(self.all(what=what, **more)) > before, WAIT)

    def again(self, *names, state="open"):
        """Return a context manager during which these tabs enter the state once more."""
        return _Again(self, names, state)

    def signal(self, number):
        """Send a signal to all processes of the browser."""
        for pid in _descendants(self._process.pid):
            os.kill(pid, number)

    def open_lockless(self, name, *channels):
        """Open a tab in which the browser has locks but grants none."""
        self.command("open", name, path="/tab", query={"channels": ",".join(channels), "lockless": ""})
        self.wait_all(name, "state", state="open", timeout=WAIT)

    def say(self, *channels, count=1):
        """Publish the next numbers; return how many there are now, by channel."""
        query = "&".join("channel=" + channel for channel in channels)
        return json.loads(self.ask(f"/say?count={count}&{query}", b""))

    def be_patient(self):
        """Send all streams a `retry:` longer than any test, so that only what the clients notice themselves makes them
        reconnect.
        """
        self.ask(f"/patience?seconds={LONG}", b"")

    def ask(self, path, body=None):
        with urllib.request.urlopen(self.server.url + path, body, timeout=5) as answer:
            return answer.read()

    def streams(self):
        """Return the channels of each stream that the server has."""
        return json.loads(self.ask("/streams"))["streams"]

    def wait_streams(self, count, *channels):
        wanted = {*channels, "*"}
        until(lambda: [set(found) for found in self.streams()] == [wanted] * count, WAIT, lambda: repr(self.streams()))

    def numbers(self, name, channel):
        """Return what a tab received on a channel; None is everyone's channel."""
        return [json.loads(e["data"]) for e in self.all(name, "event", name="n") if e.get("channel") == channel]

    def wait_number(self, number, channel, *names):
        """Wait until these tabs have received it; then check that they received everything exactly once."""
        for name in names:
            self.wait_for(lambda _, name=name: number in self.numbers(name, channel), WAIT)
            heard = self.numbers(name, channel)
            assert heard == list(range(heard[0], number + 1)), (name, self.describe())

    def find_leaders(self, number, channel):
        """Return which tabs were the leader when they received the number."""
        found = [e for e in self.all(what="event", name="n", leader=True) if e.get("channel") == channel]
        return [e["who"] for e in found if json.loads(e["data"]) == number]

    def wait_leader(self, name, leader=True):
        """Wait until a tab was told last that it is the leader, or that it is not."""
        self.wait_for(lambda _: [e["leader"] for e in self.all(name, "leader")][-1:] == [leader], WAIT)
        assert all(entry["same"] for entry in self.all(name, "leader"))

    def check(self, but=None):
        """Check that no page printed an error, besides one of this name."""
        errors = self.all(what="console") + self.all(what="thrown")
        assert all(error["who"] == but for error in errors), self.describe()


class _Again:
    """Waits at its end until these tabs have entered the state since its beginning."""

    def __init__(self, tabs, names, state):
        self._tabs, self._names, self._state = tabs, names, state

    def _count(self, name):
        return len(self._tabs.all(name, "state", state=self._state))

    def __enter__(self):
        self._before = {name: self._count(name) for name in self._names}

    def __exit__(self, kind, *_):
        if kind is None:
            for name, before in self._before.items():
                self._tabs.wait_for(lambda _, name=name, before=before: self._count(name) > before, WAIT)


def _descendants(pid):
    for child in children(pid):
        yield child
        yield from _descendants(child)
