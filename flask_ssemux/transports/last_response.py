"""Announce in a response's headers that it is the last one on its connection (RFC 9112, 9.6).

The server closes a stream's connection when the stream ends, so that a worker that stops does not wait for clients'
idle connections. Without the announcement, a client may already have sent its next request on that connection, and that
request fails. No connection is closed here. Servers that cannot announce it keep the connection open.
"""

from __future__ import annotations

from typing import Any, MutableMapping

from werkzeug.datastructures import Headers

from .gunicorn_response import force_close


def announce_close(environ: MutableMapping[str, Any], headers: Headers) -> None:
    """Announce it for the response to this request.

    :param environ: the request's.
    :param headers: the response's.
    """
    server = str(environ.get("SERVER_SOFTWARE", ""))
    if server.startswith("gunicorn"):
        force_close(environ)
    elif server.startswith("gevent/"):
        headers["Connection"] = "close"  # gevent's pywsgi obeys it; most servers ignore or forbid it (PEP 3333)
