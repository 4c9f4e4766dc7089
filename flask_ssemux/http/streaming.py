"""``@flask_ssemux.streaming``: the decorator that wraps the response of an old generator view.

The generator itself runs in ``wrapped_generator.py``, and ``wrapped_body.py`` says what its body may contain beside the
generator's items. Channels and history are not for wrapped streams; the next step, ``SSEMux.add_stream``, has both.
"""

from __future__ import annotations

import functools
import inspect
import itertools
import logging
from collections.abc import Iterator
from typing import Any, Callable, TypeVar

from flask import Response, current_app, request
from werkzeug.wsgi import FileWrapper

from ..access.async_functions import make_synchronous
from ..errors import ApplicationError
from ..state import get_current_state
from ..transports.last_response import announce_close
from ..transports.select import find_client_socket, is_departure_noticed
from ..worker.admission import NoRoom
from ..worker.capacity import draw_unnoticed_life
from ..worker.running import RunningWorker
from ..worker.server import why_not
from ..worker.worker import Worker
from .decorated_views import note_wrapper
from .open_stream import answer_no_room
from .opening_border import BUSY, IS_STREAM, IS_TURNED_AWAY, draw_busy_return
from .responses import CONTENT_TYPE, add_passing_headers, add_stream_headers, make_busy, make_retry_later
from .views import name_view
from .wrapped_body import Additions, choose_additions, is_encoded, is_events_type
from .wrapped_generator import WrappedGenerator

F = TypeVar("F", bound=Callable[..., Any])

#: The numbers of wrapped views that have no names.
_numbers = itertools.count(1)


def streaming(view: F) -> F:
    """Decorate an old view that returns a generator (or a response made of one).

    An event stream (``text/event-stream``) gets the headers and the flushing that keep hops from holding it back,
    ``: heartbeat`` after ``SSEMUX_HEARTBEAT`` seconds of silence between its events, an end when its client leaves
    (under gevent at once, by ``GeneratorExit`` where the generator sleeps; in threads at its next ``yield``), and a
    clean end when it returns or raises. Status, cookies and headers of the view's response stay.

    A body of another type (NDJSON, CSV, plain text) gets the headers, the end when its client leaves, and the limits,
    but no byte of ours. A generator that the view returns without a type is an event stream.
    A response that is no stream, such as a redirect, an error or a file, is left as it is::

        @app.route("/api/jobs/stream")
        @flask_ssemux.streaming
        def jobs_stream():
            return Response(poll_the_database(), mimetype="text/event-stream")

    The application must be set up with ``init_app``; with ``SSEMUX_URL=off`` this adds no URL.

    :param view: a view function, also an ``async def`` one. For a class of views, write ``decorators = [streaming]``
        into the class.
    :raises ApplicationError: at the first request, if flask_ssemux is not set up for the application; or if the view
        returns an asynchronous generator, over which Flask cannot iterate.
    :raises TypeError: ``view`` is no function.
    """
    if inspect.isclass(view) or not callable(view):
        raise TypeError(
            "@flask_ssemux.streaming decorates a view function, not %r; for a class of views, write "
            "decorators = [flask_ssemux.streaming] into the class" % (view,)
        )

    call_view = view if inspect.isasyncgenfunction(view) else make_synchronous(view)

    @functools.wraps(view)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        for decoration in decorations:
            decoration.is_used = True
        worker = get_current_state().worker
        if IS_TURNED_AWAY in request.environ:
            return make_retry_later(BUSY, draw_busy_return(worker))
        response = _make_response(call_view(*args, **kwargs))
        if not response.is_streamed:
            return add_stream_headers(response)
        if isinstance(response.response, WrappedGenerator):  # decorated twice: the inner decorator did the work
            return response
        if IS_STREAM in request.environ or _is_file(response):  # a run's answer, or the view of ``add_stream``
            return response
        additions = choose_additions(response, request.environ)
        if additions in (Additions.OPENING_AT_ONCE, Additions.OPENING_WITH_EVENT):
            return _serve_events(response, worker, additions)
        return _serve_once(response, worker, additions)

    if not hasattr(view, "__name__"):  # such as a functools.partial
        wrapped.__module__ = __name__
        name_view(wrapped, "streaming_%d" % next(_numbers))
    wrapped._ssemux_view = view  # type: ignore[attr-defined]  # for ``add_stream(feed=)``, which calls it without a request
    decorations = note_wrapper(view, wrapped)
    return wrapped  # type: ignore[return-value]


