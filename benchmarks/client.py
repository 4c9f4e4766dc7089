"""The client: many streams in a few processes. Each process is a bare epoll loop, and all run on the client's core.

It counts events by one byte (``event.MARK``), and measures the latency on a part of the streams. It also reports how
much CPU time it used itself, so that its own limit is not taken for the server's. It uses no HTTP library and no
asyncio, because a slow client would measure itself.
"""

from __future__ import annotations

import multiprocessing
import os
import random
import select
import socket
import struct
import time
from multiprocessing.connection import Connection
from time import monotonic
from typing import Any, Callable, NamedTuple, Sequence

from . import event

#: Processes that share the streams.
PROCESSES = 2

#: Streams that each process opens at a time.
OPENING = 32

#: Seconds; see ``Load``.
NAP = 0.001

#: The bytes of one read.
BUFFER = 1 << 16

#: The share of a core above which the client, and not the server, is measured.
BUSY = 0.85


# SO_LINGER with 0 seconds: closing the socket resets the connection.
_RESET = struct.pack("ii", 1, 0)


class Sample(NamedTuple):
    """The latency of an event, and whether the worker that sent it had also published it."""

    seconds: float
    same_worker: bool


class ClientReport(NamedTuple):
    """What the client measured since ``Load.start``.

    :param events: events that all streams received.
    :param fewest: the smallest number of events of a stream.
    :param most: the largest number of events of a stream.
    :param closed: streams that the server ended.
    :param samples: samples of the latency.
    :param silences: each stream's longest silence in seconds, including the current one.
    :param workers: the number of streams for each process of the server.
    :param share: the share of a core that the client used.
    """

    events: int
    fewest: int
    most: int
    closed: int
    samples: list[Sample]
    silences: list[float]
    workers: dict[int, int]
    share: float


class ClientProcesses:
    """Processes that are clients of one server. Leaving the ``with`` ends them, and their connections.

    :param run: what each process runs, with a pipe and the values that ``list_values`` returns for its number. It
        receives a tuple of a method's name and its arguments, and sends the result.
    """

    def __init__(self, run: Callable[..., None], list_values: Callable[[int], Sequence[Any]]) -> None:
        self._pipes: list[Connection] = []
        spawn = multiprocessing.get_context("spawn")
        for number in range(PROCESSES):
            ours, theirs = spawn.Pipe()
            # daemon: multiprocessing ends them with this process. They also end when their pipe is closed.
            spawn.Process(target=run, args=(theirs, *list_values(number)), daemon=True).start()
            theirs.close()
            self._pipes.append(ours)

    def __exit__(self, *_: object) -> None:
        for pipe in self._pipes:
            pipe.close()

    def _ask(self, what: str) -> list[Any]:
        for pipe in self._pipes:
            pipe.send((what,))
        return [pipe.recv() for pipe in self._pipes]


def share_out(number: int, process: int) -> int:
    """Return how many of so many streams are this process's."""
    return number // PROCESSES + (process < number % PROCESSES)


