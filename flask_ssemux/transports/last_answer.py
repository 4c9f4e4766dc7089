"""Announce in an answer's headers that it is the last one on its connection (RFC 9112, 9.6).

The server closes a stream's connection when the stream ends, so that a worker that stops does not wait for the
clients' idle connections. A client that was not told so may already have sent its next request on that connection,
and that request fails. Nothing here closes a connection, and servers where no announcement is possible keep it open.
"""

from __future__ import annotations

import sys
from typing import Any, Mapping

from werkzeug.datastructures import Headers

#: The modules of gunicorn's workers that keep connections open after an answer: gevent, and gthread.
KEEPING_WORKERS = ("gunicorn.workers.base_async", "gunicorn.workers.gthread")


def announce_close(environ: Mapping[str, Any], headers: Headers) -> None:
    """Announce it for the response that this request is about to get.

    :param headers: the response's.
    """
    if str(environ.get("SERVER_SOFTWARE", "")).startswith("gevent/"):
        headers["Connection"] = (
            "close"  # gevent's pywsgi obeys this header; most servers ignore or forbid it (PEP 3333)
        )
    else:
        announce_close_by_gunicorn()


def announce_close_by_gunicorn() -> None:
    """The same, where only the server's response is at hand; its headers must not have been sent yet."""
    response = find_gunicorn_variables(*KEEPING_WORKERS).get("resp")
    if response is not None:
        response.force_close()


def find_gunicorn_variables(*workers: str) -> Mapping[str, Any]:
    """Return the variables of the function in which gunicorn's worker handles the current request; {} elsewhere.

    :param workers: the modules of the workers that are looked for.
    """
    frame = sys._getframe(1)
    while frame is not None:  # each stream's opening walks here
        if frame.f_code.co_name == "handle_request" and frame.f_globals.get("__name__") in workers:
            return frame.f_locals
        frame = frame.f_back  # type: ignore[assignment]
    return {}
