"""Tests of the harness itself: the parser against the standard's rules, the clients against a scripted socket, the
servers against hand-written applications.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time

import pytest

from tests.harness import packages
from tests.harness.client import Herd, RawStream
from tests.harness.parser import Parser, parse
from tests.harness.ports import free_port
from tests.harness.servers import ROOT, FlaskRun, Gunicorn, Nginx, accepts, children
from tests.harness.waiting import until

# The parser. Each case: what it shows, the stream, the (event, data, id) that a client receives.

CASES = [
    ("one event", b"data: a\n\n", [("message", "a", "")]),
    ("CR", b"data: a\r\r", [("message", "a", "")]),
    ("CRLF", b"data: a\r\n\r\n", [("message", "a", "")]),
    ("mixed line ends", b"data: a\rdata: b\r\ndata: c\n\r", [("message", "a\nb\nc", "")]),
    ("LF CR LF is two line ends", b"data: a\n\r\ndata: b\n\n", [("message", "a", ""), ("message", "b", "")]),
    ("a BOM at the start", b"\xef\xbb\xbfdata: a\n\n", [("message", "a", "")]),
    ("a second BOM is text", b"\xef\xbb\xbf\xef\xbb\xbfdata: a\n\n", []),
    ("a later BOM is text", b"data: a\n\n\xef\xbb\xbfdata: b\n\n", [("message", "a", "")]),
    ("a BOM before a blank line", b"\xef\xbb\xbf\ndata: a\n\n", [("message", "a", "")]),
    ("comments", b": heartbeat\n\n:\ndata: a\n:x\ndata: b\n\n", [("message", "a\nb", "")]),
    ("one space is taken off", b"data:a\ndata: b\ndata:  c\ndata:\td\n\n", [("message", "a\nb\n c\n\td", "")]),
    ("colons in a value", b"data: a: b:c\n\n", [("message", "a: b:c", "")]),
    ("a field without colon", b"data\n\n", [("message", "", "")]),
    ("two empty data lines", b"data\ndata:\n\n", [("message", "\n", "")]),
    ("no data, no event", b"event: x\nid: 7\n\ndata: a\n\n", [("message", "a", "7")]),
    ("a name lasts for one event", b"event: x\ndata: a\n\ndata: b\n\n", [("x", "a", ""), ("message", "b", "")]),
    ("the last name counts", b"event: x\nevent: y\ndata: a\n\n", [("y", "a", "")]),
    ("an empty name is message", b"event: x\nevent:\ndata: a\n\n", [("message", "a", "")]),
    ("an id stays", b"id: 1\ndata: a\n\ndata: b\n\n", [("message", "a", "1"), ("message", "b", "1")]),
    ("an empty id clears it", b"id: 1\ndata: a\n\nid\ndata: b\n\n", [("message", "a", "1"), ("message", "b", "")]),
    (
        "an id with NUL is ignored",
        b"id: 1\ndata: a\n\nid: 2\x003\ndata: b\n\n",
        [("message", "a", "1"), ("message", "b", "1")],
    ),
    ("field names have case", b"Data: a\nDATA: b\n data: c\n\n", []),
    ("incomplete at the end", b"data: a\n\ndata: b\n", [("message", "a", "")]),
    ("incomplete line at the end", b"data: a\n\ndata: b", [("message", "a", "")]),
    (
        "no other line ends",
        "data: a\u2028b\u0085c\x0bd\x0ce\n\n".encode(),
        [("message", "a\u2028b\u0085c\x0bd\x0ce", "")],
    ),
    ("broken UTF-8 is replaced", b"data: \xff\n\n", [("message", "\ufffd", "")]),
    ("unknown fields", b"channel: room:1\ndata: a\n\n", [("message", "a", "")]),
    ("blank lines", b"\n\n\r\n\rdata: a\n\n\n\n", [("message", "a", "")]),
]


@pytest.mark.parametrize("pieces", [1, 2, 1000], ids="in {} bytes".format)
@pytest.mark.parametrize("stream, expected", [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_parser_dispatches_as_the_standard_says(stream, expected, pieces):
    parser = Parser()
    for start in range(0, len(stream), pieces):
        parser.feed(stream[start : start + pieces])
    assert [(event.event, event.data, event.id) for event in parser.events] == expected


@pytest.mark.parametrize(
    "value, expected", [("3000", 3000), ("0", 0), ("", None), ("3s", None), ("-1", None), ("1.5", None), ("٣", None)]
)
def test_parser_takes_digits_only_for_retry(value, expected):
    assert parse(f"retry: {value}\n\n".encode()).frames[0].retry == expected


def test_parser_keeps_what_browsers_discard():
    parser = Parser()
    parser.feed(b"retry: 3000\n: open\n\n", at=1.5)
    parser.feed(b"channel: room:1\nid: 1-2\nevent: x\ndata: a\n\n: heart", at=2.5)
    first, second = parser.frames
    assert (first.dispatched, first.retry, first.comments, first.at) == (False, 3000, (" open",), 1.5)
    assert (second.dispatched, second.fields, second.own_id, second.at) == (True, {"channel": "room:1"}, "1-2", 2.5)
    assert parser.comments == [" open"]


def test_parser_takes_the_id_of_a_frame_that_dispatches_nothing():
    parser = parse(b"id: 5\n\n")
    assert (parser.last_event_id, parser.events) == ("5", [])


# The client, against a socket that sends what the test dictates.


class Script:
    """A server for one connection: the test decides when it sends and closes."""

    def __init__(self):
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.connection = None
        self.request = b""
        self._accepted = threading.Event()
        self._thread = threading.Thread(target=self._accept)
        self._thread.start()

    def _accept(self):
        try:
            self.connection, _ = self.listener.accept()
        except OSError:  # no client connected before `end`
            return
        while b"\r\n\r\n" not in self.request:
            self.request += self.connection.recv(4096)
        self._accepted.set()

    def send(self, data):
        assert self._accepted.wait(5), f"no whole request came: {self.request!r}"
        self.connection.sendall(data)

    def close(self, reset=False):
        if reset:
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        self.connection.close()

    def end(self):
        if not self._accepted.is_set():
            self.listener.shutdown(socket.SHUT_RDWR)  # ends the blocking accept()
        self._thread.join(5)
        self.listener.close()
        if self.connection:
            self.connection.close()


CHUNKED = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"


@pytest.fixture
def script():
    script = Script()
    yield script
    script.end()


@pytest.fixture
def stream(script):
    with RawStream(script.port, "/events?channel=a", {"Last-Event-ID": "1-2"}) as stream:
        yield stream


def test_client_sends_its_request_at_once(script, stream):
    script.send(CHUNKED)
    assert stream.wait_headers(5)["content-type"] == "text/event-stream"
    assert (
        script.request
        == (
            f"GET /events?channel=a HTTP/1.1\r\nHost: 127.0.0.1:{script.port}\r\nAccept: text/event-stream\r\n"
            "Last-Event-ID: 1-2\r\n\r\n"
        ).encode()
    )


def test_client_decodes_chunks_that_come_in_pieces(script, stream):
    for piece in (CHUNKED[:20], CHUNKED[20:], b"7;ext=1\r", b"\ndata", b": a", b"\r\n2\r\n\n\n\r", b"\n"):
        script.send(piece)
    (event,) = stream.wait_events(1, 5)
    assert (event.data, stream.body, stream.ended) == ("a", b"data: a\n\n", None)
    script.send(b"0\r\nX-Trailer: 1\r\n\r\n")
    assert stream.wait_end(5) == "clean"
    assert stream.eof_at is None
    script.close()
    stream.wait_for(lambda stream: stream.eof_at, 5)


def test_client_returns_the_beginning_of_an_incomplete_chunk(script, stream):
    script.send(CHUNKED + b"ff\r\n: half")
    stream.wait_for(b": half", 5)


@pytest.mark.parametrize("reset", [False, True])
def test_client_distinguishes_a_severed_stream_from_a_clean_end(script, stream, reset):
    script.send(CHUNKED + b"2\r\n:\n\r\n")
    stream.wait_for(b":\n", 5)
    script.close(reset)
    assert stream.wait_end(5) == "severed"
    assert isinstance(stream.error, ConnectionResetError) == reset


@pytest.mark.parametrize(
    "head, rest, expected",
    [
        (b"HTTP/1.0 200 OK\r\n\r\n", b": x\n\n", ("close", "clean")),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", b": x\n\n", ("length", "clean")),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n", b": x\n\n", ("length", "severed")),
        (b"HTTP/1.1 204 No Content\r\n\r\n", b"", ("length", "clean")),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"zz\r\n", ("chunked", "severed")),
        (b"HTTP/1.1 200 OK\r\n", b"", (None, "severed")),
    ],
)
def test_client_knows_every_framing(script, stream, head, rest, expected):
    script.send(head + rest)
    script.close()
    assert (stream.wait_end(5) and stream.framing, stream.ended) == expected, stream.describe()


def test_client_lists_cookies_and_joins_other_headers(script, stream):
    script.send(
        b"HTTP/1.1 403 No\r\nSet-Cookie: a=1\r\nset-cookie: b=2\r\nVary: A\r\nVary: B\r\nContent-Length: 0\r\n\r\n"
    )
    stream.wait_end(5)
    assert stream.status == 403
    assert stream.headers == {"set-cookie": ["a=1", "b=2"], "vary": "A, B", "content-length": "0"}
    assert stream.raw_headers[1] == ("set-cookie", "b=2")


def test_client_notes_when_bytes_came(script, stream):
    script.send(CHUNKED)
    stream.wait_headers(5)
    assert stream.first_byte_at is None
    sent = time.monotonic()
    script.send(b"2\r\n:\n\r\n")
    stream.wait_for(b":\n", 5)
    assert stream.opened_at <= stream.headers_at <= sent <= stream.first_byte_at <= time.monotonic()
    assert stream.blocks == [(stream.first_byte_at, b":\n")]
    assert stream.longest_silence(until=sent + 100) == pytest.approx(100, abs=1)
    assert stream.longest_silence(until=sent) == sent - stream.opened_at
    assert stream.longest_silence(since=sent + 50, until=sent + 100) == pytest.approx(50)


def test_client_says_what_it_saw_when_nothing_comes(script, stream):
    script.send(CHUNKED + b"3\r\n:x\n\r\n")
    stream.wait_for(b":x", 5)
    with pytest.raises(
        AssertionError, match=r"not within 0\.05 s: b'never'; /events\?channel=a: status 200, .* ends with b':x\\n'"
    ):
        stream.wait_for(b"never", 0.05)
    script.close()
    stream.wait_end(5)
    with pytest.raises(AssertionError, match="never came, the connection is over: 1 events named x; .* ended: severed"):
        stream.wait_events(1, 60, "x")


def test_paused_client_stops_the_sender(script):
    with RawStream(script.port, rcvbuf=4096) as stream:
        script.send(CHUNKED)
        stream.wait_headers(5)
        stream.pause()
        script.connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        script.connection.setblocking(False)
        sent = 0
        chunk = b"1000\r\n" + b"x" * 4096 + b"\r\n"
        with pytest.raises(BlockingIOError):
            for _ in range(1000):
                sent += script.connection.send(chunk)
        assert stream.blocks == []
        stream.resume()
        stream.wait_for(lambda stream: len(stream.body) >= sent * 0.9, 5)


def test_server_sees_the_reset_of_a_client(script):
    with RawStream(script.port) as stream:
        script.send(CHUNKED)
        stream.wait_headers(5)
        stream.close(reset=True)
        assert stream.ended == "closed"
    with pytest.raises(ConnectionResetError):
        script.connection.recv(1)


def test_client_without_a_server_leaves_no_thread():
    with pytest.raises(ConnectionRefusedError):
        RawStream(free_port())
    assert "harness client" not in [thread.name for thread in threading.enumerate()]


# Missing packages.


def test_missing_package_skips_here_and_fails_in_ci(monkeypatch):
    monkeypatch.setenv("CI", "")
    with pytest.raises(pytest.skip.Exception, match="/no/such is missing: apt-get install such-package"):
        packages.need("such-package", "/no/such")
    monkeypatch.setenv("CI", "true")
    with pytest.raises(pytest.fail.Exception, match="the npm package no-such is missing: npm ci --prefix "):
        packages.need_npm("no-such")


# Servers.


def test_gunicorn_streams_and_stops():
    with Gunicorn("tests.apps.good:create_app()") as server:
        with RawStream(server.port, "/events?beats=3") as stream:
            (hello,) = stream.wait_events(1, 5, "ssemux.hello")
            assert hello.id == "1" and str(server.worker_pids()[0]) in hello.data
            assert stream.wait_end(5) == "clean"
            assert [frame.comments for frame in stream.frames()][2:] == [(" heartbeat",)] * 3
            assert 0.05 < stream.longest_silence() < 1
        with RawStream(server.port, "/events?beats=0", version="1.0") as stream:
            assert (stream.wait_end(5), stream.framing) == ("clean", "close")
        pids = [server.pid, *server.worker_pids()]
    until(lambda: not any(_alive(pid) for pid in pids), 5, lambda: f"all of {pids} dead")


def test_gunicorn_stops_gracefully():
    with Gunicorn("tests.apps.good:create_app()") as server:
        assert server.stop(10), server.log
        assert server.returncode == 0 and "Shutting down: Master" in server.log


def test_gunicorn_waits_for_all_workers_and_knows_new_ones():
    with Gunicorn("tests.apps.good:create_app()", workers=3) as server:
        workers = server.worker_pids()
        assert len(workers) == 3 and all(accepts(pid, server.port) for pid in workers)
        os.kill(workers[0], signal.SIGKILL)
        now = server.wait_workers(3, 10, gone=workers[:1])
        assert set(workers[1:]) < set(now)


def test_gunicorn_that_does_not_start_shows_its_log():
    with pytest.raises(
        AssertionError, match=r"(?s)gunicorn failed to start; it .*No module named .tests\.apps\.no_such"
    ):
        Gunicorn("tests.apps.no_such:app").start()


def test_flask_run_streams():
    with FlaskRun("tests.apps.good:create_app()") as server, RawStream(server.port) as stream:
        stream.wait_for(b": heartbeat\n\n", 5)
        assert server.running and "Traceback" not in server.log


def test_nginx_buffers_the_old_stream_and_passes_a_good_one(gunicorn, nginx):
    old, good = gunicorn("tests.apps.before:create_app()"), gunicorn("tests.apps.good:create_app()")
    behind_old, behind_good = nginx(old.port).port, nginx(good.port).port
    with RawStream(behind_old) as held, RawStream(old.port) as direct, RawStream(behind_good) as passed:
        passed.wait_for(b"ssemux.hello", 0.5)
        direct.wait_for(b": heartbeat\n\n: heartbeat", 5)
        assert (held.status, held.body) == (None, b""), held.describe()
        assert passed.longest_silence() < 1, passed.describe()


def test_nginx_takes_a_server_block_of_the_test():
    block = "server { listen 127.0.0.1:LISTEN_PORT; return 418; error_log FOLDER/x.log; }"
    with Nginx(1, server=block) as server, RawStream(server.port) as stream:
        stream.wait_end(5)
        assert stream.status == 418
        until(lambda: '"GET /events HTTP/1.1" 418' in server.access_log, 5, lambda: server.access_log)


def test_herd_holds_many_streams(gunicorn):
    server = gunicorn("tests.apps.good:create_app()", env={"BEAT": "1"})
    with Herd(server.port, 300, headers_of=lambda i: {"X-User": str(i)}) as herd:
        herd.wait_all(b"ssemux.hello", 10)
        herd.wait_all(b": heartbeat", 10)
        assert herd.longest_silence() < 5
        with pytest.raises(AssertionError, match="client 0 of 300, 0 s for all: not within"):
            herd.wait_all(b"never", 0)


def test_servers_die_with_the_tests():
    """The servers die even if the tests are killed by SIGKILL, which runs no clean-up of Python's."""
    program = (
        "import os, time; from tests.harness.servers import Gunicorn\n"
        "server = Gunicorn('tests.apps.good:create_app()').start()\n"
        "print(server.pid, *server.worker_pids(), flush=True); time.sleep(60)"
    )
    tests = subprocess.Popen([sys.executable, "-c", program], cwd=str(ROOT), stdout=subprocess.PIPE)
    pids = [int(pid) for pid in tests.stdout.readline().split()]
    assert len(pids) == 2 and children(pids[0])
    tests.kill()
    tests.communicate()
    until(lambda: not any(_alive(pid) for pid in pids), 5, lambda: f"all of {pids} dead")


def _alive(pid):
    """Return whether a process is alive; a zombie that no process reaps in this container is not."""
    try:
        with open(f"/proc/{pid}/stat") as stat:
            return stat.read().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