class Load(ClientProcesses):
    """Streams to one server. Leaving the ``with`` ends them and their processes.

    :param port: the server's port on 127.0.0.1.
    :param path: the URL's path.
    :param core: the core on which the client runs.
    :param sampled: the latency is measured on one of this many streams.
    :param first: the bytes that an open stream has received; empty: see ``connect``.
    :param users: whether each stream has a user of its own, ``event.name_user``, named in its header ``X-User``, and in
        its path where that has ``{user}``.
    :param nap: seconds to sleep between two reads. On the loopback interface the sender pays for waking its receiver,
        and the more often the receiver is asleep, the more it pays. With naps, as over a network, a send wakes no
        process, so it costs the same for every server. The naps are part of the measured latency.
    """

    def __init__(
        self,
        port: int,
        path: str,
        core: int,
        sampled: int = 10,
        nap: float = NAP,
        first: bytes = b"\r\n\r\n",
        users: bool = False,
    ) -> None:
        self._opened = 0
        values = (port, path, core, sampled, nap, first)
        super().__init__(_run_client, lambda number: (*values, number if users else None))
        self._ask("ping")

    def __enter__(self) -> Load:
        return self

    def open(self, streams: int, seconds: float = 60.0) -> None:
        """Open this many more streams, and return when all are open.

        :raises RuntimeError: not all of them opened in that time.
        """
        self._share("open", streams)
        self._opened += streams
        opened = self._wait("opened", self._opened, seconds)
        if opened < self._opened:
            raise RuntimeError("%d of %d streams opened in %g s" % (opened, self._opened, seconds))

    def connect(self, streams: int) -> None:
        """Open this many more streams of a server that sends nothing before its first event. They count as open."""
        self._share("connect", streams)
        self._opened += streams

    def churn(self, streams: int, kept: int) -> None:
        """Open this many more streams. When more than ``kept`` are open, each new one makes another one end.

        This returns at once; ``made`` returns the progress.
        """
        self._share("churn", streams, kept)

    def made(self) -> int:
        """Return how many streams have opened since the last ``drop``."""
        return sum(self._ask("opened"))

    def drop(self) -> None:
        """Close all streams."""
        self._ask("drop")
        self._opened = 0

    def start(self) -> None:
        """Reset all counters."""
        self._ask("start")

    def wait(self, events: int, seconds: float) -> int:
        """Wait for this many events, or this many seconds, and return how many events arrived."""
        return self._wait("events", events, seconds)

    def report(self) -> ClientReport:
        parts = self._ask("report")
        workers: dict[int, int] = {}
        for part in parts:
            for pid, streams in part.workers.items():
                workers[pid] = workers.get(pid, 0) + streams
        return ClientReport(
            sum(part.events for part in parts),
            min(part.fewest for part in parts),
            max(part.most for part in parts),
            sum(part.closed for part in parts),
            [sample for part in parts for sample in part.samples],
            [silence for part in parts for silence in part.silences],
            workers,
            sum(part.share for part in parts),
        )

    def _share(self, what: str, *numbers: int) -> None:
        for place, pipe in enumerate(self._pipes):
            pipe.send((what, *(share_out(number, place) for number in numbers)))
        for pipe in self._pipes:
            pipe.recv()

    def _wait(self, what: str, number: int, seconds: float) -> int:
        deadline = monotonic() + seconds
        while True:
            now: int = sum(self._ask(what))
            if now >= number or monotonic() > deadline:
                return now
            time.sleep(0.1)


class _Stream:
    """One connection of a client process."""

    __slots__ = ("socket", "first", "is_open", "worker", "events", "at", "silence", "tail")

    def __init__(self, made: socket.socket, sampled: bool) -> None:
        self.socket = made
        self.first = b""
        self.is_open = False
        self.worker = 0
        self.events = 0
        self.at = monotonic()
        self.silence = 0.0
        #: For a sampled stream, the beginning of an event that is incomplete; None for the other streams.
        self.tail: bytes | None = b"" if sampled else None


