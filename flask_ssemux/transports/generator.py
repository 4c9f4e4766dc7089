"""The generator transport: plain WSGI, under any server.

The response's iterator waits on its stream and yields bytes; the server writes
and flushes each. Nothing about Flask, and no knowledge of what the bytes say.
"""

from __future__ import annotations

from time import monotonic
from typing import Callable

from ..hub.stream import Stream
from .client_socket import ClientSocket
from .wait import GreenletWait, ThreadWait, new_wait


class GeneratorTransport:
    """A WSGI iterator over a stream. All frames that wait go out as one item.

    :param stream: what is sent; ended when the server closes the iterator, or drops it.
    :param client: the other end of the connection.
    """

    __slots__ = ("_stream", "_peer", "_waiting", "__weakref__")

    #: A test's transport has another one.
    _now: Callable[[], float] = staticmethod(monotonic)

    def __init__(self, stream: Stream, client: ClientSocket) -> None:
        self._stream = stream
        self._peer = client
        self._waiting: GreenletWait | ThreadWait | None = None
        stream.connection = client

    def __iter__(self) -> GeneratorTransport:
        return self

    def __next__(self) -> bytes:
        stream, waiting = self._stream, self._waiting
        try:
            if waiting is not None and stream.park_transport(waiting.wake):  # mostly: what there was has been sent
                waiting.wait()
            while True:
                data = stream.take_bytes(self._now())
                if data:
                    return data
                if stream.is_over:
                    break
                waiting = waiting or self._begin()
                if stream.park_transport(waiting.wake):
                    waiting.wait()
        except BaseException:
            self.close()
            raise
        self.close()  # not every middleware passes the server's call on
        raise StopIteration

    def close(self) -> None:
        """The server is done with it (PEP 3333); more than once is fine."""
        waiting, self._waiting = self._waiting, None
        if waiting is not None:
            waiting.close()
        self._peer.close()
        self._stream.mark_closed("its connection was closed")

    def __del__(self) -> None:
        # An iterator that a middleware threw away is never closed.
        self.close()

    def _begin(self) -> GreenletWait | ThreadWait:
        self._waiting = waiting = new_wait(self._peer, self)
        return waiting

    def client_left(self) -> None:
        self._stream.abort("its client left")

    def disown(self) -> None:
        if self._waiting is not None:
            self._waiting.disown()


class TimedTransport(GeneratorTransport):
    """One by another clock: a test's."""

    __slots__ = ("_now",)

    def __init__(self, stream: Stream, client: ClientSocket, clock: Callable[[], float]) -> None:
        super().__init__(stream, client)
        self._now = clock
