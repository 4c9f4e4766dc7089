"""A stream that a test has opened: its request, the thread that reads it, and what the test asks of it."""

from __future__ import annotations

import copy
import json
import socket
import threading
import time
import uuid
from typing import Any, Callable, Iterable, Mapping, Sequence
from urllib.parse import urlencode

from flask import Flask
from flask.testing import EnvironBuilder
from werkzeug.datastructures import Headers

from ..errors import ApplicationError
from ..http.responses import CONTENT_TYPE
from ..hub.stream import Stream
from ..publishing.app_json import make_json_writer
from ..sse import encode
from ..sse.data import convert_to_text
from ..state import find_state
from ..transports.client_socket import has_poll
from ..util.request_override import ENVIRON_KEY, RequestOverride
from ..worker.worker import Worker
from .received import MARK, Event, Received

#: The longest wait for an event or an end, in seconds, unless the test chooses another one.
TIMEOUT = 1.0

#: The longest wait for a stream's thread, in seconds.
THREAD_TIMEOUT = 5.0

#: The default of ``user``: the application's ``identify`` is called. None is an anonymous visitor.
ASK: Any = object()


def stream(
    app: Flask,
    url: str | None = None,
    *,
    channels: Sequence[str] = (),
    user: Any = ASK,
    client: Any = None,
    headers: Mapping[str, str] | None = None,
    last_event_id: str | None = None,
) -> OpenStream:
    """Open a stream as a browser does::

        with stream(app, channels=["jobs:42"], user=7) as s:
            flask_ssemux.publish("jobs:42", {"done": 1}, event="progress")
            assert s.next().json == {"done": 1}

    :param app: the application.
    :param url: with or without a query; None is ``SSEMUX_URL``.
    :param channels: the channels to name in the query.
    :param user: the user, as ``identify`` would return it, None for an anonymous visitor. Without this argument,
        ``identify`` is called.
    :param client: a test client whose cookies are sent, such as one that has logged in.
    :param headers: further headers of the request.
    :param last_event_id: the id of the last event that the client saw.
    :return: the open stream, which is a context manager: its end lets the client leave.
    :raises ApplicationError: the application does not use flask_ssemux; or there is no ``url``, and ``SSEMUX_URL`` is
        off.
    """
    worker = find_state(app).worker
    url = url or worker.options.url
    if url is None:
        raise ApplicationError("SSEMUX_URL is off, so name the stream's URL: stream(app, '/api/jobs/stream')")
    sent = Headers(list((headers or {}).items()))
    sent.setdefault("Accept", CONTENT_TYPE)
    if last_event_id is not None:
        sent["Last-Event-ID"] = last_event_id
    environ = _make_environ(app, client, url, channels, sent)
    environ[ENVIRON_KEY] = RequestOverride(lambda: worker.running().timer.clock(), () if user is ASK else (user,))
    return OpenStream(app, environ)


