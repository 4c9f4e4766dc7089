"""The handoff transport: gunicorn begins the answer, and its connection goes on without it.

The opening goes through Flask, middleware and gunicorn as always. Once the client has all that it
missed, gunicorn's socket object is given one end of a socket pair in place of the client's connection,
and the response ends: gunicorn writes the end of the body into the pair, logs the request, closes, and
frees the greenlet with all it held. From then on ``socket_writer.py`` writes to the connection.

Here is how it is taken, and when it may be; no writes. Imported only where gevent is in use.
"""

from __future__ import annotations

import _socket
from time import monotonic
from typing import Any, Callable

from ..hub.stream import Stream
from .client_socket import ClientSocket
from .generator import GeneratorTransport
from .gevent_socket import is_plain
from .last_answer import find_gunicorn_variables
from .socket_writer import SocketWriter, lane

#: Headers of a body that goes out otherwise than it was made here, unless they say "identity".
_CHANGED = {"content-encoding", "content-length", "transfer-encoding", "trailer"}


class HandoffTransport(GeneratorTransport):
    """A WSGI iterator that hands its connection over where it would first wait, or else goes on as a generator.

    :param stream: as for the generator.
    :param client: as for the generator; its socket is gunicorn's, and ``can_be_taken``.
    :param stays: called with the reason when it goes on as a generator.
    """

    __slots__ = ("_socket", "_stays", "_begins", "_last", "_sent", "_sink")

    def __init__(self, stream: Stream, client: ClientSocket, stays: Callable[[str], None]) -> None:
        super().__init__(stream, client)
        self._socket = client.socket
        self._stays = stays
        self._begins = True
        self._last = b""
        self._sent = 0
        #: The pair's other end, when the connection is handed over; open until gunicorn has ended.
        self._sink: Any = None

    def __next__(self) -> bytes:
        if self._begins:
            try:
                data = self._stream.take_bytes(monotonic())
            except BaseException:
                self.close()
                raise
            if data:
                self._last = data
                self._sent += len(data)
                return data
            self._begins = False
            if not self._stream.is_over:
                self._end_or_stay()
            self._socket, self._last = None, b""
        return super().__next__()

    def close(self) -> None:
        if self._sink is not None:
            self._sink.close()
        else:
            super().close()

    def _end_or_stay(self) -> None:
        response, obstacle = _gunicorns_response(self._socket, self._last, self._sent)
        if not obstacle:
            try:
                self._sink = take(self._socket, self._stream, lane(response.chunked))
            except OSError as error:
                obstacle = "the system has no room for it: %s" % error
        if self._sink is not None:
            raise StopIteration
        self._stays(obstacle or "it runs in another loop than those before")


def can_be_taken(connection: Any) -> bool:
    """Whether it is gevent's plain socket, and a loop that a file may leave: not TLS, not libuv."""
    return is_plain(connection) and getattr(connection.hub.loop, "backend", None) == "epoll"


def take(connection: Any, stream: Stream, lane: SocketWriter | None) -> Any:
    """Let ``lane`` write the stream to this connection, whose object gets the end of a socket pair instead.

    The client's connection keeps its file, and the object gets another one, not the reverse (``dup2``): libev
    leaves files in its ``epoll`` until they are closed, under their number and their connection. Were the number
    to stand for something else while the connection lives, each of its events would make libev rebuild the set.

    :return: the pair's other end; None if nothing was changed.
    :raises OSError: nothing was changed.
    """
    # Between these lines nothing else runs.
    inner, outer = _socket.socketpair()
    try:
        if lane is None or _is_awaited(connection) or not lane.adopt(stream, connection.fileno()):
            inner.close()
            outer.close()
            return None
    except OSError:
        inner.close()
        outer.close()
        raise
    taken, connection._sock = connection._sock, _like(connection._sock, inner)
    taken.detach()
    outer.shutdown(_socket.SHUT_WR)  # whoever reads at the other end finds the end
    return outer


def _is_awaited(connection: Any) -> bool:
    """Whether a greenlet waits for it."""
    return bool(connection._read_event.active or connection._write_event.active)


def _like(model: Any, other: Any) -> Any:
    """The file of a socket, in an object of the class that gevent wants."""
    family, kind, protocol = other.family, other.type, other.proto
    made = type(model)(family, kind, protocol, other.detach())
    made.setblocking(False)
    return made


def _gunicorns_response(connection: Any, last: bytes, sent: int) -> tuple[Any, str]:
    """gunicorn's response that this iterator feeds, and why its connection may not be taken; "" if it may.

    It is safe when what gunicorn wrote is what was made here, and whatever is in between passes it on at once.

    :param last: the item that was given last.
    :param sent: bytes of all items.
    """
    feeding = find_gunicorn_variables("gunicorn.workers.base_async")
    response = feeding.get("resp")
    if response is None:
        return None, "gunicorn is not what draws this response's items"
    if response.sock is not connection or not response.headers_sent:
        return None, "something holds this response back"
    if response.sent != sent or feeding.get("item") != last:
        return None, "something changes this response's body"
    if any(name.lower() in _CHANGED and value != "identity" for name, value in response.headers):
        return None, "something changed this response's headers"
    if response.status_code != 200 or response.upgrade:
        return None, "this response's status is %s" % response.status
    if not response.chunked and response.req.version > (1, 0):
        return None, "this response's framing is unknown"
    return response, ""
