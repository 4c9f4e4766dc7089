"""Clients that replay, in a process of their own::

    python -m benchmarks.reader read|deaf PORT CLIENTS PATH CURSOR EVENTS

``read`` reads as fast as it can, until each client has this many events. ``deaf`` sends the requests and reads nothing,
until it is killed. It prints one line with the seconds until all events were read, or until all requests were sent.
"""

from __future__ import annotations

import selectors
import socket
import sys
import time

#: The bytes that the kernel buffers for a client that reads nothing.
DEAF_BYTES = 4096

_ID = b"id: "


class Client:
    """One connection that requested its replay."""

    def __init__(self, port: int, path: str, cursor: str, is_deaf: bool) -> None:
        self.socket = socket.socket()
        if is_deaf:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, DEAF_BYTES)
        self.socket.connect(("127.0.0.1", port))
        self.socket.sendall(
            b"GET %s HTTP/1.1\r\nHost: bench\r\nLast-Event-ID: %s\r\n\r\n" % (path.encode(), cursor.encode())
        )
        self.events = 0
        self._tail = b""

    def fileno(self) -> int:
        return self.socket.fileno()

    def read(self) -> bool:
        """Read once, and tell whether there was something to read."""
        data = self.socket.recv(1 << 20)
        # An id that arrives in two parts is counted once, when its end arrives.
        self.events += (self._tail + data).count(_ID)
        self._tail = data[1 - len(_ID) :]
        return bool(data)


def read_all(clients: list[Client], events: int) -> float:
    """Return the seconds until each client has this many events.

    :raises RuntimeError: a client was disconnected before.
    """
    began, waiting = time.monotonic(), selectors.DefaultSelector()
    for client in clients:
        waiting.register(client, selectors.EVENT_READ, client)
    while waiting.get_map():
        for key, _ in waiting.select(60):
            client = key.data
            if not client.read():
                raise RuntimeError("a client was disconnected after %d of %d events" % (client.events, events))
            if client.events >= events:
                waiting.unregister(client)
    return time.monotonic() - began


def main() -> None:
    kind, port, count, path, cursor, events = sys.argv[1:]
    began = time.monotonic()
    clients = [Client(int(port), path, cursor, kind == "deaf") for _ in range(int(count))]
    if kind == "read":
        print("%.3f" % read_all(clients, int(events)), flush=True)
    else:
        print("%.3f" % (time.monotonic() - began), flush=True)
        time.sleep(3600)


if __name__ == "__main__":
    main()
