"""Clients that come back: each reconnects after its stream's ``retry``, with its ``Last-Event-ID``, as browsers do.

Each process is a bare epoll loop. It notes for each stream which events arrived, in which order, and when the stream
was open again. What is done to the server meanwhile is up to the caller.
"""

from __future__ import annotations

import errno
import heapq
import os
import re
import select
import socket
from multiprocessing.connection import Connection
from time import monotonic
from typing import NamedTuple

from . import event
from .client import ClientProcesses, share_out

#: Streams that each process opens at a time in the beginning. Later they come back whenever their ``retry`` is over.
OPENING = 32

#: Milliseconds that a client waits if it was told none: what browsers use.
DEFAULT_RETRY = 3000

_RETRY = re.compile(rb"(?:^|\n)retry: (\d+)")
_ID = re.compile(rb"(?:^|\n)id: ([^\s]+-(\d+))")


class ReturningReport(NamedTuple):
    """What the clients noted since ``ReturningLoad.start``.

    :param is_open: streams that are open now.
    :param returned: for each stream that was open again, when: ``time.monotonic()``.
    :param returns: how often streams reconnected, refusals and streams without room included.
    :param refused: connections that the server refused or reset before it answered.
    :param errors: answers with another status than 200.
    :param turned_away: answers that were no stream: the clients came back later.
    :param events: the number of events of each stream.
    :param disordered: streams that received an event twice, or after a later one.
    :param resets: frames of ``ssemux.reset``.
    """

    is_open: int
    returned: list[float]
    returns: int
    refused: int
    errors: int
    turned_away: int
    events: list[int]
    disordered: int
    resets: int


class ReturningLoad(ClientProcesses):
    """Streams to one server. Leaving the ``with`` ends them and their processes.

    :param users: whether each stream has a user of its own, named in its header ``X-User``.
    :param opening: streams that each process opens at a time in the beginning.
    """

    def __init__(
        self, port: int, path: str, core: int, streams: int, users: bool = True, opening: int = OPENING
    ) -> None:
        super().__init__(_run_clients, lambda number: (port, path, core, share_out(streams, number), users, opening))

    def __enter__(self) -> ReturningLoad:
        return self

    def start(self) -> None:
        """Forget what was noted."""
        self._ask("start")

    def report(self) -> ReturningReport:
        parts = self._ask("report")
        lists = ("returned", "events")
        return ReturningReport(**{
            name: [value for part in parts for value in getattr(part, name)] if name in lists
            else sum(getattr(part, name) for part in parts)
            for name in ReturningReport._fields
        })  # fmt: skip


class _Stream:
    """One client: its present connection, if it has one, and what it has received."""

    __slots__ = (
        "socket", "user", "cursor", "retry", "tail", "is_connected", "is_open", "was_open", "events", "newest",
        "is_disordered",
    )  # fmt: skip

    def __init__(self, user: bytes) -> None:
        self.socket: socket.socket | None = None
        self.user = user
        self.cursor = b""
        self.retry = DEFAULT_RETRY
        self.tail = b""
        self.is_connected = self.is_open = self.was_open = self.is_disordered = False
        self.events = self.newest = 0

    def __lt__(self, other: _Stream) -> bool:
        return id(self) < id(other)


