"""The answers that clients of streams understand: streams, refusals, "come back later" and "do not come back".

Which of them a request gets is decided elsewhere.
"""

from __future__ import annotations

import json
import random
from itertools import chain
from typing import Iterable, Mapping

from flask import Response, current_app, request
from werkzeug.datastructures import Headers
from werkzeug.wsgi import ClosingIterator

from ..errors import ClientError
from ..sse import encode
from ..transports.generator import GeneratorTransport

#: To the letter: at least one tunnel buffers answers with "; charset=utf-8", which Flask adds for a mimetype.
CONTENT_TYPE = "text/event-stream"

#: The headers of every answer of a stream's URL, errors included.
HEADERS = {
    "Cache-Control": "no-cache, no-transform",
    # nginx: "proxy_buffering off" for this answer alone (ngx_http_proxy_module).
    "X-Accel-Buffering": "no",
}

#: The header of a body that is streamed. Not every compressor respects "no-transform", and the one of Caddy 2.6 never
#: flushes: a replay of more than 512 bytes did not arrive. Compressors leave an answer alone that names its encoding.
_ENCODING = ("Content-Encoding", "identity")

#: The header of the answer to a poll, which a cache could otherwise keep.
_POLL_CACHE_CONTROL = ("Cache-Control", "no-store")

#: The headers of a stream.
_STREAM_HEADERS = Headers([("Content-Type", CONTENT_TYPE), *HEADERS.items(), _ENCODING])

#: The type of errors for Datastar, whose release candidates merge an answer of the type ``application/json`` into the
#: page's signals, whatever its status is (measured: 1.0.0-RC.5).
DATASTAR_JSON = "application/problem+json"

#: Seconds, from and to, after which a client that found no room comes back.
RETRY_SECONDS = (10.0, 30.0)


def add_stream_headers(response: Response) -> Response:
    """Set the headers that keep every hop from holding an answer back."""
    headers = response.headers
    for name, value in HEADERS.items():
        found = headers.getlist(name)
        if found != [value] and (name, *found) != _POLL_CACHE_CONTROL:
            headers[name] = value
    if response.is_streamed:
        headers.setdefault(*_ENCODING)
    return response


def add_passing_headers(response: Response) -> Response:
    """Set the headers that keep hops from holding back a body that is no event stream; its own ones stay."""
    response.headers["X-Accel-Buffering"] = HEADERS["X-Accel-Buffering"]
    response.headers.setdefault("Cache-Control", "no-cache")
    response.cache_control.no_transform = True
    response.headers.setdefault(*_ENCODING)
    return response


def make_plain_body(transport: GeneratorTransport) -> Iterable[bytes]:
    """Return a body whose headers are sent at once, although it may begin with nothing for a while."""
    # PEP 3333 lets servers send the headers with the first item that is not empty; most do it with the first one.
    return ClosingIterator(chain((b"",), transport), transport.close)


def make_stream(source: Iterable[bytes]) -> Response:
    """Return a response that streams these bytes."""
    # Passed through directly: Werkzeug does not wrap each item, and compressors find nothing to compress.
    return current_app.response_class(source, headers=Headers(_STREAM_HEADERS), direct_passthrough=True)


def make_poll_answer(source: Iterable[bytes]) -> Response:
    response = make_stream(source)
    name, value = _POLL_CACHE_CONTROL
    response.headers[name] = value
    return response


def make_retry_later(reason: str, milliseconds: int | None = None) -> Response:
    """Return a complete stream that only says when to come back: browsers do not reconnect after a 4xx or 5xx.

    :param milliseconds: None: a random time within ``RETRY_SECONDS``.
    """
    pause = int(random.uniform(*RETRY_SECONDS) * 1000) if milliseconds is None else milliseconds
    return add_stream_headers(current_app.response_class(encode.make_retry(pause, reason), content_type=CONTENT_TYPE))


def make_busy(reason: str) -> Response:
    """Return a 503 for a client that is no ``EventSource``, and says in it when to come back."""
    response = _answer_json({"error": "busy", "message": reason}, 503)
    response.headers["Retry-After"] = str(int(random.uniform(*RETRY_SECONDS)))
    return add_stream_headers(response)


def make_stay_away() -> Response:
    """Return a 204, after which no browser reconnects by itself (WHATWG HTML 9.2.3)."""
    return add_stream_headers(current_app.response_class(status=204))


def make_refusal(error: ClientError) -> Response:
    """Return the error as JSON, with its status."""
    answer = {"error": error.code, "message": str(error)}
    if error.channel is not None:
        answer["channel"] = error.channel
    return add_stream_headers(_answer_json(answer, error.status))


def _answer_json(answer: Mapping[str, str], status: int) -> Response:
    """Return an answer that the browser's client reads: an application's own provider may write other names."""
    kind = DATASTAR_JSON if "Datastar-Request" in request.headers else "application/json"
    return current_app.response_class(json.dumps(answer) + "\n", status, content_type=kind)
