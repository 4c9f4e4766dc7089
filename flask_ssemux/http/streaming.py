"""The wrapper for old streams: a view's generator as it is, made to arrive.

The generator keeps running where it always ran, in its request's own greenlet (or
thread) with whatever context it holds. Heartbeats are written beside it while it
sleeps or polls. Channels and history are not for old generators: the next step,
``SSEMux.add_stream``, is.
"""

from __future__ import annotations

import functools
import inspect
import logging
import threading
from typing import Any, Callable, Iterator, TypeVar

from flask import Response, current_app, request

from ..hub.limits import CHECK_AGAIN, WRITE_TIMEOUT
from ..options import log
from ..sse import encode
from ..state import current
from ..transports.asgi import open_peer
from ..transports.client_socket import ClientSocket
from ..transports.last_answer import announce_close
from ..transports.select import is_departure_noticed
from ..transports.wait import departures, forget_departure
from ..util import forks
from ..util.background import run_in_background
from ..util.threads import greenlets_are_threads
from ..worker.admission import NoRoom
from ..worker.capacity import UNNOTICED, draw_unnoticed_life
from ..worker.drain import DRAIN_SECONDS
from ..worker.running import RunningWorker
from ..worker.server import why_not
from ..worker.worker import Worker
from .views import CONTENT_TYPE, come_back, finish, send_away

F = TypeVar("F", bound=Callable[..., Any])

#: What an event ends with, and a line, in the ways of WHATWG HTML 9.2.5.
BOUNDARIES = (b"\n\n", b"\r\n\r\n", b"\r\r")
LINE_ENDS = (b"\n", b"\r")


def streaming(view: F) -> F:
    """Decorate an old view that returns a generator (or a response made of one).

    It gets the headers and the flushing that keep hops from holding it back, ``: heartbeat``
    after ``SSEMUX_HEARTBEAT`` seconds of its silence, its end when its client leaves (under
    gevent at once, by ``GeneratorExit`` where it sleeps; in threads at its next ``yield``), and an end
    that is clean where it returns or raises. Status, cookies and headers of the view's response stay.
    A response that is no stream, such as a redirect or an error, is left as it is::

        @app.route("/api/jobs/stream")
        @flask_ssemux.streaming
        def jobs_stream():
            return Response(poll_the_database(), mimetype="text/event-stream")

    :raises ApplicationError: at the first request, if flask_ssemux is not set up for the application.
    """

    @functools.wraps(view)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        worker = current().worker
        response = _response(view(*args, **kwargs))
        return _wrap(response, worker) if response.is_streamed else finish(response)

    return wrapped  # type: ignore[return-value]


def _response(returned: Any) -> Response:
    """What the view returned, as Flask would make a response of it; also where Flask 1.1 takes no generator."""
    first, *rest = returned if isinstance(returned, tuple) else (returned,)
    if inspect.isgenerator(first):
        generator: Any = first
        first = current_app.response_class(generator)
    return current_app.make_response((first, *rest) if rest else first)


def _wrap(response: Response, worker: Worker) -> Response:
    trouble = why_not(request.environ)
    if trouble:
        worker.refusals.record(trouble, "was refused", logging.ERROR)
        response.close()
        return come_back(trouble)
    if isinstance(response.response, OldStream):  # two decorators: one place, one set of heartbeats
        return response
    running = worker.running()
    source = OldStream(response.response, running, open_peer(request.environ), str(request.endpoint))
    if not is_departure_noticed(request.environ):
        source.ends_at = running.timer.clock() + draw_unnoticed_life()
    try:
        running.admission.admit_wrapped(source)
    except NoRoom as error:
        response.close()
        return send_away(worker, error)
    response.headers["Content-Type"] = CONTENT_TYPE
    response.headers.pop("Content-Length", None)
    response.response = source
    kind: Any = type(response)
    response.__class__ = _heard(kind)
    response._ssemux_source = source  # type: ignore[attr-defined]
    announce_close(request.environ, response.headers)
    return finish(response)


@functools.lru_cache(maxsize=100)
def _heard(kind: Any) -> Any:
    """The application's kind of response, which also tells its stream the server's ``write``.

    The response keeps the stream beside its body, since an ``after_request`` function may wrap the body. WSGI's
    ``write`` (PEP 3333) is the one way to send bytes while an iterator does not return.
    Changing the class of a response is what Werkzeug's ``Response.force_type`` does.
    """

    def call(self: Response, environ: Any, start_response: Any) -> Any:
        def start(*args: Any) -> Any:
            write = start_response(*args)
            self._ssemux_source.use_write(write)  # type: ignore[attr-defined]
            return write

        return kind.__call__(self, environ, start)

    return type("Streaming" + kind.__name__, (kind,), {"__call__": call})


