"""The frames that wait for one client.

One writer and one reader may use a queue from two threads without a lock: each counter has one writer, and a list's
operations at its ends are atomic. Whatever removes frames from the middle, or all of them, takes the lock. The states
of a stream and its limits are in other files.
"""

from __future__ import annotations

import threading

from ..sse.encode import LatestFrame
from ..util import forks
from .limits import WRITE_BYTES


class StreamQueue:
    """The base of a stream: an object of its own for the queue would take memory for each stream."""

    __slots__ = ("queue", "_bytes_in", "_bytes_out")

    #: One lock for all streams: it is rarely taken, and a lock for each would be a tenth of a stream's memory.
    #: Reentrant: a writer that cannot write a stream's last frame ends the stream while it is being ended.
    _lock = threading.RLock()

    def __init__(self) -> None:
        #: None until a frame waits. A list: a deque takes 0.6 KB, twice as much as the rest of the stream.
        self.queue: list[bytes] | None = None
        self._bytes_in = 0
        self._bytes_out = 0

    @property
    def queue_size(self) -> tuple[int, int]:
        """The number of frames that wait, and of their bytes."""
        return len(self.queue or ()), self._bytes_in - self._bytes_out

    def enqueue_unlimited(self, data: bytes) -> int:
        """Add a frame, even if the queue is full. Return the number of frames that wait now."""
        queue = self.queue
        if queue is None:
            with self._lock:  # an event and the last frame may both be the first
                queue = self.queue = [] if self.queue is None else self.queue
        if type(data) is LatestFrame and queue:
            self._remove_superseded(queue, data.key)
        queue.append(data)
        self._bytes_in += len(data)
        return len(queue)

    def remove_sent_bytes(self, size: int) -> None:
        """Remove this many bytes from the front: they were sent."""
        self._bytes_out += size
        queue, whole = self.queue or [], 0
        for frame in queue:
            if size < len(frame):
                break
            size -= len(frame)
            whole += 1
        del queue[:whole]
        if size:
            queue[0] = queue[0][size:]

    def _take_joined(self, queue: list[bytes]) -> bytes:
        """Remove about as many frames as fit into one write, and return them as one."""
        if len(queue) == 1:
            try:
                return queue.pop(0)
            except IndexError:  # the queue was cleared meanwhile
                return b""
        count = size = 0
        with self._lock:  # nothing may be removed from between the frames that are counted
            for frame in queue:
                count += 1
                size += len(frame)
                if size >= WRITE_BYTES:
                    break
            frames = queue[:count]
            del queue[:count]
        return b"".join(frames)

    def _remove_superseded(self, queue: list[bytes], key: tuple[str, str]) -> None:
        """Remove the frame that the next one replaces. The next one goes to the end, after the cursors before it."""
        with self._lock:  # a reader takes several frames under it
            for frame in queue:
                if type(frame) is LatestFrame and frame.key == key:
                    try:
                        queue.remove(frame)  # not by its index: a reader may take the first frame at any time
                    except ValueError:  # the reader has just taken it
                        return
                    self._bytes_in -= len(frame)
                    return

    def _clear_queue(self) -> None:
        if self.queue is not None:
            self.queue.clear()
        self._bytes_out = self._bytes_in


def _renew_lock() -> None:
    StreamQueue._lock = threading.RLock()


forks.call_in_child(_renew_lock, forks.LOCKS)
