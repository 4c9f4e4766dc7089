"""The poll transport: what a stream says until there is news, as one answer that ends.

For clients behind a hop that holds streams back until they end. Plain WSGI: it waits where no request context is held
any more, so nobody knows the answer's length in its headers. Of the bytes it knows how many frames they are, no more.
"""

from __future__ import annotations

import time
from typing import Iterator

from ..hub.stream import Stream
from ..sse import encode
from .client_socket import ClientSocket
from .last_answer import announce_close_by_gunicorn
from .wait import GreenletWait, ThreadWait, new_wait

#: Seconds in which a burst becomes one answer.
GATHER = 0.02

#: An answer ends at about so many bytes of history, which is a page; its client asks for the rest.
ENOUGH = 64 * 1024


class LongPoll:
    """A WSGI iterator of one item: all that there is; where that is nothing new, and it waits, also what comes first.

    Something always comes: after a heartbeat's time the heartbeat, from a worker that stops its farewell.

    :param stream: what is sent; ended with the answer.
    :param client: the other end of the connection.
    :param waits: for news, if there are none.
    :param opening: frames with which every stream begins. Whatever comes after is news.
    """

    def __init__(self, stream: Stream, client: ClientSocket, waits: bool, opening: int) -> None:
        self._stream = stream
        self._peer = client
        self._waits = waits
        self._opening = opening
        self._is_answered = False
        #: What the client missed: as long as its page is here, it counts as held.
        self._replay: Iterator[bytes] | None = None
        self._waiting: GreenletWait | ThreadWait | None = None

    def __iter__(self) -> LongPoll:
        return self

    def __next__(self) -> bytes:
        if self._is_answered:
            raise StopIteration
        self._is_answered = True
        try:
            return self._answer()
        finally:
            self._replay = self._stream.opening
            self._leave()  # not to count while the client reads

    def _answer(self) -> bytes:
        data = self._take()
        if self._waits and encode.count(data) <= self._opening:
            self._wait()
            data += self._take()
        if self._stream.is_over:
            announce_close_by_gunicorn()  # the worker stops, and must not wait for a next request
        return data

    def close(self) -> None:
        """The server is done with it (PEP 3333); more than once is fine."""
        self._replay = None
        self._leave()

    def __del__(self) -> None:
        # An iterator that a middleware threw away is never closed.
        self.close()

    def client_left(self) -> None:
        self._stream.abort("its client left")

    def disown(self) -> None:
        if self._waiting is not None:
            self._waiting.disown()

    def _leave(self) -> None:
        self._peer.close()
        self._stream.mark_closed("its poll was answered")

    def _take(self) -> bytes:
        taken: list[bytes] = []
        while sum(map(len, taken)) < ENOUGH:
            data = self._stream.take_bytes(time.monotonic())
            if not data:
                break
            taken.append(data)
        return b"".join(taken)

    def _wait(self) -> None:
        waiting = self._waiting = new_wait(self._peer, self)
        try:
            while self._stream.park_transport(waiting.wake):
                waiting.wait()
        finally:
            self._waiting = None
            waiting.close()
        if not self._stream.is_over:
            time.sleep(GATHER)