class OldStream:
    """An old generator as a WSGI iterator, with heartbeats written beside it.

    Whose turn it is to write is the one thing that matters: ``_inside`` is true while the
    generator works, and only then, holding ``_turn``, may a heartbeat be written.
    """

    def __init__(self, source: Any, worker: RunningWorker, peer: ClientSocket, name: str = "") -> None:
        self._name = name
        self.timer_slot: int | None = None
        self.write: Callable[[bytes], Any] | None = None
        self._source = source
        self._items: Iterator[Any] | None = None
        self._worker = worker
        self._peer = peer
        self._options = worker.options
        self._interrupt: Callable[[], None] = _nothing
        self._watched = -1
        self._greenlet: Any = None
        self._turn = threading.Lock()
        self._inside = False
        self._over = False
        #: When the heart first saw that it is over.
        self._ended_at: float | None = None
        self._thrown = False
        self._is_disowned = False
        self._last = b""
        self._tail = b""
        self._sent_at = worker.timer.clock()
        self._has_server = False
        #: When it ends at the latest, where nobody would notice that its client has left.
        self.ends_at = float("inf")

    # -- the server's side -------------------------------------------------

    def use_write(self, write: Callable[[bytes], Any] | None) -> None:
        """Take the server's ``write``; not all servers have one."""
        self.write, self._has_server = write, True
        if write is None:
            _tell_of_silence("it has no write()")

    def __iter__(self) -> OldStream:
        return self

    def __next__(self) -> bytes:
        try:
            data = self._next_data()
        except BaseException:
            self.close()
            raise
        if not data:
            self.close()  # not every middleware passes the server's call on
            raise StopIteration
        return data

    def _next_data(self) -> bytes:
        """What goes out next; b"" when there is nothing more."""
        if self._items is None:
            self._begin()
            return self._sent(encode.retry(self._options.retry, "ssemux") + encode.HEARTBEAT)
        while not self._over:
            item = self._draw()
            if item:
                return self._sent(item)
        last, self._last = self._last, b""
        return last

    def close(self) -> None:
        """The server is done with it (PEP 3333): the generator's ``finally`` runs."""
        if self._is_disowned:
            return
        self._over = True
        self._worker.streams.remove_wrapped(self)
        watched, self._watched = self._watched, -1
        forget_departure(watched)
        self._peer.close()
        source, self._source = self._source, ()
        if hasattr(source, "close"):
            source.close()

    def disown(self) -> None:
        """In a forked child: the generator is the parent's. It goes on here if it waits under gevent, to its next item
        and no further."""
        self._over = self._thrown = self._is_disowned = True
        self._interrupt = _nothing
        self.write = None
        self._watched = -1
        self._peer.disown()

    def _begin(self) -> None:
        self._items = iter(self._source)
        if greenlets_are_threads():
            from gevent import get_hub, getcurrent

            hub, greenlet = get_hub(), getcurrent()
            self._greenlet = greenlet
            self._watched = departures().add(self._peer.file, self)
            self._interrupt = lambda: hub.loop.run_callback(self._throw, greenlet)
        self._peer.watch(self)
        self._worker.streams.add_wrapped(self, min(self._sent_at + self._options.heartbeat / 4, self.ends_at))
        if not self._has_server:
            _warn_of_replacement(self._name)

    def _draw(self) -> bytes:
        """The generator's next item; b"" when it has ended."""
        self._inside = True
        try:
            return _as_bytes(self._next_item())
        except StopIteration:
            self._over = True
        except GeneratorExit:  # thrown by us, or out of the generator by itself: it is over
            self._over = True
        except Exception:
            self._over = True
            log.exception("an old stream's generator raised; its stream ends")
        finally:
            self._inside = False
            self._sent_at = self._worker.timer.clock()
            self.await_beat()
        return b""

    def _next_item(self) -> Any:
        assert self._items is not None
        born = forks.generation
        try:
            return next(self._items)
        finally:
            forks.halt_copy(born)

    def _sent(self, data: bytes) -> bytes:
        self._tail = (self._tail + data)[-4:]
        self._sent_at = self._worker.timer.clock()
        return data

    # -- the heart's side --------------------------------------------------

    @property
    def sent_at(self) -> float:
        return self._sent_at

    def run_due_work(self, now: float) -> float | None:
        """The heart's look: end a silence, or a write that hangs."""
        if self._over or self._peer.has_left():
            return self._watch_server(now)
        if now >= self.ends_at:
            self.leave(self._worker.hub.make_last_frame(UNNOTICED))
        due = self._sent_at + self._options.heartbeat
        if now < due:
            return min(due, self.ends_at)
        if self._inside and self._turn.acquire(False):
            run_in_background("ssemux-beat", self._write_beat)
            return min(now + self._options.heartbeat, max(self.ends_at, now))
        if now >= self._sent_at + self._options.heartbeat + WRITE_TIMEOUT:
            self._peer.sever()
            return self._watch_server(now)
        return now + min(self._options.heartbeat, WRITE_TIMEOUT) / 4

    def _watch_server(self, now: float) -> float:
        """The stream is over: does its server see that, and close it? One that works cannot be closed by others.

        A client that is there has ``DRAIN_SECONDS`` seconds to take what its server still writes, its end included.
        """
        self._end()
        if self._ended_at is None:
            self._ended_at = now
        elif not self._inside and (now >= self._ended_at + DRAIN_SECONDS or self._peer.has_left()):
            self._peer.sever()
            run_in_background("ssemux-end", self.close)
        return now + CHECK_AGAIN

    def await_beat(self) -> None:
        """A heartbeat that is being written is finished first."""
        with self._turn:
            pass

    def leave(self, last: bytes) -> None:
        """Its worker goes: say so, and end."""
        if self._tail.endswith(BOUNDARIES):
            self._last = last
        elif self._tail.endswith(LINE_ENDS):  # a blank line here would make an event of half a one
            self._last = last[:-1]
        self._end()

    def cut(self) -> None:
        self._peer.sever()
        self._end()

    def client_left(self) -> None:
        self._end()

    def _end(self) -> None:
        self._over = True
        self._interrupt()

    def _throw(self, greenlet: Any) -> None:
        """In the hub: end the generator where it sleeps, as ``close`` would where it yields."""
        if self._inside and not self._thrown:  # once: its clean-up may wait too
            self._thrown = True
            greenlet.throw(GeneratorExit)

    def _write_beat(self) -> None:
        """With the turn taken by ``beat``."""
        try:
            if self._inside and self.write is not None:
                _act_for(self._greenlet)
                self.write(self._beat_frame())
                self._sent_at = self._worker.timer.clock()
        except OSError:
            self._end()
        except SystemError as error:  # uWSGI's, whose write() is for the request's own thread
            self.write = None
            _tell_of_silence(str(error))
        except Exception as error:  # waitress's, which is no OSError
            log.debug("an old stream's client left: %s", error)
            self._end()
        finally:
            self._turn.release()

    def _beat_frame(self) -> bytes:
        """Within an event only a bare comment line is harmless; within a line, nothing is."""
        if self._tail.endswith(BOUNDARIES):
            return encode.heartbeat(self._options.heartbeat_event)
        if self._tail.endswith(b"\r"):
            return b": heartbeat\r"  # if the rest of a CRLF follows, then it is this line's
        return b": heartbeat\n" if self._tail.endswith(b"\n") else b""