class _Clients:
    """One process. ``start`` and ``report`` answer the parent's calls."""

    def __init__(self, pipe: Connection, port: int, path: str, streams: int, users: bool, opening: int) -> None:
        self._pipe = pipe
        self._opening = opening
        self._address = ("127.0.0.1", port)
        self._request = b"GET %s HTTP/1.1\r\nHost: bench\r\nAccept: text/event-stream\r\n" % path.encode()
        self._poll = select.epoll()
        self._poll.register(pipe, select.EPOLLIN)
        self._streams = [_Stream(b"X-User: %d-%d\r\n" % (os.getpid(), n) if users else b"") for n in range(streams)]
        self._by_file: dict[int, _Stream] = {}
        self._due: list[tuple[float, _Stream]] = []
        self._to_open = self._streams[::-1]
        self.start()

    def run(self) -> None:
        for _ in range(self._opening):
            self._open_next()
        pipe = self._pipe.fileno()
        while True:
            pause = max(0.0, self._due[0][0] - monotonic()) if self._due else 1.0
            for file, ready in self._poll.poll(min(pause, 1.0)):
                if file == pipe:
                    (what,) = self._pipe.recv()
                    self._pipe.send(getattr(self, what)())
                elif file in self._by_file:
                    self._handle(file, self._by_file[file], ready)
            while self._due and self._due[0][0] <= monotonic():
                self._connect(heapq.heappop(self._due)[1])

    def start(self) -> None:
        self._returned: list[float] = []
        self._returns = self._refused = self._errors = self._turned_away = self._resets = 0
        for stream in self._streams:
            stream.events, stream.is_disordered = 0, False

    def report(self) -> ReturningReport:
        streams = self._streams
        return ReturningReport(
            sum(stream.is_open for stream in streams), self._returned, self._returns, self._refused, self._errors,
            self._turned_away, [stream.events for stream in streams], sum(stream.is_disordered for stream in streams),
            self._resets,
        )  # fmt: skip

    def _open_next(self) -> None:
        if self._to_open:
            self._connect(self._to_open.pop())

    def _connect(self, stream: _Stream) -> None:
        made = stream.socket = socket.socket()
        made.setblocking(False)
        stream.is_connected, stream.tail = False, b""
        self._returns += stream.was_open
        if made.connect_ex(self._address) in (0, errno.EINPROGRESS):
            self._by_file[made.fileno()] = stream
            self._poll.register(made, select.EPOLLOUT)
        else:
            self._lose(stream)

    def _handle(self, file: int, stream: _Stream, ready: int) -> None:
        assert stream.socket is not None
        try:
            if not stream.is_connected:
                self._send_request(file, stream)
                return
            came = stream.socket.recv(1 << 16)
        except BlockingIOError:
            return
        except OSError:
            came = b""
        if came:
            self._take(stream, came)
        else:
            self._lose(stream)

    def _send_request(self, file: int, stream: _Stream) -> None:
        assert stream.socket is not None
        last = b"Last-Event-ID: %s\r\n" % stream.cursor if stream.cursor else b""
        stream.socket.sendall(self._request + stream.user + last + b"\r\n")
        stream.is_connected = True
        self._poll.modify(file, select.EPOLLIN)

    def _lose(self, stream: _Stream) -> None:
        """The connection has ended, or was not made: come back when ``retry`` is over."""
        assert stream.socket is not None
        if not stream.is_open:
            self._count_failure(stream.tail)
        self._note_retry(stream, stream.tail)  # a stream's last lines are no frame
        self._by_file.pop(stream.socket.fileno(), None)
        stream.socket.close()
        stream.socket, stream.is_open = None, False
        heapq.heappush(self._due, (monotonic() + stream.retry / 1000, stream))

    def _count_failure(self, answer: bytes) -> None:
        is_answered = answer.startswith(b"HTTP/1.1 200")
        self._refused += not answer
        self._errors += bool(answer) and not is_answered
        self._turned_away += is_answered

    def _take(self, stream: _Stream, came: bytes) -> None:
        *frames, stream.tail = (stream.tail + came).split(b"\n\n")
        for frame in frames:
            self._take_frame(stream, frame)

    @staticmethod
    def _note_retry(stream: _Stream, lines: bytes) -> None:
        retry = _RETRY.search(lines)
        if retry:
            stream.retry = int(retry[1])

    def _take_frame(self, stream: _Stream, frame: bytes) -> None:
        found = _ID.search(frame)
        self._note_retry(stream, frame)
        if found:
            stream.cursor = found[1]
        if event.MARK in frame and found:
            number = int(found[2])
            stream.is_disordered |= number <= stream.newest
            stream.newest = number
            stream.events += 1
        elif b"event: ssemux.hello" in frame and not stream.is_open:
            stream.is_open = True
            if stream.was_open:
                self._returned.append(monotonic())
            else:
                stream.was_open = True
                self._open_next()
        elif b"event: ssemux.reset" in frame:
            self._resets += 1


def _run_clients(pipe: Connection, port: int, path: str, core: int, streams: int, users: bool, opening: int) -> None:
    os.sched_setaffinity(0, {core})
    try:
        _Clients(pipe, port, path, streams, users, opening).run()
    except (EOFError, KeyboardInterrupt, BrokenPipeError):
        pass  # the parent has ended, or has closed the pipe