class _Client:
    """One process of the client. The methods without an underscore answer the parent's calls."""

    def __init__(
        self, pipe: Connection, port: int, path: str, sampled: int, nap: float, first: bytes, first_user: int | None
    ) -> None:
        self._pipe = pipe
        self._address = ("127.0.0.1", port)
        self._request = "GET %s HTTP/1.1\r\nHost: bench\r\nAccept: text/event-stream\r\n" % path
        self._next_user = first_user
        self._every = sampled
        self._nap = nap
        self._first = first
        self._buffer = bytearray(BUFFER)
        self._poll = select.epoll()
        self._poll.register(pipe, select.EPOLLIN)
        self._streams: dict[int, _Stream] = {}
        self._made = self._to_open = self._opening = self._opened = self._closed = 0
        self._kept = 0
        self._leaving: list[int] = []
        self.start()

    def run(self) -> None:
        poll, pipe, streams = self._poll.poll, self._pipe.fileno(), self._streams
        while True:
            for file, _ in poll():
                if file == pipe:
                    what, *values = self._pipe.recv()
                    self._pipe.send(getattr(self, what)(*values))
                elif file in streams:
                    self._read(file, streams[file])
            if self._nap and not self._opening:
                time.sleep(self._nap)

    def ping(self) -> None:
        pass

    def open(self, streams: int) -> None:
        self._to_open += streams
        for _ in range(min(OPENING, streams)):
            self._open_next()

    def connect(self, streams: int) -> None:
        for _ in range(streams):
            self._connect().is_open = True
        self._opened += streams

    def churn(self, streams: int, kept: int) -> None:
        self._kept = kept
        self.open(streams)

    def opened(self) -> int:
        return self._opened

    def events(self) -> int:
        return self._events

    def drop(self) -> None:
        for stream in self._streams.values():
            stream.socket.close()
        self._streams.clear()
        self._leaving.clear()
        self._opening = self._opened = self._to_open = self._kept = 0

    def start(self) -> None:
        self._events = 0
        self._samples: list[Sample] = []
        self._closed = 0
        self._started, self._cpu = monotonic(), time.process_time()
        for stream in self._streams.values():
            stream.events, stream.silence, stream.at = 0, 0.0, self._started

    def report(self) -> ClientReport:
        now = monotonic()
        share = (time.process_time() - self._cpu) / (now - self._started)
        counts = [stream.events for stream in self._streams.values()] or [0]
        silences = [max(stream.silence, now - stream.at) for stream in self._streams.values()]
        workers: dict[int, int] = {}
        for stream in self._streams.values():
            workers[stream.worker] = workers.get(stream.worker, 0) + 1
        return ClientReport(
            self._events, min(counts), max(counts), self._closed, self._samples, silences, workers, share
        )

    def _open_next(self) -> None:
        if self._to_open:
            self._to_open -= 1
            self._opening += 1
            self._connect()

    def _connect(self) -> _Stream:
        self._made += 1
        made = socket.create_connection(self._address, timeout=20)
        made.sendall(self._make_request())
        made.setblocking(False)
        stream = self._streams[made.fileno()] = _Stream(made, self._made % self._every == 0)
        self._poll.register(made, select.EPOLLIN)
        return stream

    def _make_request(self) -> bytes:
        if self._next_user is None:
            return (self._request + "\r\n").encode()
        user = event.name_user(self._next_user)
        self._next_user += PROCESSES
        return ("%sX-User: %s\r\n\r\n" % (self._request.replace("{user}", user), user)).encode()

    def _read(self, file: int, stream: _Stream) -> None:
        buffer = self._buffer
        try:
            size = stream.socket.recv_into(buffer)
        except BlockingIOError:
            return
        except ConnectionError:
            size = 0
        if not size:
            self._end(file, stream)
            return
        now = monotonic()
        if now - stream.at > stream.silence:
            stream.silence = now - stream.at
        stream.at = now
        count = buffer.count(event.MARK, 0, size)
        stream.events += count
        self._events += count
        if not stream.is_open:
            self._begin(stream, bytes(buffer[:size]))
        elif stream.tail is not None:
            self._sample_latency(stream, bytes(buffer[:size]), now)

    def _begin(self, stream: _Stream, came: bytes) -> None:
        stream.first += came
        if self._first in stream.first:
            stream.is_open = True
            _, _, named = stream.first.partition(b"X-Worker: ")
            stream.worker = int(named.split(b"\r", 1)[0] or 0)
            stream.first = b""
            self._opening -= 1
            self._opened += 1
            if self._kept:
                self._leave_one(stream)
            self._open_next()

    def _leave_one(self, newest: _Stream) -> None:
        """Close open streams chosen at random, half of them with a reset, until only ``kept`` are left."""
        leaving = self._leaving
        leaving.append(newest.socket.fileno())
        while len(leaving) > self._kept:
            place = random.randrange(len(leaving))
            file, leaving[place] = leaving[place], leaving[-1]
            leaving.pop()
            left = self._streams.pop(file, None)
            if left is not None:
                if place % 2:
                    left.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
                self._poll.unregister(file)
                left.socket.close()

    def _sample_latency(self, stream: _Stream, came: bytes, now: float) -> None:
        *whole, stream.tail = ((stream.tail or b"") + came).split(event.MARK)
        for frame in whole:
            origin = event.read_origin(frame)
            if origin:
                self._samples.append(Sample(now - origin[0], origin[1] == stream.worker))

    def _end(self, file: int, stream: _Stream) -> None:
        self._poll.unregister(file)
        stream.socket.close()
        del self._streams[file]
        self._closed += 1
        if not stream.is_open:
            self._opening -= 1


def _run_client(
    pipe: Connection, port: int, path: str, core: int, sampled: int, nap: float, first: bytes, first_user: int | None
) -> None:
    os.sched_setaffinity(0, {core})
    try:
        _Client(pipe, port, path, sampled, nap, first, first_user).run()
    except (EOFError, OSError, KeyboardInterrupt):
        pass  # the parent has ended, or has closed the pipe
