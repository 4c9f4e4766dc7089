"""Publishes to nchan over HTTP as an application beside nginx would. The CPU time of this process is not counted.

python -m benchmarks.peers.nchan_publisher PORT NCHAN
"""

from __future__ import annotations

import http.client
import json
import os
import socket
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

from .. import event

POST = "/post?channel="


class Handler(BaseHTTPRequestHandler):
    nchan = 0

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        if url.path == "/ready":
            # Refused until it listens: then we are not ready either.
            socket.create_connection(("127.0.0.1", self.nchan), timeout=2).close()
        if url.path == "/publish":
            asked = {name: values[0] for name, values in parse_qs(url.query).items()}
            values = self.nchan, *(int(asked[name]) for name in ("events", "size", "users")), float(asked["rate"])
            threading.Thread(target=_publish, args=values, daemon=True).start()
        told = json.dumps({"pid": os.getpid()}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(told)))
        self.end_headers()
        self.wfile.write(told)

    def log_message(self, *_: object) -> None:
        pass


def _publish(nchan: int, events: int, size: int, users: int, rate: float) -> None:
    to = http.client.HTTPConnection("127.0.0.1", nchan)
    for number, data in enumerate(event.yield_paced(events, rate, size)):
        channel = event.name_user(number % users) if users else event.CHANNEL
        to.request("POST", POST + channel, data, {"X-EventSource-Event": event.NAME, "Content-Type": "text/plain"})
        answer = to.getresponse()
        answer.read()
        if answer.status >= 400:
            raise SystemExit("nchan answered %d %s" % (answer.status, answer.reason))


if __name__ == "__main__":
    Handler.nchan = int(sys.argv[2])
    ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
