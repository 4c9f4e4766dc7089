"""Writes the frames of many streams to their connections, without a greenlet for any of them.

An idle connection is its stream and an entry in a set that the kernel watches (``epoll.py``). A frame is put into an
HTTP chunk once for all streams. Nothing of gunicorn or WSGI is known here, nor how a connection got here, and nothing
here may wait. This module is imported only if gevent is in use.
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

# gevent's own close waits for the watchers of a file; these files have none.
_close_file = get_original("os", "close")

#: The end of a chunked body (RFC 9112, 7.1).
LAST_CHUNK = b"0\r\n\r\n"

#: Frames that one system call writes, at most. The kernel takes 1024 (IOV_MAX).
FRAMES_PER_WRITE = 256

#: Bytes that a client sent into its stream, and that are read and dropped when it ends. If a connection is closed with
#: unread bytes it is reset, and the client may lose the last bytes that were sent to it.
STRAY_BYTES = 64 * 1024


class SocketWriter:
    """Writes to connections whose bodies are framed alike, in one process and one gevent loop.

    :param chunked: whether bodies are chunked, as in HTTP/1.1; in HTTP/1.0 they are not.
    """

    def __init__(self, chunked: bool) -> None:
        self.chunked = chunked
        self._streams: dict[int, Stream] = {}
        self._epoll = EpollLoop(self._handle_event)
        self._frame = self._wire = b""
        self._size = 0
        self._now = 0.0

    def __len__(self) -> int:
        """Return how many connections are open, including those whose last bytes have not been sent yet."""
        return len(self._streams)

    def adopt_stream(self, stream: Stream, file: int) -> bool:
        """Write this stream to this file, which does not block, and which the writer closes from now on.

        :return: False if something must be taken from the stream first; then nothing has changed.
        :raises OSError: the kernel watches no more files; nothing has changed.
        """
        self._epoll.add_file(file)
        if not stream.hand_over(self, file):
            self._epoll.remove_file(file)
            return False
        self._streams[file] = stream
        return True

    @property
    def is_here(self) -> bool:
        """Whether the gevent loop of this thread is the writer's."""
        return self._epoll.is_here

    def disown(self) -> None:
        """In a forked child: these connections are the parent's, and end when the parent ends them."""
        for file in self._streams:
            _close_file(file)
        self._streams = {}

    # -- for the stream: see ``Writer`` in hub/stream.py ----------------------

    def write(self, stream: Stream, frame: bytes) -> None:
        if frame is not self._frame:
            self._prepare_frame(frame)
        if stream.queue:
            stream.enqueue(self._wire)
            return
        try:
            sent = os.write(stream.file, self._wire)
        except BlockingIOError:
            self._epoll.watch_room(stream.file, True)
            stream.enqueue(self._wire)
            return
        except OSError as error:
            self._abort_stream(stream, error)
            return
        stream.sent_at = self._now
        if sent < self._size:
            self._epoll.watch_room(stream.file, True)
            stream.enqueue(self._wire[sent:])

    def end_stream(self, stream: Stream, last: bytes) -> None:
        data = self._make_chunk(last) if last else b""
        data += LAST_CHUNK if self.chunked else b""
        if data:
            stream.enqueue_unlimited(data)
        self._write_queue(stream)
        if stream.file >= 0:
            self._epoll.watch_room(stream.file, True)

    def cut_stream(self, stream: Stream) -> None:
        if stream.file >= 0:
            self._close_connection(stream)

    # -- for the loop ----------------------------------------------------------

    def _handle_event(self, file: int, events: int) -> None:
        stream = self._streams.get(file)
        if stream is None:
            return  # it has just ended
        if events & LEFT:
            stream.abort("its client left")
        else:
            self._write_queue(stream)

    def _write_queue(self, stream: Stream) -> None:
        """Write what waits, as far as the client takes it."""
        queue = stream.queue
        while queue:
            try:
                sent = os.writev(stream.file, list(islice(queue, FRAMES_PER_WRITE)))
            except BlockingIOError:
                return
            except OSError as error:
                self._abort_stream(stream, error)
                return
            stream.remove_sent_bytes(sent)
            stream.sent_at = time.monotonic()
        stream.queue = None
        if stream.is_over:
            _drop_input(stream.file)
            self._close_connection(stream)
        else:
            self._epoll.watch_room(stream.file, False)

    def _abort_stream(self, stream: Stream, error: OSError) -> None:
        stream.abort("its client left: %s" % (error.strerror or error))

    def _close_connection(self, stream: Stream) -> None:
        file, stream.file = stream.file, -1
        del self._streams[file]
        self._epoll.remove_file(file)
        _close_file(file)
        # This uses stores and takes locks, for which neither the loop nor the code that is writing may wait.
        spawn(stream.mark_closed, stream.reason)

    # -- framing ---------------------------------------------------------------

    def _prepare_frame(self, frame: bytes) -> None:
        """Put a frame into a chunk, and keep it for the next stream, which usually gets the same frame."""
        self._frame = frame
        self._wire = self._make_chunk(frame)
        if type(frame) is LatestFrame:
            self._wire = LatestFrame.of(self._wire, frame.key)
        self._size = len(self._wire)
        # All streams that get the frame share one timestamp. It is slightly too early for the last of many streams, so
        # their next heartbeat is slightly early too.
        self._now = time.monotonic()

    def _make_chunk(self, frame: bytes) -> bytes:
        return b"%X\r\n%s\r\n" % (len(frame), frame) if self.chunked else frame


def _drop_input(file: int) -> None:
    try:
        os.read(file, STRAY_BYTES)
    except OSError:
        pass


# -- one writer of each kind in a process ----------------------------------------

_writers: dict[bool, SocketWriter] = {}


def get_socket_writer(chunked: bool) -> SocketWriter | None:
    """Return this process's writer of that kind; None if it is in another gevent loop than the caller."""
    found = _writers.get(chunked)
    if found is None:
        found = _writers[chunked] = SocketWriter(chunked)
    return found if found.is_here else None


def count_connections() -> int:
    """Return how many connections all writers have."""
    return sum(map(len, _writers.values()))


def _disown_writers() -> None:
    for found in _writers.values():
        found.disown()
    _writers.clear()


forks.call_in_child(_disown_writers, forks.FILES)