class OpenStream:
    """A response that a test reads: a stream, or a refusal.

    :ivar status: the HTTP status code.
    :ivar headers: the headers of the response.
    """

    def __init__(self, app: Flask, environ: dict[str, Any]) -> None:
        self.status = 0
        self.headers = Headers()
        self._app = app
        self._worker = find_state(app).worker
        self._url = environ["PATH_INFO"] + ("?" + environ["QUERY_STRING"] if environ["QUERY_STRING"] else "")
        self._changed = threading.Condition()
        self._received = Received()
        #: How many events were returned by ``next``, ``expect`` and ``rest``.
        self._returned = 0
        self._body = b""
        self._error: BaseException | None = None
        self._has_ended = False
        # The application notices at its end of a connection that the client has left, as it does under a server.
        self._ours, self._theirs = socket.socketpair()
        environ["werkzeug.socket"] = self._theirs
        try:
            response: Any = app(environ, self._start_response)
        except BaseException:
            self._ours.close()
            self._theirs.close()
            raise
        self._stream: Stream | None = environ[ENVIRON_KEY].stream
        self._thread = threading.Thread(
            target=self._read_response, args=(response,), name="ssemux-testing", daemon=True
        )
        self._thread.start()
        _open.append(self)
        if not self.is_stream:
            self._thread.join(THREAD_TIMEOUT)
            self.close()
            if self._thread.is_alive():
                raise AssertionError(
                    "%s is no event stream but %s, and has not ended within %g s: read it with app.test_client()"
                    % (self._url, self.headers.get("Content-Type"), THREAD_TIMEOUT)
                )

    # -- the response ------------------------------------------------------

    @property
    def is_stream(self) -> bool:
        """Whether the response is an event stream, and no refusal."""
        return self.status == 200 and self.headers.get("Content-Type", "").startswith(CONTENT_TYPE)

    @property
    def json(self) -> Any:
        """The body of a refusal."""
        return json.loads(self.body)

    @property
    def body(self) -> bytes:
        """All bytes that have arrived so far."""
        with self._changed:
            return self._body

    # -- the events -------------------------------------------------------

    @property
    def hello(self) -> Event:
        """The event with which a stream begins; its data are the heartbeat's interval and the client's time-out."""
        self._wait_until(lambda: self._received.hello is not None, TIMEOUT, "no ssemux.hello")
        assert self._received.hello is not None
        return self._received.hello

    def next(self, *, timeout: float = TIMEOUT) -> Event:
        """Return the next event, without ``ssemux.hello``.

        :param timeout: the longest wait, in seconds.
        :raises AssertionError: no event arrived in that time, or the stream has ended; says what arrived.
        """
        self._wait_until(lambda: len(self._received.events) > self._returned, timeout, "no event")
        self._returned += 1
        return self._received.events[self._returned - 1]

    def expect(self, event: str, data: Any = ASK, *, timeout: float = TIMEOUT) -> Event:
        """Return the next event, which must have this name and, if ``data`` is given, this data.

        :param event: the name.
        :param data: as it was published.
        :param timeout: the longest wait, in seconds.
        :raises AssertionError: it has not, or as for ``next``.
        """
        found = self.next(timeout=timeout)
        wanted = found.data if data is ASK else convert_to_text(data, make_json_writer(self._app))
        if (found.event, found.data) != (event, wanted):
            wanted = "" if data is ASK else " with %s" % wanted
            raise AssertionError(
                "expected %r%s, but %r came with %s (%s)" % (event, wanted, found.event, found.data, self._describe())
            )
        return found

    def rest(self) -> list[Event]:
        """Return all events not yet returned, once everything that was published before this call has arrived.

        Assert ``s.rest() == []`` to test that a client got nothing.

        :raises AssertionError: not all of it arrived in time, or the stream should have ended and has not.
        :raises RuntimeError: the stream reads no channel, so it is not known when everything has arrived.
        """
        if self._stream is None or self._has_ended:
            self._wait_until(lambda: self._has_ended, TIMEOUT, "rest() waits for the end; no end")
        elif not self._stream.channels:
            raise RuntimeError("rest() waits for what was published, and this stream has no channel; use next()")
        else:
            self._wait_for_mark(self._stream.channels[-1])
        with self._changed:
            found = self._received.events[self._returned :]
            self._returned = len(self._received.events)
        return found

    def _wait_for_mark(self, channel: str) -> None:
        """Publish a mark after everything else that was published, and wait until it arrives."""
        mark = uuid.uuid4().hex
        self._worker.broker.history.append_event(channel, encode.make_own_frame(MARK, mark))
        self._wait_until(
            lambda: mark in self._received.marks or self._has_ended, THREAD_TIMEOUT, "the end of what was published"
        )

    @property
    def events(self) -> list[Event]:
        """All events so far without ``ssemux.hello``, including those that ``next`` has returned."""
        with self._changed:
            return list(self._received.events)

    @property
    def comments(self) -> list[str]:
        """All comments so far, including heartbeats."""
        with self._changed:
            return list(self._received.comments)

    @property
    def heartbeats(self) -> int:
        """How many heartbeats have arrived."""
        return self.comments.count("heartbeat")

    @property
    def retry(self) -> int | None:
        """The milliseconds after which a client would reconnect."""
        return self._received.retry

    @property
    def last_event_id(self) -> str:
        """The ``Last-Event-ID`` that a client would send when it reconnects."""
        return self._received.last_id

    # -- the end -----------------------------------------------------------

    @property
    def closed(self) -> bool:
        """Whether the stream has ended, by the application or by the client."""
        with self._changed:
            return self._has_ended

    def wait_closed(self, *, timeout: float = TIMEOUT) -> None:
        """Wait until the application has ended the stream.

        :param timeout: the longest wait, in seconds.
        :raises AssertionError: the application has not ended it in that time.
        """
        self._wait_until(lambda: self._has_ended, timeout, "no end", or_ended=False)

    def close(self) -> None:
        """Let the client leave, and wait until receivers of ``stream_closed`` were called.

        A wrapped generator that sleeps in a thread is closed when it wakes.
        """
        if self in _open:
            _open.remove(self)
        _hang_up(self._ours)
        if self._stream is not None and not has_poll():  # as on Windows, where a server notices it by the next write
            self._stream.abort("its client left")
        self._thread.join(THREAD_TIMEOUT if self._stream is not None else TIMEOUT)
        self._worker.signals.wait_until_sent(TIMEOUT)

    def __enter__(self) -> OpenStream:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # -- the thread that reads -----------------------------------------------

    def wait_until_read(self) -> None:
        """Wait until the stream's thread has read all that was written to it.

        :raises AssertionError: the thread hangs.
        """
        deadline = time.monotonic() + THREAD_TIMEOUT
        while self._stream is not None and not (self._has_ended or self._stream.is_parked):
            if time.monotonic() > deadline:
                raise AssertionError("the stream's thread hangs (%s)" % self._describe())
            time.sleep(0.0005)

    @property
    def worker(self) -> Worker:
        """The worker that serves the stream."""
        return self._worker

    def _start_response(
        self, status: str, headers: Iterable[tuple[str, str]], error: Any = None
    ) -> Callable[[bytes], None]:
        self.status, self.headers = int(status.split()[0]), Headers(list(headers))
        return self._receive

    def _receive(self, data: bytes) -> None:
        with self._changed:
            self._body += data
            self._received.feed(data)
            self._changed.notify_all()

    def _read_response(self, response: Any) -> None:
        try:
            for item in response:
                self._receive(item)
        except Exception as error:
            self._error = error
        finally:
            if hasattr(response, "close"):
                response.close()
            self._theirs.close()
            with self._changed:
                self._has_ended = True
                self._changed.notify_all()

    def _wait_until(self, condition: Callable[[], bool], timeout: float, what: str, or_ended: bool = True) -> None:
        with self._changed:
            self._changed.wait_for(lambda: condition() or (or_ended and self._has_ended), timeout)
            if not condition():
                raise AssertionError("%s within %g s (%s)" % (what, timeout, self._describe())) from self._error

    def _describe(self) -> str:
        if not self.is_stream and self.status:
            return "%s answered %d: %s" % (self._url, self.status, self._body[:500].decode("utf-8", "replace"))
        ended = "it has ended" if self._has_ended else "it is open"
        if self._error is not None:
            ended = "it has ended by %r" % self._error
        names = ", ".join(event.event for event in self._received.events[-10:]) or "none"
        return "%s: %s; events so far: %s; the last comment: %s" % (
            self._url, ended, names, (self._received.comments or ["none"])[-1]
        )  # fmt: skip


