"""htmx, Datastar, Turbo and fetch-event-source in Chromium, with the lines of docs/client.md, behind nginx.

All of them go the same way at once: a server without room, a deploy, a hidden tab, a server that is away (nginx answers
502), and an end for good. Each event must be shown once, and in order. Two more pages of each library have a user who
may not read the channel, and a cursor that is no longer known.
"""

from __future__ import annotations

import json
import re
import signal

import pytest

from flask_ssemux import Publisher
from tests.apps import recipes
from tests.apps.npm import DATASTAR
from tests.browser.tabs import Tabs
from tests.harness.client import RawStream
from tests.harness.packages import need_from_wheel, need_npm
from tests.harness.waiting import until

LIBRARIES = list(recipes.LIBRARIES)

#: Those that close their stream while the tab is hidden.
CLOSE_WHEN_HIDDEN = ("htmx4", "datastar", "fetch")

#: The users of the other pages: those who may not read the channel, and those with an old cursor.
REFUSED = ["refused-" + name for name in LIBRARIES]
OLD = ["old-" + name for name in LIBRARIES]

#: Those whose lines load the page again after `ssemux.reset`; the others load its list.
RELOADED = ["old-turbo", "old-fetch"]

#: Those whose page tries again for ever after a 403; the others ask once.
ASK_AGAIN = ("refused-htmx1", "refused-htmx2")

#: Those that stop because of a 204; the others close their stream when `ssemux.stop` comes.
STOPPED_BY_204 = ("datastar", "turbo", "fetch")

WAIT = 20
STREAMS = 2
ENV = {"SSEMUX_RETRY": "200", "SSEMUX_MAX_STREAMS_PER_USER": str(STREAMS), "SSEMUX_OVER_USER_LIMIT": "refuse"}


class Pages(Tabs):
    """The pages of all libraries in one Chromium."""

    def count(self, users=LIBRARIES, what="streams"):
        """Return how often each user has asked for a stream since the worker began."""
        counts = json.loads(self.ask("/counts"))[what]
        return {name: counts.get(name, 0) for name in users}

    def wait_asked(self, times, users=LIBRARIES):
        """Wait until each user has asked for a stream so many times since the worker began."""
        until(lambda: min(self.count(users).values()) >= times, WAIT, lambda: repr(self.count(users)))

    def wait_shown(self, *words, users=LIBRARIES):
        """Wait until each page has shown exactly these words."""
        for name in users:
            self.wait_all(name, "shown", count=len(words), timeout=WAIT)
            assert [entry["text"] for entry in self.all(name, "shown")] == list(words), name

    def check_empty(self, users):
        """Check that nothing is visible on these pages, such as the text of an error."""
        for name in users:
            self.command("run", name, code='report({ who, what: "visible", text: document.body.innerText.trim() })')
            assert [entry["text"] for entry in self.wait_all(name, "visible")] == [""]

    def hide(self, hidden):
        for name in CLOSE_WHEN_HIDDEN:
            self.command("run", name, code="hide(%s)" % json.dumps(hidden))


@pytest.fixture
def server(gunicorn):
    need_from_wheel(*DATASTAR)
    for package in ("htmx.org", "htmx1", "htmx4", "htmx-ext-sse", "@hotwired/turbo", "@microsoft/fetch-event-source"):
        need_npm(package)
    return gunicorn("tests.apps.recipes:create_app()", env=ENV)


def take_all_room(server):
    streams = [RawStream(server.port, "/events", {"Host": name + ".localhost"}) for name in LIBRARIES * STREAMS]
    for stream in streams:
        stream.wait_for(b"ssemux.hello", 5)
    return streams


def test_pages_with_the_lines_of_the_document(server, nginx, running, tmp_path):
    publisher = running(Publisher("sqlite:///%s" % (tmp_path / "instance" / "ssemux.sqlite3")))
    proxy = nginx(server.port, "proxy_set_header Host $http_host;")
    pages = running(Pages(server, seconds=100))

    def publish(word):
        for name in LIBRARIES:
            recipes.publish(publisher, name, word)

    in_the_way = take_all_room(server)
    for user in LIBRARIES + REFUSED + OLD:
        pages.command("open", user, path="http://%s.localhost:%d/" % (user, proxy.port))
    pages.wait_asked(STREAMS + 2)
    pages.wait_asked(1, REFUSED)
    pages.wait_shown("state", users=[user for user in OLD if user not in RELOADED])
    until(lambda: set(pages.count(RELOADED, "pages").values()) == {2}, WAIT, lambda: repr(pages.count(OLD, "pages")))
    for user in OLD:
        pages.command("close", user)

    for stream in in_the_way:
        stream.close()
    publish("one")
    pages.wait_shown("one")

    before = pages.count()["turbo"]
    pages.command("run", "turbo", code='Turbo.visit("/")')
    pages.wait_asked(before + 1, ["turbo"])

    workers = server.worker_pids()
    server.signal(signal.SIGHUP)
    server.wait_workers(1, WAIT, gone=workers)
    publish("two")
    pages.wait_shown("one", "two")

    pages.hide(True)
    publish("three")
    pages.wait_shown("one", "two", "three", users=[name for name in LIBRARIES if name not in CLOSE_WHEN_HIDDEN])
    pages.wait_shown("one", "two", users=CLOSE_WHEN_HIDDEN)
    pages.hide(False)
    pages.wait_shown("one", "two", "three")

    server.stop()
    publish("four")
    for name in LIBRARIES:
        until(lambda name=name: re.search(r'" 502 .*//%s\.' % name, proxy.access_log), WAIT, lambda: proxy.access_log)
    server.start()
    pages.wait_shown("one", "two", "three", "four")

    pages.check_empty(REFUSED)
    assert not any(pages.count(user for user in REFUSED if user not in ASK_AGAIN).values())
    before = pages.count()
    pages.ask("/stop", b"")
    after = {name: before[name] + (name in STOPPED_BY_204) for name in LIBRARIES}
    until(lambda: pages.count() == after, WAIT, lambda: repr(pages.count()))
    publish("five")
    pages.let_pass(2, until=lambda script: script.all(what="shown", text="five"))
    assert pages.count() == after
