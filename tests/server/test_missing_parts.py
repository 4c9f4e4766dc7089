"""Streams where something is missing: on other systems, and with a gevent or gunicorn whose private parts were renamed.

The parts are renamed throughout the sources of the package that has them, as a later version might do it.
"""

from __future__ import annotations

import re

import pytest

from tests.harness.waiting import until
from tests.harness.without import MACOS, WINDOWS, Lack

SENTENCE = "lack %s, so %s; everything else works (flask_ssemux was tested with versions up to "
BY_GENERATOR = "streams go by the generator transport"
SLOWER = "each write of the generator transport takes more CPU time"
NOT_CLOSED = "a stream's response does not say that its connection closes"

#: gunicorn's modules that use the attributes of a response.
WSGI, WORKER, LOG = "gunicorn.http.wsgi", "gunicorn.workers.base_async", "gunicorn.glogging"


def renamed_response(name):
    rule = r"\b(self\.|resp\.|def )%s\b" % name, r"\1%s_" % name
    return Lack(renamed={module: [rule] for module in (WSGI, WORKER, LOG)})


GEVENT = {
    "_sock": ("gevent.socket.socket._sock", SLOWER),
    "_read_event": ("gevent.socket.socket._read_event.active", BY_GENERATOR),
    "_write_event": ("gevent.socket.socket._write_event.active", BY_GENERATOR),
}
HANDLER = {
    "handle_request": (
        f"{WORKER}.handle_request():resp and {WORKER}.handle_request():item",
        BY_GENERATOR + " and " + NOT_CLOSED,
    ),
    "resp": (WORKER + ".handle_request():resp", BY_GENERATOR + " and " + NOT_CLOSED),
    "item": (WORKER + ".handle_request():item", BY_GENERATOR),
}
RESPONSE = {
    "sent": (WSGI + ".Response.sent", BY_GENERATOR),
    "sock": (WSGI + ".Response.sock", BY_GENERATOR),
    "force_close": (WSGI + ".Response.force_close", NOT_CLOSED),
}

CASES = {
    **{
        name: (Lack(renamed={"gevent": [(r"\b%s\b" % name, name + "_")]}), *expected)
        for name, expected in GEVENT.items()
    },
    **{
        name: (Lack(renamed={"gunicorn.workers": [(r"\b%s\b" % name, name + "_")]}), *expected)
        for name, expected in HANDLER.items()
    },
    **{name: (renamed_response(name), *expected) for name, expected in RESPONSE.items()},
}


def assert_streams(site):
    """Check that two streams open and that an event reaches both. After the caller has looked, they end, which must be
    noticed.
    """
    with site.stream("/events?channel=room:1") as first, site.stream("/events?channel=room:1") as second:
        for stream in (first, second):
            stream.wait_for(b": heartbeat\n\n", 5)
        site.publish("room:1", "live")
        for stream in (first, second):
            stream.wait_for(b"data: live\n", 2)
        yield
    site.wait_figure("streams", 0, 5)


@pytest.mark.parametrize("name", CASES)
def test_a_missing_private_part_disables_only_what_needs_it_and_is_logged_once(serve, name):
    lack, part, consequence = CASES[name]
    site = serve(env=lack.env)
    for _ in assert_streams(site):
        assert site.figures()["handed"] == (0 if BY_GENERATOR in consequence else 2)
    assert site.server.log.count(" lack ") == 1
    assert SENTENCE % (part, consequence) in site.server.log
    assert "Traceback" not in site.server.log


def test_a_missing_part_that_the_look_up_did_not_notice_ends_no_stream(serve):
    """The response has the attribute until it is made, and lacks it afterwards."""
    renamed = (r"\b(self|resp)\.sent\b", r"\1.sent_")
    removed = (r"self\.sent_ = 0", "self.sent = self.sent_ = 0; del self.sent")
    lack = Lack(renamed={WSGI: [renamed, removed], LOG: [renamed]})
    site = serve(env=lack.env)
    for _ in assert_streams(site):
        assert site.figures()["handed"] == 0
    assert site.server.log.count(" lack ") == 1
    assert re.search(r"lack \(AttributeError: .*'sent'.*\), so " + BY_GENERATOR, site.server.log)


def test_gevent_and_gunicorn_as_installed_lack_nothing(serve):
    site = serve()
    for _ in assert_streams(site):
        assert site.figures()["handed"] == 2
    assert " lack " not in site.server.log


# -- other systems --------------------------------------------------------------


def test_streams_of_gunicorn_go_by_the_generator_on_macos(serve):
    site = serve("tests.apps.plain:create_app()", env=MACOS.env, transport="handoff")
    with site.stream("/events?channel=room:1") as stream:
        stream.wait_for(b": heartbeat\n\n", 5)
        site.publish("room:1", "live")
        stream.wait_for(b"data: live\n", 2)
    site.server.wait_log("is not possible here, .*: this system has no epoll", 1)
    assert "Traceback" not in site.server.log


@pytest.mark.parametrize("lack", [MACOS, WINDOWS], ids=["macos", "windows"])
def test_streams_in_threads(serve_threads, lack):
    site = serve_threads("tests.apps.attended:create_app()", env=lack.env)
    with site.stream("/events?channel=room:1") as stream:
        stream.wait_for(b": heartbeat\n\n", 3)
        site.publish("room:1", "live")
        stream.wait_for(b"data: live\n", 2)
        assert site.get("/presence?channel=room:1")["here"] == 1
    # A heartbeat is due each second. The first one after the client has left may still be written.
    until(lambda: site.get("/presence?channel=room:1")["here"] == 0, 5, "the client's departure is not noticed")
    log = site.server.log
    assert "Traceback" not in log
    line = "development only: without select.poll, .*; without fcntl, .*; without os.fork, gunicorn does not run"
    assert len(re.findall(line, log)) == (lack is WINDOWS)
