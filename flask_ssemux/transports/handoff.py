"""The handoff transport: gunicorn begins the response, and the connection goes on without gunicorn.

The opening frames go through Flask, middleware and gunicorn like any response. Once the client has all that it missed,
the client's connection is taken out of gunicorn's socket object, and the response ends: gunicorn writes the end of the
body to an object that drops it, logs the request, closes its socket, and frees the greenlet with all that it held. From
then on ``socket_writer.py`` writes to the connection.

This module decides when and how a connection is taken. It writes nothing. It is imported only if gevent is in use.
"""

from __future__ import annotations

from functools import partial
from time import monotonic
from typing import Any, Callable

from ..hub.stream import Stream
from . import gevent_socket
from .client_socket import ClientSocket
from .generator import GeneratorTransport
from .gunicorn_response import find_response
from .private_parts import Use, give_up_use
from .socket_writer import SocketWriter, get_socket_writer


class HandoffTransport(GeneratorTransport):
    """A WSGI iterator that hands its connection over when it would wait for the first time, or goes on as a generator.

    :param stream: as for the generator.
    :param client: as for the generator; its socket is gunicorn's, and ``can_be_taken``.
    :param report_obstacle: called with the reason if the transport goes on as a generator.
    """

    __slots__ = ("_socket", "_report_obstacle", "_is_opening", "_last", "_sent", "_is_handed_over")

    def __init__(self, stream: Stream, client: ClientSocket, report_obstacle: Callable[[str], None]) -> None:
        self._socket = client.socket
        self._report_obstacle = report_obstacle
        self._is_opening = True
        self._last = b""
        self._sent = 0
        self._is_handed_over = False
        super().__init__(stream, client)
        gevent_socket.join_head(client.socket)

    def __next__(self) -> bytes:
        if self._is_opening:
            try:
                data = self._stream.take_bytes(monotonic())
            except BaseException:
                self.close()
                raise
            if data:
                self._last = data
                self._sent += len(data)
                return data
            self._is_opening = False
            if not self._stream.is_over:
                self._hand_over()
            self._socket, self._last = None, b""
        return super().__next__()

    def close(self) -> None:
        if not self._is_handed_over:
            super().close()

    def _hand_over(self) -> None:
        """Hand the connection over and end the response, or report why not."""
        obstacle = self._try_handoff()
        if self._is_handed_over:
            raise StopIteration
        self._report_obstacle(obstacle or "it runs in another loop than those before")

    def _try_handoff(self) -> str:
        """Hand the connection over; return what prevents it, if that is known."""
        try:
            response, obstacle = find_response(self._socket, self._last, self._sent)
            if not obstacle:
                writer = get_socket_writer(response.chunked)
                self._is_handed_over = take_connection(self._socket, self._stream, writer)
        except OSError as error:
            return "the system has no room for it: %s" % error
        except (AttributeError, TypeError) as error:
            give_up_use(Use.HANDOFF, error)
            return "a private part of gevent or gunicorn is missing: %s" % error
        return obstacle


def take_connection(connection: Any, stream: Stream, writer: SocketWriter | None) -> bool:
    """Let the writer write the stream to this connection, whose object has no file from then on.

    The client's connection keeps its file descriptor. libev leaves files in its ``epoll`` until they are closed, under
    their number and their connection. If the number meant another connection while this one lives, libev would rebuild
    the set at each event.

    :return: whether it was done; if not, nothing was changed.
    :raises OSError: (or AttributeError, TypeError) nothing was changed.
    """
    # Nothing else runs between these lines.
    if writer is None or gevent_socket.is_awaited(connection):
        return False
    return gevent_socket.take_file(connection, partial(writer.adopt_stream, stream))
