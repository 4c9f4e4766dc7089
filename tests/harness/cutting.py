"""A hop that cuts each connection within the stream's first event, at the next byte of a list of places.

It is for a client that resumes: what it passes is the server's own bytes, up to the cut.
"""

from __future__ import annotations

import contextlib
import re
import socket
import threading
import time
from typing import Iterable

#: The frame of an event that is cut, after the hello. A chunk of the response has more than one frame.
EVENT = re.compile(rb"(?<=\n\n)(?:.+\n)*?event: n\n(?:.+\n)+\n")

#: Seconds between a connection's last byte and its end. A client that reads later misses the beginning of the event,
#: and is sent it again.
READ_SECONDS = 0.03


class CuttingHop:
    """A hop in front of a port of 127.0.0.1.

    :param port: the server's port.
    :param cuts: for each connection in turn how many bytes of the first event pass; later connections pass whole.
    """

    def __init__(self, port: int, cuts: Iterable[int]) -> None:
        self._upstream = port
        self._cuts = iter(cuts)
        self.cut: list[bytes] = []
        """What passed of the events that were cut."""
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.port: int = self._listener.getsockname()[1]
        self._sockets: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        """Cut all connections."""
        for end in [self._listener, *self._sockets]:
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.create_connection(("127.0.0.1", self._upstream))
                self._sockets += [client, server]
                threading.Thread(target=self._pass, args=(server, client, next(self._cuts, None)), daemon=True).start()

    def _pass(self, server: socket.socket, client: socket.socket, cut: int | None) -> None:
        with contextlib.suppress(OSError):
            server.sendall(self._read_request(client))
            seen = b""
            while cut is not None:
                data = server.recv(65536)
                seen += data
                found = EVENT.search(seen)
                if found:
                    client.sendall(seen[: found.start() + cut])
                    self.cut.append(found.group()[:cut])
                    time.sleep(READ_SECONDS)
                    break
                if not data:
                    client.sendall(seen)
                    break
            while cut is None:
                data = server.recv(65536)
                if not data:
                    break
                client.sendall(data)
        for end in (client, server):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()

    @staticmethod
    def _read_request(client: socket.socket) -> bytes:
        data = b""
        while b"\r\n\r\n" not in data:
            came = client.recv(65536)
            if not came:
                raise ConnectionAbortedError
            data += came
        return data
