"""The generator transport: plain WSGI, under any server.

The response's iterator waits for its stream and yields bytes; the server writes each item at once. Nothing of Flask is
used here, and what the bytes mean is not known.
"""

from __future__ import annotations

from time import monotonic
from typing import Callable

from ..hub.stream import Stream
from .client_socket import ClientSocket
from .wait import GreenletWaiter, ThreadWaiter, make_waiter


class GeneratorTransport:
    """A WSGI iterator over a stream. All frames that wait are sent as one item.

    :param stream: what is sent; it is ended when the server closes the iterator or drops it.
    :param client: the other end of the connection.
    """

    __slots__ = ("_stream", "_client", "_waiter", "__weakref__")

    #: A test's transport has another clock.
    _now: Callable[[], float] = staticmethod(monotonic)

    def __init__(self, stream: Stream, client: ClientSocket) -> None:
        self._stream = stream
        self._client = client
        self._waiter: GreenletWaiter | ThreadWaiter | None = None
        stream.connection = client

    def __iter__(self) -> GeneratorTransport:
        return self

    def __next__(self) -> bytes:
        stream, waiter = self._stream, self._waiter
        try:
            if waiter is not None and stream.park_transport(waiter.wake):  # usually everything has been sent
                waiter.wait()
            while True:
                data = stream.take_bytes(self._now())
                if data:
                    return data
                if stream.is_over:
                    break
                waiter = waiter or self._make_waiter()
                if stream.park_transport(waiter.wake):
                    waiter.wait()
        except BaseException:
            self.close()
            raise
        self.close()  # some middleware does not pass the server's call on
        raise StopIteration

    def close(self) -> None:
        """The server is done with it (PEP 3333). Further calls do nothing."""
        waiter, self._waiter = self._waiter, None
        if waiter is not None:
            waiter.close()
        self._client.close()
        self._stream.mark_closed("its connection was closed")

    def __del__(self) -> None:
        # An iterator that a middleware dropped is never closed. One whose constructor failed has nothing to close.
        if hasattr(self, "_stream"):
            self.close()

    def _make_waiter(self) -> GreenletWaiter | ThreadWaiter:
        self._waiter = waiter = make_waiter(self._client, self)
        return waiter

    def handle_departure(self) -> None:
        self._stream.abort("its client left")

    def disown(self) -> None:
        if self._waiter is not None:
            self._waiter.disown()


class TimedTransport(GeneratorTransport):
    """A generator transport with the clock of a test."""

    __slots__ = ("_now",)

    def __init__(self, stream: Stream, client: ClientSocket, clock: Callable[[], float]) -> None:
        super().__init__(stream, client)
        self._now = clock
