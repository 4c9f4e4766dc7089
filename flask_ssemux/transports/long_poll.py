"""The long poll transport: what a stream has to send until there is news, as one response that ends.

It is for clients behind a proxy that holds streams back until they end. Plain WSGI: it waits after the request context
has ended, so the headers cannot contain the length. Of the bytes it knows only how many frames they are.
"""

from __future__ import annotations

import time
from typing import Iterator

from ..hub.stream import Stream
from ..sse import encode
from .client_socket import ClientSocket
from .gunicorn_response import force_close
from .wait import GreenletWaiter, ThreadWaiter, make_waiter

#: Seconds in which the events of a burst are collected for one response.
GATHER_SECONDS = 0.02

#: A response ends after about so many bytes of history, which is a page. Its client asks for the rest.
RESPONSE_BYTES = 64 * 1024


class LongPoll:
    """A WSGI iterator of one item: all that there is. If nothing of it is news, and it waits, also what comes next.

    Something always comes: a heartbeat after the heartbeat's interval, or the last frame of a worker that stops.

    :param stream: what is sent; it is ended with the response.
    :param client: the other end of the connection.
    :param waits: whether it waits for news if there is none.
    :param opening: the number of frames with which every stream begins. Frames after them are news.
    """

    def __init__(self, stream: Stream, client: ClientSocket, waits: bool, opening: int) -> None:
        self._stream = stream
        self._client = client
        self._waits = waits
        self._opening = opening
        self._is_answered = False
        #: The replay of what the client missed: while its page is here, the broker counts the page as held.
        self._replay: Iterator[bytes] | None = None
        self._waiter: GreenletWaiter | ThreadWaiter | None = None

    def __iter__(self) -> LongPoll:
        return self

    def __next__(self) -> bytes:
        if self._is_answered:
            raise StopIteration
        self._is_answered = True
        try:
            return self._make_body()
        finally:
            self._replay = self._stream.opening
            self._close_stream()  # it does not count as open while the client reads the response

    def _make_body(self) -> bytes:
        data = self._take_bytes()
        if self._waits and encode.count_frames(data) <= self._opening:
            self._wait_for_news()
            data += self._take_bytes()
        data = _drop_second_frame(data)
        if self._stream.is_over:
            force_close()  # the worker stops, and must not wait for another request
        return data

    def close(self) -> None:
        """The server is done with it (PEP 3333). Further calls do nothing."""
        self._replay = None
        self._close_stream()

    def __del__(self) -> None:
        # An iterator that a middleware dropped is never closed. One whose constructor failed has nothing to close.
        if hasattr(self, "_stream"):
            self.close()

    def handle_departure(self) -> None:
        self._stream.abort("its client left")

    def disown(self) -> None:
        if self._waiter is not None:
            self._waiter.disown()

    def _close_stream(self) -> None:
        self._client.close()
        self._stream.mark_closed("its poll was answered")

    def _take_bytes(self) -> bytes:
        taken: list[bytes] = []
        while sum(map(len, taken)) < RESPONSE_BYTES:
            data = self._stream.take_bytes(time.monotonic())
            if not data:
                break
            taken.append(data)
        return b"".join(taken)

    def _wait_for_news(self) -> None:
        waiter = self._waiter = make_waiter(self._client, self)
        try:
            while self._stream.park_transport(waiter.wake):
                waiter.wait()
        finally:
            self._waiter = None
            waiter.close()
        if not self._stream.is_over:
            time.sleep(GATHER_SECONDS)


def _drop_second_frame(data: bytes) -> bytes:
    """Return an answer without the beginning of a second frame, unless it is the end of the answer.

    Copies of ``ssemux-poll.js`` from before ``SSEMUX_HEARTBEAT_FORM`` take an answer whose last frame begins with
    ``retry:`` for "come back later". The comment after the hello makes the hello not the last frame. Before the last
    lines of a stream that ends, it would hide them.
    """
    opening, mark, rest = data.partition(b"\n\n" + encode.OPENED)
    return opening + b"\n\n" + rest if mark and rest else data