def _hang_up(connection: socket.socket) -> None:
    """Close the connection, also if a process that was forked meanwhile has it open, such as a test's live server."""
    try:
        connection.shutdown(socket.SHUT_RDWR)
    except OSError:  # it is closed
        pass
    connection.close()


def close(app: Flask) -> None:
    """End an application's streams and threads, and close its store.

    For a fixture that makes an application for each test.

    :param app: the application.
    :raises ApplicationError: the application does not use flask_ssemux.
    """
    worker = find_state(app).worker
    for stream in list_open_streams(worker):
        stream.close()
    worker.stop()


#: The streams that are open.
_open: list[OpenStream] = []


def list_open_streams(worker: Worker) -> list[OpenStream]:
    return [stream for stream in _open if stream.worker is worker]


def _make_environ(app: Flask, client: Any, url: str, channels: Sequence[str], headers: Headers) -> dict[str, Any]:
    """Return the WSGI environment of a request, with the cookies of a test client."""
    path, _, query = url.partition("?")
    named = urlencode([("channel", channel) for channel in channels])
    builder = EnvironBuilder(app, path, query_string="&".join(filter(None, (query, named))), headers=headers)
    seen: list[dict[str, Any]] = []

    def note_environ(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        seen.append(environ)
        start_response("200 OK", [])
        return []

    copied = copy.copy(client or app.test_client())
    copied.application = note_environ
    copied.run_wsgi_app(builder.get_environ())
    return seen[0]
