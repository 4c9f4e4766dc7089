"""A hop that makes a server on this machine far away: each byte takes some time, and idle connections are forgotten.

It carries bytes in both directions independently. It drops the bytes of a forgotten connection silently, as a NAT does:
no end, no reset. It does not interpret the bytes.
"""

from __future__ import annotations

import contextlib
import queue
import socket
import threading
import time


class Hop:
    """A hop in front of a port of 127.0.0.1.

    :param port: the server's port.
    :param delay: seconds from one end to the other.
    :param forgets: seconds without a byte after which a connection is forgotten; None: never.
    """

    def __init__(self, port: int, delay: float = 0.0, forgets: float | None = None) -> None:
        self._upstream, self._delay, self._forgets = port, delay, forgets
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
        self.port: int = self._listener.getsockname()[1]
        self.carried = 0
        """Connections."""
        self._sockets: list[socket.socket] = []
        self._accepting = threading.Thread(target=self._accept, daemon=True)
        self._accepting.start()

    def close(self) -> None:
        """Cut all connections. None is accepted any more, also if a client is just reconnecting."""
        with contextlib.suppress(OSError):  # a second call
            self._listener.shutdown(socket.SHUT_RDWR)  # wakes the thread that accepts
        self._accepting.join()
        self._listener.close()
        for end in self._sockets:
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)  # wakes the waiting threads
            end.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            self.carried += 1
            self._sockets.append(client)
            server = socket.create_connection(("127.0.0.1", self._upstream))
            self._sockets.append(server)
            _Connection(client, server, self._delay, self._forgets)


class _Connection:
    """One connection through the hop: two threads for each direction, one that reads and one that writes later."""

    def __init__(self, client: socket.socket, server: socket.socket, delay: float, forgets: float | None) -> None:
        self._delay, self._forgets = delay, forgets
        self._used_at = time.monotonic()
        self._is_forgotten = False
        for source, target in ((client, server), (server, client)):
            source.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            way: queue.Queue[tuple[float, bytes]] = queue.Queue()
            threading.Thread(target=self._read, args=(source, way), daemon=True).start()
            threading.Thread(target=self._write, args=(target, way), daemon=True).start()

    def _read(self, source: socket.socket, way: queue.Queue[tuple[float, bytes]]) -> None:
        data = b"-"
        while data:
            try:
                data = source.recv(65536)
            except OSError:
                data = b""
            now = time.monotonic()
            if self._forgets is not None and now - self._used_at > self._forgets:
                self._is_forgotten = True
            self._used_at = now
            if not self._is_forgotten:
                way.put((now + self._delay, data))

    def _write(self, target: socket.socket, way: queue.Queue[tuple[float, bytes]]) -> None:
        while True:
            due, data = way.get()
            time.sleep(max(0.0, due - time.monotonic()))
            try:
                if not data:
                    target.shutdown(socket.SHUT_WR)
                    return
                target.sendall(data)
            except OSError:
                return
