"""Thousands of malicious connections, from a process of their own::

    python -m tests.hostile.flood half|deaf|storm PORT COUNT SECONDS

``half`` sends the beginning of a request, ``deaf`` requests a stream and never reads; both keep COUNT connections open,
and replace each one that the server closes. ``storm`` opens, requests, and closes at once, COUNT times in all. It stops
by itself, and uses only loopback. It prints one JSON object per line: how many are open, were opened, and were closed
by the server.
"""

from __future__ import annotations

import json
import os
import select
import socket
import struct
import sys
import time

REQUEST = b"GET /events?channel=room:1 HTTP/1.1\r\nHost: localhost\r\n"
SENDS = {"half": REQUEST, "deaf": REQUEST + b"\r\n", "storm": REQUEST + b"\r\n"}

#: Connections that may be opening at a time: a listening socket of gunicorn's has room for 2048.
AT_A_TIME = 200

#: A client that leaves at once sends this: no FIN that lingers, and no port that stays occupied.
RESET = struct.pack("ii", 1, 0)


class Flood:
    def __init__(self, kind: str, port: int, count: int, seconds: float) -> None:
        self.kind, self.port, self.count = kind, port, count
        self.ends_at = time.monotonic() + seconds
        self.opened = self.closed = 0
        self._epoll = select.epoll()
        self._connecting: dict[int, socket.socket] = {}
        self._open: dict[int, socket.socket] = {}

    def run(self) -> None:
        told_at = 0.0
        while time.monotonic() < self.ends_at and not (self.kind == "storm" and self.opened >= self.count):
            self._connect()
            for file, events in self._epoll.poll(0.05):
                self._happened(file, events)
            if time.monotonic() > told_at + 0.2:
                told_at = time.monotonic()
                self.tell()
        self.tell()

    def tell(self) -> None:
        print(json.dumps({"open": len(self._open), "opened": self.opened, "closed": self.closed}), flush=True)

    def _connect(self) -> None:
        while len(self._connecting) < AT_A_TIME and len(self._open) + len(self._connecting) < self.count:
            one = socket.socket()
            one.setblocking(False)
            one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            one.connect_ex(("127.0.0.1", self.port))
            self._connecting[one.fileno()] = one
            self._epoll.register(one.fileno(), select.EPOLLOUT)

    def _happened(self, file: int, events: int) -> None:
        if file in self._connecting:
            one = self._connecting.pop(file)
            if events & (select.EPOLLERR | select.EPOLLHUP):
                one.close()
                return
            self.opened += 1
            one.send(SENDS[self.kind])
            if self.kind == "storm":
                self._leave(one)
                return
            self._open[file] = one
            self._epoll.modify(file, select.EPOLLRDHUP)  # what the server sends stays in the kernel
        elif events & (select.EPOLLRDHUP | select.EPOLLHUP | select.EPOLLERR):
            self.closed += 1
            self._leave(self._open.pop(file))

    def _leave(self, one: socket.socket) -> None:
        if self.opened % 2:  # half of them leave without an end
            one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        one.close()


if __name__ == "__main__":
    os.nice(10)  # a real flood comes from another machine, so here it must not take the server's CPU
    Flood(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4])).run()
