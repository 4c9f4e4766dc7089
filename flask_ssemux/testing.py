"""For tests of an application's streams: a client in the same process, without a server, and time under control.

The application runs as under a server: its WSGI callable, its middleware, its rules; a thread reads the answer, as a
client would. Only what tests use: nothing else of the package imports this. The fixtures are ``pytest_plugin.py``'s.
"""

from __future__ import annotations

import copy
import json
import socket
import threading
import time
import uuid
from contextlib import contextmanager
from typing import Any, Callable, Iterable, Iterator, Mapping, NamedTuple, Sequence
from urllib.parse import urlencode

from flask import Flask
from flask.testing import EnvironBuilder
from werkzeug.datastructures import Headers

from .errors import ApplicationError
from .http.responses import CONTENT_TYPE
from .hub.stream import Stream
from .sse import encode
from .state import KEY
from .util.request_override import ENVIRON_KEY, RequestOverride
from .worker.worker import Worker

#: Seconds that a wait takes at most, unless the test says otherwise.
TIMEOUT = 1.0

#: Seconds in which a stream's thread has to keep up with the clock, or to end.
PATIENCE = 5.0

#: For "ask the application's identify": None is nobody.
ASK: Any = object()

#: What ends the wait of ``rest``; no test sees it.
_MARK = encode.OWN_PREFIX + "testing"


class Event(NamedTuple):
    """What a client sees.

    :param event: its name.
    :param data: as text.
    :param id: the cursor; "" before the first.
    :param channel: where it was published, if that is a channel that clients name, else None.
    """

    event: str
    data: str
    id: str
    channel: str | None

    @property
    def json(self) -> Any:
        return json.loads(self.data)


def stream(
    app: Flask,
    url: str | None = None,
    channels: Sequence[str] = (),
    *,
    user: Any = ASK,
    client: Any = None,
    headers: Mapping[str, str] | None = None,
    last_event_id: str | None = None,
) -> OpenStream:
    """Open a stream, as a browser would::

        with stream(app, channels=["jobs:42"], user=7) as s:
            flask_ssemux.publish("jobs:42", {"done": 1}, event="progress")
            assert s.next().json == {"done": 1}

    :param url: with or without a query; None is ``SSEMUX_URL``.
    :param channels: named in the query.
    :param user: who asks, as ``identify`` would return it, None for nobody; left out, ``identify`` is asked.
    :param client: a test client whose cookies go along, such as one that has logged in.
    :param last_event_id: what the client saw last.
    :raises ApplicationError: the application has no flask_ssemux.
    """
    worker = _worker(app)
    sent = Headers(list((headers or {}).items()))
    if last_event_id is not None:
        sent["Last-Event-ID"] = last_event_id
    environ = _environ(app, client, url or worker.options.url, channels, sent)
    environ[ENVIRON_KEY] = RequestOverride(lambda: worker.running().timer.clock(), () if user is ASK else (user,))
    return OpenStream(app, environ)