def _make_response(returned: Any) -> Response:
    """Make a response of what the view returned, as Flask does.

    Flask 1.1 accepts no generator, and later versions call it ``text/html``, which no view that returns a bare
    generator has chosen: its type is that of an event stream, unless the view names another.
    """
    first, *rest = returned if isinstance(returned, tuple) else (returned,)
    if inspect.isasyncgen(first) or inspect.isasyncgen(getattr(first, "response", None)):
        raise ApplicationError(
            "the view %r returns an asynchronous generator, over which Flask cannot iterate: write the generator with "
            "def instead of async def; the view itself may be async" % request.endpoint
        )
    if isinstance(first, Iterator):
        first = current_app.response_class(first, content_type=CONTENT_TYPE)
    response = current_app.make_response((first, *rest) if rest else first)
    types = response.headers.getlist("Content-Type")
    if len(types) > 1:  # Flask 1.1 adds a header of the view's tuple to those that are there
        response.headers["Content-Type"] = types[-1]
    return response


def _is_file(response: Response) -> bool:
    """Return whether the body is a file (``send_file``), which the server sends in its own way."""
    body, kind = response.response, request.environ.get("wsgi.file_wrapper")
    if isinstance(body, FileWrapper) or (isinstance(kind, type) and isinstance(body, kind)):
        return True
    return response.direct_passthrough and hasattr(body, "read")  # uWSGI's wrapper is a function that returns the file


def _serve_events(response: Response, worker: Worker, additions: Additions) -> Response:
    """Return the wrapped response, or an answer that tells the client to come back; then the view's own is closed."""
    request.environ[IS_STREAM] = True
    trouble = why_not(request.environ)
    if trouble:
        worker.refusals.record(trouble, "was refused", logging.ERROR)
        response.close()
        return make_retry_later(trouble)
    try:
        return _wrap_response(response, worker, additions)
    except NoRoom as error:
        return answer_no_room(worker, error)


def _serve_once(response: Response, worker: Worker, additions: Additions) -> Response:
    """Return the wrapped response to a client that does not come back by itself, or a 503.

    A server that cannot serve streams serves this one as it serves every other response.
    """
    if why_not(request.environ):
        return add_passing_headers(response)
    try:
        return _wrap_response(response, worker, additions)
    except NoRoom as error:
        worker.refusals.record(error.reason)
        return make_busy(error.reason)


def _wrap_response(response: Response, worker: Worker, additions: Additions) -> Response:
    """
    :raises NoRoom: there is no room for the stream; the view's response is closed.
    """
    source: WrappedGenerator | None = None
    try:
        running = worker.running()
        source = _make_source(response, running, additions)
        running.admission.admit_wrapped(source)
        return _replace_body(response, source, additions)
    except BaseException:
        if source is not None:
            source.close()
        response.close()
        raise


def _make_source(response: Response, running: RunningWorker, additions: Additions) -> WrappedGenerator:
    client = find_client_socket(request.environ)
    content_type = response.headers.get("Content-Type", "")
    source = WrappedGenerator(response.response, running, client, str(request.endpoint), additions, content_type)
    if source.is_event_stream and not is_departure_noticed(request.environ, client):
        source.ends_at = running.timer.clock() + draw_unnoticed_life()
    return source


def _replace_body(response: Response, source: WrappedGenerator, additions: Additions) -> Response:
    """Return the view's response with another body, and with the server's ``write`` for it."""
    kind: Any = type(response)
    response.__class__ = _make_class(kind)
    response._ssemux_source = source  # type: ignore[attr-defined]
    response.response = source
    if additions is Additions.NOTHING:
        return add_passing_headers(response)
    response.headers["Content-Type"] = CONTENT_TYPE
    response.headers.pop("Content-Length", None)
    announce_close(request.environ, response.headers)
    return add_stream_headers(response)


def _respect_changes(response: Response, source: WrappedGenerator) -> None:
    """Add nothing to what an ``after_request`` function has made another body of: of another type, or compressed."""
    if not source.is_event_stream:
        return
    if not is_events_type(response):
        source.add_nothing(response.headers.get("Content-Type", ""))
    elif is_encoded(response):
        source.write_nothing()


@functools.lru_cache(maxsize=100)
def _make_class(kind: Any) -> Any:
    """Return a subclass of the application's response class that passes the server's ``write`` to its source.

    The response keeps the source beside its body, since an ``after_request`` function may wrap the body. WSGI's
    ``write`` (PEP 3333) is the only way to send bytes while an iterator does not return. Werkzeug's
    ``Response.force_type`` changes the class of a response in the same way.
    """

    def call(self: Response, environ: Any, start_response: Any) -> Any:
        _respect_changes(self, self._ssemux_source)  # type: ignore[attr-defined]

        def start(*args: Any) -> Any:
            write = start_response(*args)
            self._ssemux_source.use_write(write)  # type: ignore[attr-defined]
            return write

        return kind.__call__(self, environ, start)

    return type("Streaming" + kind.__name__, (kind,), {"__call__": call})
