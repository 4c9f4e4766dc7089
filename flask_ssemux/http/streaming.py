"""``@flask_ssemux.streaming``: the decorator that wraps the response of an old generator view.

The generator itself runs in ``wrapped_generator.py``. Channels and history are not for wrapped streams; the next step,
``SSEMux.add_stream``, has both.
"""

from __future__ import annotations

import functools
import inspect
import logging
from typing import Any, Callable, TypeVar

from flask import Response, current_app, request

from ..state import get_current_state
from ..transports.asgi import find_client_socket
from ..transports.last_response import announce_close
from ..transports.select import is_departure_noticed
from ..worker.admission import NoRoom
from ..worker.capacity import draw_unnoticed_life
from ..worker.running import RunningWorker
from ..worker.server import why_not
from ..worker.worker import Worker
from .open_stream import answer_no_room
from .responses import CONTENT_TYPE, add_stream_headers, make_retry_later
from .wrapped_generator import WrappedGenerator

F = TypeVar("F", bound=Callable[..., Any])


def streaming(view: F) -> F:
    """Decorate an old view that returns a generator (or a response made of one).

    It gets the headers and the flushing that keep hops from holding it back, ``: heartbeat``
    after ``SSEMUX_HEARTBEAT`` seconds of silence, an end when its client leaves (under
    gevent at once, by ``GeneratorExit`` where the generator sleeps; in threads at its next ``yield``), and a clean end
    when it returns or raises. Status, cookies and headers of the view's response stay.
    A response that is no stream, such as a redirect or an error, is left as it is::

        @app.route("/api/jobs/stream")
        @flask_ssemux.streaming
        def jobs_stream():
            return Response(poll_the_database(), mimetype="text/event-stream")

    :raises ApplicationError: at the first request, if flask_ssemux is not set up for the application.
    """

    @functools.wraps(view)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        worker = get_current_state().worker
        response = _make_response(view(*args, **kwargs))
        if not response.is_streamed:
            return add_stream_headers(response)
        if isinstance(response.response, WrappedGenerator):  # decorated twice: the inner decorator did the work
            return response
        return _serve_wrapped(response, worker)

    return wrapped  # type: ignore[return-value]


def _make_response(returned: Any) -> Response:
    """Make a response of what the view returned, as Flask does; Flask 1.1 accepts no generator."""
    first, *rest = returned if isinstance(returned, tuple) else (returned,)
    if inspect.isgenerator(first):
        generator: Any = first
        first = current_app.response_class(generator)
    return current_app.make_response((first, *rest) if rest else first)


def _serve_wrapped(response: Response, worker: Worker) -> Response:
    """Return the wrapped response, or an answer that tells the client to come back; then the view's own is closed."""
    source: WrappedGenerator | None = None
    try:
        trouble = why_not(request.environ)
        if trouble:
            worker.refusals.record(trouble, "was refused", logging.ERROR)
            response.close()
            return make_retry_later(trouble)
        running = worker.running()
        source = _make_source(response, running)
        running.admission.admit_wrapped(source)
        return _wrap_response(response, source)
    except NoRoom as error:
        response.close()
        return answer_no_room(worker, error)
    except BaseException:
        if source is not None:
            source.close()
        response.close()
        raise


def _make_source(response: Response, running: RunningWorker) -> WrappedGenerator:
    client = find_client_socket(request.environ)
    source = WrappedGenerator(response.response, running, client, str(request.endpoint))
    if not is_departure_noticed(request.environ, client):
        source.ends_at = running.timer.clock() + draw_unnoticed_life()
    return source


def _wrap_response(response: Response, source: WrappedGenerator) -> Response:
    """Return the view's response with another body, and with the server's ``write`` for it."""
    kind: Any = type(response)
    response.__class__ = _make_class(kind)
    response._ssemux_source = source  # type: ignore[attr-defined]
    response.headers["Content-Type"] = CONTENT_TYPE
    response.headers.pop("Content-Length", None)
    response.response = source
    announce_close(request.environ, response.headers)
    return add_stream_headers(response)


@functools.lru_cache(maxsize=100)
def _make_class(kind: Any) -> Any:
    """Return a subclass of the application's response class that passes the server's ``write`` to its source.

    The response keeps the source beside its body, since an ``after_request`` function may wrap the body. WSGI's
    ``write`` (PEP 3333) is the only way to send bytes while an iterator does not return. Werkzeug's
    ``Response.force_type`` changes the class of a response in the same way.
    """

    def call(self: Response, environ: Any, start_response: Any) -> Any:
        def start(*args: Any) -> Any:
            write = start_response(*args)
            self._ssemux_source.use_write(write)  # type: ignore[attr-defined]
            return write

        return kind.__call__(self, environ, start)

    return type("Streaming" + kind.__name__, (kind,), {"__call__": call})