class OpenStream:
    """A stream that a test reads. Also its answer, where that is none.

    :ivar status: HTTP status code.
    :ivar headers: of the answer.
    """

    def __init__(self, app: Flask, environ: dict[str, Any]) -> None:
        self.status = 0
        self.headers = Headers()
        self._worker = _worker(app)
        self._url = environ["PATH_INFO"] + ("?" + environ["QUERY_STRING"] if environ["QUERY_STRING"] else "")
        self._changed = threading.Condition()
        self._parser = _Parser()
        self._read = 0
        self._body = b""
        self._error: BaseException | None = None
        self._is_over = False
        # The application learns from its end of a connection that the client has left, as it does under a server.
        self._ours, self._theirs = socket.socketpair()
        environ["werkzeug.socket"] = self._theirs
        try:
            answer: Any = app(environ, self._start)
        except BaseException:
            self._ours.close()
            self._theirs.close()
            raise
        self._stream: Stream | None = environ[ENVIRON_KEY].stream
        self._thread = threading.Thread(target=self._run, args=(answer,), name="ssemux-testing", daemon=True)
        self._thread.start()
        _open.append(self)
        if not self.is_stream:
            self._thread.join()
            self.close()

    # -- its answer --------------------------------------------------------

    @property
    def is_stream(self) -> bool:
        return self.status == 200 and self.headers.get("Content-Type", "").startswith(CONTENT_TYPE)

    @property
    def json(self) -> Any:
        """The answer's body, where it is a refusal."""
        return json.loads(self.body)

    @property
    def body(self) -> bytes:
        """All bytes so far."""
        with self._changed:
            return self._body

    # -- its events --------------------------------------------------------

    @property
    def hello(self) -> Event:
        """The event with which a stream begins; its data says heartbeat and time-out."""
        self._wait(lambda: self._parser.hello is not None, TIMEOUT, "no ssemux.hello")
        assert self._parser.hello is not None
        return self._parser.hello

    def next(self, timeout: float = TIMEOUT) -> Event:
        """The next event that this has not returned yet, ``ssemux.hello`` apart.

        :raises AssertionError: there is none within ``timeout`` seconds, or the stream has ended; says what came.
        """
        self._wait(lambda: len(self._parser.events) > self._read, timeout, "no event")
        self._read += 1
        return self._parser.events[self._read - 1]

    def expect(self, event: str, data: Any = ASK, timeout: float = TIMEOUT) -> Event:
        """The next event, which must have this name and, if it is given, this data.

        :param data: as it was published.
        """
        found = self.next(timeout)
        wanted = found.data if data is ASK else encode.as_text(data)
        if (found.event, found.data) != (event, wanted):
            wanted = "" if data is ASK else " with %s" % wanted
            raise AssertionError(
                "expected %r%s, and %r came with %s (%s)" % (event, wanted, found.event, found.data, self._state())
            )
        return found

    def rest(self) -> list[Event]:
        """All events not yet returned, once everything that was published before this call is here.

        ``assert s.rest() == []`` is how a test says that a client got nothing.
        """
        if self._stream is None or self._is_over:
            self._wait(lambda: self._is_over, TIMEOUT, "an old stream has no end and nothing is published to it")
        elif not self._stream.channels:
            raise RuntimeError("rest() asks what was published, and this stream has no channel; use next() or events")
        else:
            # After all else that was published comes this, to a channel of ours.
            mark, channel = uuid.uuid4().hex, self._stream.channels[-1]
            self._worker.broker.history.append_event(channel, encode.own_frame("testing", mark))
            self._wait(lambda: mark in self._parser.marks or self._is_over, PATIENCE, "the end of what was published")
        with self._changed:
            found = self._parser.events[self._read :]
            self._read = len(self._parser.events)
        return found

    @property
    def events(self) -> list[Event]:
        """All events so far, ``ssemux.hello`` apart, those that ``next`` has returned too."""
        with self._changed:
            return list(self._parser.events)

    @property
    def comments(self) -> list[str]:
        with self._changed:
            return list(self._parser.comments)

    @property
    def heartbeats(self) -> int:
        """How many have come."""
        return self.comments.count("heartbeat")

    @property
    def retry(self) -> int | None:
        """Milliseconds after which the client would reconnect."""
        return self._parser.retry

    @property
    def last_event_id(self) -> str:
        """What the client would say on reconnecting."""
        return self._parser.last_id

    # -- its end -----------------------------------------------------------

    @property
    def closed(self) -> bool:
        """Whether it has ended, by whichever side."""
        with self._changed:
            return self._is_over

    def wait_closed(self, timeout: float = TIMEOUT) -> None:
        """Until the application has ended it.

        :raises AssertionError: it has not within ``timeout`` seconds.
        """
        self._wait(lambda: self._is_over, timeout, "no end", or_ended=False)

    def close(self) -> None:
        """The client leaves. An old generator that sleeps in a thread notices when it wakes."""
        if self in _open:
            _open.remove(self)
        self._ours.close()
        self._thread.join(PATIENCE if self._stream is not None else TIMEOUT)

    def __enter__(self) -> OpenStream:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # ----------------------------------------------------------------------

    def settle(self) -> None:
        """Until its thread has read all that is written to it; for the clock."""
        deadline = time.monotonic() + PATIENCE
        while self._stream is not None and not (self._is_over or self._stream.is_parked):
            if time.monotonic() > deadline:
                raise AssertionError("the stream's thread hangs (%s)" % self._state())
            time.sleep(0.0005)

    @property
    def worker(self) -> Worker:
        return self._worker

    def _start(self, status: str, headers: Iterable[tuple[str, str]], _: Any = None) -> Callable[[bytes], None]:
        self.status, self.headers = int(status.split()[0]), Headers(list(headers))
        return self._take

    def _take(self, data: bytes) -> None:
        with self._changed:
            self._body += data
            self._parser.feed(data)
            self._changed.notify_all()

    def _run(self, answer: Any) -> None:
        try:
            for item in answer:
                self._take(item)
        except Exception as error:
            self._error = error
        finally:
            if hasattr(answer, "close"):
                answer.close()
            self._theirs.close()
            with self._changed:
                self._is_over = True
                self._changed.notify_all()

    def _wait(self, condition: Callable[[], bool], timeout: float, what: str, or_ended: bool = True) -> None:
        with self._changed:
            self._changed.wait_for(lambda: condition() or (or_ended and self._is_over), timeout)
            if not condition():
                raise AssertionError("%s within %g s (%s)" % (what, timeout, self._state())) from self._error

    def _state(self) -> str:
        if not self.is_stream and self.status:
            return "%s answered %d: %s" % (self._url, self.status, self._body[:500].decode("utf-8", "replace"))
        ended = "it has ended" if self._is_over else "it is open"
        if self._error is not None:
            ended = "it has ended by %r" % self._error
        names = ", ".join(event.event for event in self._parser.events[-10:]) or "none"
        told = "%s: %s; events so far: %s; the last comment: %s"
        return told % (self._url, ended, names, (self._parser.comments or ["none"])[-1])


