"""The floor: a server that only accepts connections, and calls ``sendall`` with one prepared chunk on each socket.

It supports as much HTTP as ``servers.py`` and ``client.py`` need, without frameworks: every server has at least this
cost.

    python -m benchmarks.floor PORT
"""

from __future__ import annotations

import json
import os
import select
import socket
import sys
import time
from typing import Iterator
from urllib.parse import parse_qs, urlsplit

from . import event

_HEAD = (
    b"HTTP/1.1 200 OK\r\nX-Worker: %d\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"15\r\nevent: ssemux.hello\n\n\r\n"
)
_ANSWER = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s"


class Floor:
    """One thread, blocking sockets, no queue."""

    def __init__(self, port: int) -> None:
        self._listener = socket.create_server(("127.0.0.1", port), backlog=2048)
        self._poll = select.epoll()
        self._poll.register(self._listener, select.EPOLLIN)
        self._sockets: dict[int, socket.socket] = {}
        self._streams: dict[int, socket.socket] = {}
        self._due: Iterator[float] = iter(())
        self._size = event.SIZE

    def run(self) -> None:
        while True:
            due = next(self._due, None)
            self._serve(due)
            if due is not None:
                self._send()

    def _serve(self, until: float | None) -> None:
        """Answer requests until this time, or until there was one."""
        while True:
            left = -1.0 if until is None else max(0.0, until - time.monotonic())
            found = self._poll.poll(left)
            for file, _ in found:
                self._accept() if file == self._listener.fileno() else self._read(file)
            if (found and until is None) or (until is not None and time.monotonic() >= until):
                return

    def _accept(self) -> None:
        made, _ = self._listener.accept()
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._sockets[made.fileno()] = made
        self._poll.register(made, select.EPOLLIN)

    def _read(self, file: int) -> None:
        try:
            request = self._sockets[file].recv(4096)
        except ConnectionError:
            request = b""
        if request:
            self._answer(file, urlsplit(request.split(b" ")[1].decode()))
        else:
            self._poll.unregister(file)
            self._streams.pop(file, None)
            self._sockets.pop(file).close()

    def _answer(self, file: int, url: object) -> None:
        path, query = url.path, parse_qs(url.query)  # type: ignore[attr-defined]
        if path == "/events":
            self._streams[file] = self._sockets[file]
            self._sockets[file].sendall(_HEAD % os.getpid())
            return
        if path == "/publish":
            start, rate = time.monotonic(), float(query["rate"][0])
            self._due = (start + number / rate for number in range(int(query["events"][0])))
            self._size = int(query["size"][0])
        body = json.dumps({"pid": os.getpid()}).encode()
        self._sockets[file].sendall(_ANSWER % (len(body), body))

    def _send(self) -> None:
        frame = b"event: tick\nchannel: bench\ndata: %s\nid: abcdefgh-123\n\n" % event.make_data(self._size).encode()
        chunk = b"%X\r\n%s\r\n" % (len(frame), frame)
        for stream in self._streams.values():
            stream.sendall(chunk)


if __name__ == "__main__":
    Floor(int(sys.argv[1])).run()
