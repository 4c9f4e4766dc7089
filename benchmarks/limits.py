"""Measures how many streams of one user three workers admit, and how long pages take while the user opens them.

The pages are requested one after another, each over a connection of its own, like a visitor's first request. Nothing is
pinned to a core: the workers use the whole machine, except what the client uses.
"""

from __future__ import annotations

import http.client
import socket
import threading
import time
from contextlib import ExitStack

from .contenders import STREAM, flask_ssemux
from .servers import Server
from .table import percentile, progress, table

WORKERS = 3

#: Seconds between two pages.
PAUSE = 0.01

#: The beginning of a stream that was admitted.
HELLO = b"ssemux.hello"


def measure_user_limit(streams: int, limit: int, seconds: float, broker: str) -> str:
    """Return the table.

    :param streams: how many streams one user opens.
    :param limit: SSEMUX_MAX_STREAMS_PER_USER.
    :param seconds: seconds of measuring, first without streams and then with them.
    """
    contender = flask_ssemux(broker, max_streams_per_user=limit)
    with Server(contender, None, workers=WORKERS) as server, ExitStack() as stack:
        progress("pages without streams")
        rows = [_row("none", _request_pages(server.port, seconds), 0)]
        progress("%d streams of one user, and pages" % streams)
        opened: list[socket.socket] = []
        thread = threading.Timer(seconds / 4, lambda: opened.extend(_open(server.port, streams, stack)))
        thread.start()
        took = _request_pages(server.port, seconds)
        thread.join()
        rows.append(_row("%d, limit %d" % (streams, limit), took, sum(map(_is_admitted, opened))))
    head = ("streams of one user", "let in", "pages", "median ms", "p99 ms", "slowest ms")
    return table(head, rows)


def _open(port: int, streams: int, stack: ExitStack) -> list[socket.socket]:
    made = [stack.enter_context(socket.create_connection(("127.0.0.1", port))) for _ in range(streams)]
    for one in made:
        one.sendall(b"GET %s HTTP/1.1\r\nHost: bench\r\nX-User: greedy\r\n\r\n" % STREAM.encode("ascii"))
    return made


def _is_admitted(one: socket.socket) -> bool:
    one.setblocking(False)
    try:
        return HELLO in one.recv(65536)
    except BlockingIOError:
        return False


def _request_pages(port: int, seconds: float) -> list[float]:
    """Request pages, and return how long each took, in seconds."""
    took, end = [], time.monotonic() + seconds
    while time.monotonic() < end:
        began = time.monotonic()
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        connection.request("GET", "/ready")
        connection.getresponse().read()
        connection.close()
        took.append(time.monotonic() - began)
        time.sleep(PAUSE)
    return took


def _row(streams: str, took: list[float], admitted: int) -> tuple[str, ...]:
    figures = (percentile(took, 0.5), percentile(took, 0.99), max(took))
    return (streams, "%d" % admitted, "%d" % len(took), *("%.1f" % (figure * 1000) for figure in figures))
