"""The WSGI border of an application: requests for streams wait here for their turn, before Flask has dispatched them.

All other requests pass. Which requests have their turn is decided in ``worker/opening_queue.py``.
"""

from __future__ import annotations

from typing import Any, Callable, Iterable

from ..sse import encode
from ..transports.gunicorn_response import START_RESPONSE
from ..worker.drain import choose_return_seconds, draw_return
from ..worker.opening_queue import QueueFull, opening_queue
from ..worker.worker import Worker
from .responses import CONTENT_TYPE, HEADERS

#: What clients read that find the queue full.
BUSY = "many streams are being opened"

#: In a request's environment: the queue is full, so the stream's view answers when to come back.
IS_TURNED_AWAY = "ssemux.is_turned_away"

#: In a request's environment, set by the views of streams: the request was for a stream.
IS_STREAM = "ssemux.is_stream"

#: In a request's environment: it has had its turn, at the border of an application around this one.
HAD_TURN = "ssemux.had_turn"

#: How many paths of streams are remembered. Paths with variables may be many; browsers say what they accept, too.
MAX_PATHS = 1000


class OpeningBorder:
    """A WSGI application that wraps the application's own.

    :param application: ``app.wsgi_app``.
    """

    def __init__(self, application: Callable[..., Iterable[bytes]], worker: Worker) -> None:
        self._application = application
        self._worker = worker
        #: Paths at which streams were requested.
        self._paths: set[str] = set()

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        environ[START_RESPONSE] = start_response
        if not self._is_opening(environ):
            return self._call_and_learn(environ, start_response)
        try:
            opening_queue.await_turn()
        except QueueFull:
            return self._turn_away(environ, start_response)
        environ[HAD_TURN] = True
        with opening_queue.measure_opening():
            return self._application(environ, start_response)

    def _call_and_learn(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        path = environ.get("PATH_INFO", "")  # now, since middleware in between may change it
        body = self._application(environ, start_response)
        if IS_STREAM in environ and len(self._paths) < MAX_PATHS:
            self._paths.add(path)
        return body

    def _is_opening(self, environ: dict[str, Any]) -> bool:
        """Return whether this request asks for a stream: its path says so, or what it accepts, as with EventSource."""
        if environ.get("REQUEST_METHOD") != "GET":  # such as a POST that is answered by a stream: it is not repeated
            return False
        accepted = environ.get("HTTP_ACCEPT", "")
        if accepted != CONTENT_TYPE and (environ.get("PATH_INFO") not in self._paths or "text/html" in accepted):
            return False  # the same path may have a page, too
        return HAD_TURN not in environ

    def _turn_away(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        """Tell the client to come back. For a client of another origin, the application adds the headers of CORS."""
        self._worker.refusals.record(BUSY)
        if "HTTP_ORIGIN" in environ:
            environ[IS_TURNED_AWAY] = True
            return self._application(environ, start_response)
        body = encode.make_retry(draw_busy_return(self._worker), BUSY)
        start_response("200 OK", [("Content-Type", CONTENT_TYPE), ("Content-Length", str(len(body))), *HEADERS.items()])
        return [body]


def draw_busy_return(worker: Worker) -> int:
    """Return the ``retry`` in milliseconds for a client that found the queue full: it returns after those that wait."""
    return draw_return(worker.options, choose_return_seconds(worker.options, 2 * len(opening_queue)))