class _Parser:
    """Events out of bytes (WHATWG HTML 9.2.6), and what a browser would throw away."""

    def __init__(self) -> None:
        self.hello: Event | None = None
        self.events: list[Event] = []
        self.comments: list[str] = []
        self.marks: set[str] = set()
        self.retry: int | None = None
        self.last_id = ""
        self._rest = b""
        self._fields: dict[str, str] = {}
        self._data: list[str] = []

    def feed(self, data: bytes) -> None:
        text = self._rest + data
        held = b"\r" if text.endswith(b"\r") else b""  # perhaps half of a CRLF
        lines = text[: len(text) - len(held)].replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")
        self._rest = lines.pop() + held
        for line in lines:
            if line:
                self._line(*line.decode("utf-8", "replace").partition(":"))
            else:
                self._end()

    def _line(self, name: str, colon: str, value: str) -> None:
        value = value[1:] if value.startswith(" ") else value
        if not name:
            self.comments.append(value)
        elif name == "data":
            self._data.append(value)
        elif name == "retry" and value.isdigit():
            self.retry = int(value)
        else:
            self._fields[name] = value

    def _end(self) -> None:
        fields, data = self._fields, self._data
        self._fields, self._data = {}, []
        name = fields.get("event") or "message"
        if name == _MARK:
            self.marks.add("\n".join(data))
            return
        self.last_id = fields.get("id", self.last_id)
        if not data:
            return
        event = Event(name, "\n".join(data), self.last_id, fields.get("channel"))
        if name == encode.OWN_PREFIX + "hello":
            self.hello = event
        else:
            self.events.append(event)


# -- time --------------------------------------------------------------------


class Clock:
    """The time of an application's streams, which stands still until it is advanced.

    Heartbeats, lifetimes and whatever else the streams do by time come by it; the age of history does not.
    """

    def __init__(self, worker: Worker) -> None:
        self._worker = worker
        self._now = worker.running().timer.clock()

    def __call__(self) -> float:
        return self._now

    def advance(self, seconds: float) -> None:
        """Let time pass. What is due meanwhile happens before this returns, and is read by the test's streams."""
        timer, until = self._worker.running().timer, self._now + seconds
        self._settle()
        due = timer.get_next_due()
        while due is not None and due <= until:
            self._now = max(self._now, due)
            timer.call_due_members()
            self._settle()
            due = timer.get_next_due()
        self._now = until
        timer.call_due_members()
        self._settle()

    def _settle(self) -> None:
        for wrapped in self._worker.running().streams.wrapped():
            wrapped.await_heartbeat()
        recheck, deadline = self._worker.running().reauthorizer, time.monotonic() + PATIENCE
        while recheck is not None and recheck.is_checking and time.monotonic() < deadline:
            time.sleep(0.0005)
        for one in [found for found in _open if found.worker is self._worker]:
            one.settle()


@contextmanager
def frozen(app: Flask) -> Iterator[Clock]:
    """Stop the time of an application's streams::

        with frozen(app) as clock, stream(app) as s:
            clock.advance(60)
            assert s.heartbeats >= 3  # one ends each silence, after 20 s at the latest

    Afterwards it goes on from where it was. Open the streams within.
    """
    worker = _worker(app)
    timer = worker.running().timer
    timer.pause()
    clock = timer.clock = Clock(worker)
    try:
        yield clock
    finally:
        offset = clock() - time.monotonic()
        timer.clock = lambda: time.monotonic() + offset
        timer.resume()


def close(app: Flask) -> None:
    """The application is needed no more: its streams end, and its threads and its store with them.

    For a fixture that makes an application for each test.
    """
    worker = _worker(app)
    for one in [found for found in _open if found.worker is worker]:
        one.close()
    worker.stop()


#: Streams that are open.
_open: list[OpenStream] = []


def _environ(app: Flask, client: Any, url: str, channels: Sequence[str], headers: Headers) -> dict[str, Any]:
    """The environment of a request, with the cookies that a test client has."""
    path, _, query = url.partition("?")
    named = urlencode([("channel", channel) for channel in channels])
    builder = EnvironBuilder(app, path, query_string="&".join(filter(None, (query, named))), headers=headers)
    seen: list[dict[str, Any]] = []

    def look(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        seen.append(environ)
        start_response("200 OK", [])
        return []

    lender = copy.copy(client or app.test_client())
    lender.application = look
    lender.run_wsgi_app(builder.get_environ())
    return seen[0]


def _worker(app: Flask) -> Worker:
    if KEY not in app.extensions:
        raise ApplicationError("flask_ssemux is not set up for %r: call flask_ssemux.init_app(app)" % app.name)
    worker: Worker = app.extensions[KEY].worker
    return worker
