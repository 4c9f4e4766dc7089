"""Measures the parts of a delivery's CPU time.

Parts that need no socket are timed alone in this process, with the package's real objects. The total is measured on a
worker under load, and the share of system calls is what Linux reports for that worker. The rest is the difference: cold
caches, the work that is done once for each event, and with the generator transport gunicorn's part.
"""

from __future__ import annotations

import os
import time
from statistics import median
from typing import Any, Callable, NamedTuple

from gevent import sleep, spawn

from flask_ssemux.hub.fanout import SLICE, FanOut
from flask_ssemux.hub.limits import StreamLimits
from flask_ssemux.hub.stream import Stream
from flask_ssemux.transports.client_socket import ClientSocket
from flask_ssemux.transports.socket_writer import SocketWriter
from flask_ssemux.transports.wait import GreenletWaiter

from . import contenders, process
from .table import progress, table
from .trial import Trial

#: How often each part runs through all streams.
ROUNDS = 50

_LIMITS = StreamLimits(1000, 1 << 20, 20.0, b": heartbeat\n\n")
_FRAME = b"event: tick\nchannel: bench\ndata: %s\nid: abcdefgh-123\n\n" % (b"x" * 70)


class Whole(NamedTuple):
    """The µs of CPU a delivery, and the part of it in the kernel."""

    all: float
    system: float


class _Nowhere:
    """A writer that writes nothing."""

    def write(self, stream: Stream, frame: bytes) -> None:
        pass


def measure_parts(clients: int, events: int, rate: float) -> str:
    """Return the table."""
    ours, _ = process.choose_cores()
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {ours})
    progress("the parts alone")
    fan_out, written, (kept, woken) = _time_fan_out(clients), _time_socket_writer(clients), _time_generator(clients)
    os.sched_setaffinity(0, before)
    handoff, generator = (_measure_whole(name, clients, events, rate) for name in ("handoff", "generator"))
    rows = [
        ("fan-out: `FanOut`, `Stream.offer`", fan_out, fan_out),
        ("queue: `enqueue`, `take_bytes`, `park_transport`", 0.0, kept),
        ("transport: `SocketWriter.write`; `GreenletWaiter`, two switches", written, woken),
        ("system calls", handoff.system, generator.system),
    ]
    rows.append(("the rest", *(whole.all - sum(row[n] for row in rows) for n, whole in ((1, handoff), (2, generator)))))  # type: ignore[misc]
    rows.append(("total", handoff.all, generator.all))
    head = ("µs CPU a delivery, %d clients" % clients, "handoff", "generator")
    return table(head, [(name, "%.2f" % first, "%.2f" % second) for name, first, second in rows])


def _time_fan_out(clients: int) -> float:
    streams = [_make_live_stream(_Nowhere(), -1) for _ in range(clients)]
    hands, numbers = FanOut(_LIMITS, lambda: None), iter(range(1, 1 << 30))

    def all_slices() -> None:
        number = next(numbers)
        for start in range(0, clients, SLICE):
            hands.send_event(streams[start : start + SLICE], _FRAME, "bench", number)

    return _time_rounds(all_slices, clients)


def _time_socket_writer(clients: int) -> float:
    """Time the socket writer with /dev/null, less the time of the write calls alone."""
    file = os.open(os.devnull, os.O_WRONLY)
    writer, data = SocketWriter(True), b"%X\r\n%s\r\n" % (len(_FRAME), _FRAME)
    streams = [_make_live_stream(writer, file) for _ in range(clients)]

    def write() -> None:
        for stream in streams:
            writer.write(stream, _FRAME)

    def bare() -> None:
        for _ in streams:
            os.write(file, data)

    found = _time_rounds(write, clients) - _time_rounds(bare, clients)
    os.close(file)
    return found


def _time_generator(clients: int) -> tuple[float, float]:
    """Time the stream's queue, and waking the greenlets with two switches for each."""
    streams = [_make_live_stream(None, -1) for _ in range(clients)]

    def queue() -> None:
        for stream in streams:
            stream.enqueue(_FRAME)
            stream.take_bytes(1.0)
            stream.park_transport(_nothing)

    class Nobody:
        def handle_departure(self) -> None:
            pass

    waits = [GreenletWaiter(ClientSocket({}), Nobody()) for _ in range(clients)]

    def wait(waiting: GreenletWaiter) -> None:
        while True:
            waiting.wait()

    greenlets = [spawn(wait, waiting) for waiting in waits]
    sleep(0.01)

    def wake() -> None:
        for waiting in waits:
            waiting.wake()
        sleep(0)  # the hub runs them in the order they were woken
        sleep(0)

    found = _time_rounds(queue, clients), _time_rounds(wake, clients)
    for greenlet in greenlets:
        greenlet.kill(block=False)
    return found


def _make_live_stream(writer: Any, file: int) -> Stream:
    stream = Stream(("bench",), None, _LIMITS, 0.0)
    stream.last_sequence = 0
    stream.opening = iter(())
    stream.take_bytes(0.0)
    if writer is not None:
        stream.hand_over(writer, file)
    return stream


def _time_rounds(run: Callable[[], None], clients: int) -> float:
    """Return the µs of CPU time for each client; the median of the rounds."""
    run()
    found = []
    for _ in range(ROUNDS):
        began = time.thread_time()
        run()
        found.append((time.thread_time() - began) / clients * 1e6)
    return median(found)


def _measure_whole(transport: str, clients: int, events: int, rate: float) -> Whole:
    progress("a worker, " + transport)
    contender = contenders.flask_ssemux(
        transport=transport, heartbeat=contenders.HEARTBEAT, client_timeout=contenders.HEARTBEAT * 6
    )
    with Trial(contender) as trial:
        trial.open(clients)
        before = trial.server.modes()
        found = trial.deliver(events, rate)
        user, system = (after - before for after, before in zip(trial.server.modes(), before))
    return Whole(found.cpu, found.cpu * system / (user + system))


def _nothing() -> None:
    pass
