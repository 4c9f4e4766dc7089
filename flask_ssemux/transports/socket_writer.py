"""Many connections, written to without a greenlet for any of them.

A connection that is idle is an entry in a set that the kernel watches (``epoll.py``), and its
stream. Frames are put into HTTP's chunks once for all streams.
Nothing about gunicorn, WSGI or how a connection got here; nothing here may wait.
Imported only where gevent is in use.
"""

from __future__ import annotations

import os
import time
from itertools import islice

from gevent import spawn
from gevent.monkey import get_original

from ..hub.stream import Stream
from ..sse.encode import LatestFrame
from ..util import forks
from .epoll import LEFT, EpollLoop

# gevent's waits for the watchers of a file, and these have none.
_close = get_original("os", "close")

#: The end of a body in chunks (RFC 9112, 7.1).
LAST_CHUNK = b"0\r\n\r\n"

#: Waiting frames that go out in one system call; the kernel takes 1024 (IOV_MAX).
TOGETHER = 256

#: Bytes that a client sent into its stream which are read away at its end. A connection that is closed with
#: bytes unread is reset, and the client may lose what it was sent last.
STRAY = 64 * 1024


class SocketWriter:
    """A set of connections whose bodies are framed alike, in one process and one loop.

    :param chunked: whether bodies are in chunks: HTTP/1.1; not HTTP/1.0.
    """

    def __init__(self, chunked: bool) -> None:
        self.chunked = chunked
        self._streams: dict[int, Stream] = {}
        self._watch = EpollLoop(self._told)
        self._frame = self._wire = b""
        self._size = 0
        self._now = 0.0

    def __len__(self) -> int:
        """Connections that are open, those included whose last bytes are on their way."""
        return len(self._streams)

    def adopt(self, stream: Stream, file: int) -> bool:
        """Write this stream to this file, which is ours from here on, and does not block.

        :return: False if the stream has something to be taken first; nothing has changed.
        :raises OSError: the kernel watches no more files; nothing has changed.
        """
        self._watch.add(file)
        if not stream.hand_over(self, file):
            self._watch.remove(file)
            return False
        self._streams[file] = stream
        return True

    @property
    def is_here(self) -> bool:
        """Whether the loop that runs here is its own."""
        return self._watch.is_here

    def forget(self) -> None:
        """In a forked child: these connections are the parent's, and end when it ends them."""
        for file in self._streams:
            _close(file)
        self._streams = {}

    # -- the stream's side: see stream.Writer --------------------------------

    def write(self, stream: Stream, frame: bytes) -> None:
        if frame is not self._frame:
            self._prepare(frame)
        if stream.queue:
            stream.enqueue(self._wire)
            return
        try:
            sent = os.write(stream.file, self._wire)
        except BlockingIOError:
            self._watch.want_room(stream.file, True)
            stream.enqueue(self._wire)
            return
        except OSError as error:
            self._lost(stream, error)
            return
        stream.sent_at = self._now
        if sent < self._size:
            self._watch.want_room(stream.file, True)
            stream.enqueue(self._wire[sent:])

    def end_stream(self, stream: Stream, last: bytes) -> None:
        data = self._framed(last) if last else b""
        data += LAST_CHUNK if self.chunked else b""
        if data:
            stream.enqueue_unlimited(data)
        self._flush(stream)
        if stream.file >= 0:
            self._watch.want_room(stream.file, True)

    def cut_stream(self, stream: Stream) -> None:
        if stream.file >= 0:
            self._let_go(stream)

    # -- the loop's side -------------------------------------------------------

    def _told(self, file: int, events: int) -> None:
        stream = self._streams.get(file)
        if stream is None:
            return  # it ended a moment ago
        if events & LEFT:
            stream.abort("its client left")
        else:
            self._flush(stream)

    def _flush(self, stream: Stream) -> None:
        """Write what waits, as far as the client takes it."""
        queue = stream.queue
        while queue:
            try:
                sent = os.writev(stream.file, list(islice(queue, TOGETHER)))
            except BlockingIOError:
                return
            except OSError as error:
                self._lost(stream, error)
                return
            stream.remove_sent_bytes(sent)
            stream.sent_at = time.monotonic()
        stream.queue = None
        if stream.is_over:
            self._read_away(stream.file)
            self._let_go(stream)
        else:
            self._watch.want_room(stream.file, False)

    def _lost(self, stream: Stream, error: OSError) -> None:
        stream.abort("its client left: %s" % (error.strerror or error))

    def _let_go(self, stream: Stream) -> None:
        file, stream.file = stream.file, -1
        del self._streams[file]
        self._watch.remove(file)
        _close(file)
        # Its account is kept in stores and under locks: nothing for the loop, or for whoever is writing.
        spawn(stream.mark_closed, stream.reason)

    def _read_away(self, file: int) -> None:
        try:
            os.read(file, STRAY)
        except OSError:
            pass

    # -- framing -----------------------------------------------------------------

    def _prepare(self, frame: bytes) -> None:
        """Frame it; it is kept for the next stream, who mostly has the same."""
        self._frame = frame
        self._wire = self._framed(frame)
        if type(frame) is LatestFrame:
            self._wire = LatestFrame.of(self._wire, frame.key)
        self._size = len(self._wire)
        # For all who get it: a little early for the last of many, whose next heartbeat is early then.
        self._now = time.monotonic()

    def _framed(self, frame: bytes) -> bytes:
        return b"%X\r\n%s\r\n" % (len(frame), frame) if self.chunked else frame


# -- one of each kind in a process -------------------------------------------------

_lanes: dict[bool, SocketWriter] = {}


def lane(chunked: bool) -> SocketWriter | None:
    """This process's lane of that kind; None in another loop than the one it is in."""
    found = _lanes.get(chunked)
    if found is None:
        found = _lanes[chunked] = SocketWriter(chunked)
    return found if found.is_here else None


def count() -> int:
    """Connections of all lanes."""
    return sum(map(len, _lanes.values()))


def _forget() -> None:
    for found in _lanes.values():
        found.forget()
    _lanes.clear()


forks.call_in_child(_forget, forks.FILES)