@functools.lru_cache(maxsize=100)
def _warn_of_replacement(name: str) -> None:
    """Warn once for each view."""
    log.warning(
        "the old stream %r gets no heartbeats while its generator sleeps: something (an after_request function, for "
        "example) put its body into a response of its own, and flask_ssemux cannot write beside that one; change the "
        "response that @streaming made instead of replacing it", name
    )  # fmt: skip


@functools.lru_cache(maxsize=100)
def _tell_of_silence(error: str) -> None:
    """Once."""
    log.warning(
        "old streams get no heartbeats here while their generator sleeps, the server does not let them be written "
        "beside it (%s): use gunicorn or uWSGI with gevent, or SSEMux.add_stream", error
    )  # fmt: skip


def _as_bytes(item: Any) -> bytes:
    if isinstance(item, str):
        return item.encode("utf-8")
    if not isinstance(item, bytes):
        raise TypeError("an old stream's generator yields text or bytes, not %r" % (item,))
    return item


def _act_for(greenlet: Any) -> None:
    """uWSGI finds by the greenlet whose ``write`` it is that writes."""
    request = getattr(greenlet, "uwsgi_wsgi_req", None)
    if request is not None:
        from gevent import getcurrent

        getcurrent().uwsgi_wsgi_req = request


def _nothing() -> None:
    """In threads nobody can be interrupted."""
