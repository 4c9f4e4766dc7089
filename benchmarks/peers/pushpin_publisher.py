"""The application behind pushpin: it says which requests are streams, and publishes over HTTP. It is not counted.

python -m benchmarks.peers.pushpin_publisher PORT PUSHPIN
"""

from __future__ import annotations

import http.client
import json
import os
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

from .. import event
from .pushpin_ports import get_backend_port, get_publish_port

FRAME = "event: %s\ndata: %s\n\n"


class _Handler(BaseHTTPRequestHandler):
    pushpin = 0

    def answer(self, body: bytes, headers: dict[str, str]) -> None:
        self.send_response(200)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


class Backend(_Handler):
    """What pushpin asks about each request of a client."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        asked = parse_qs(urlsplit(self.path).query)
        channel = (asked.get("channel") or asked.get("user") or [""])[0]
        held = {"Grip-Hold": "stream", "Grip-Channel": channel, "Content-Type": "text/event-stream"}
        self.answer(b"", held if channel else {})


class Control(_Handler):
    """What the benchmark asks."""

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        if url.path == "/ready":
            _check_pushpin(self.pushpin)
        if url.path == "/publish":
            asked = {name: values[0] for name, values in parse_qs(url.query).items()}
            values = self.pushpin, *(int(asked[name]) for name in ("events", "size", "users")), float(asked["rate"])
            threading.Thread(target=_publish, args=values, daemon=True).start()
        self.answer(json.dumps({"pid": os.getpid()}).encode(), {})


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 2048


def _check_pushpin(port: int) -> None:
    """Raise unless a request reaches the application through all of pushpin's processes."""
    to = http.client.HTTPConnection("127.0.0.1", port, timeout=2)
    to.request("GET", "/ready")
    if to.getresponse().status != 200:
        raise OSError("pushpin does not reach the application yet")
    to.close()


def _publish(pushpin: int, events: int, size: int, users: int, rate: float) -> None:
    to = http.client.HTTPConnection("127.0.0.1", get_publish_port(pushpin))
    for number, data in enumerate(event.yield_paced(events, rate, size)):
        channel = event.name_user(number % users) if users else event.CHANNEL
        item = {"channel": channel, "formats": {"http-stream": {"content": FRAME % (event.NAME, data)}}}
        to.request("POST", "/publish/", json.dumps({"items": [item]}), {"Content-Type": "application/json"})
        answer = to.getresponse()
        answer.read()
        if answer.status >= 400:
            raise SystemExit("pushpin answered %d %s" % (answer.status, answer.reason))


if __name__ == "__main__":
    _Handler.pushpin = int(sys.argv[2])
    backend = _Server(("127.0.0.1", get_backend_port(_Handler.pushpin)), Backend)
    threading.Thread(target=backend.serve_forever, daemon=True).start()
    _Server(("127.0.0.1", int(sys.argv[1])), Control).serve_forever()
