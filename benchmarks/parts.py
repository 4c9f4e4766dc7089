"""Where the microseconds of a delivery go, by part.

What needs no socket is timed alone, in this process, with real parts and nothing behind them; the whole is a worker
under load, and the system's share is what Linux says of that worker. The rest is by difference: cold caches, what is
done once an event, and with the generator gunicorn's part.
"""

from __future__ import annotations

import os
import time
from statistics import median
from typing import Any, Callable, NamedTuple

from gevent import sleep, spawn

from flask_ssemux.hub.fanout import SLICE, FanOut
from flask_ssemux.hub.stream import Limits, Stream
from flask_ssemux.transports.client_socket import ClientSocket
from flask_ssemux.transports.socket_writer import SocketWriter
from flask_ssemux.transports.wait import GreenletWait

from . import contenders, process
from .table import progress, table
from .trial import Trial

#: Times that each part is run through all streams.
ROUNDS = 50

_LIMITS = Limits(1000, 1 << 20, 20.0, b": heartbeat\n\n")
_FRAME = b"id: abcdefgh-123\nevent: tick\nchannel: bench\ndata: %s\n\n" % (b"x" * 70)


class Whole(NamedTuple):
    """µs of CPU a delivery, and the system's part of it."""

    all: float
    system: float


class _Nowhere:
    """A writer that writes nothing."""

    def write(self, stream: Stream, frame: bytes) -> None:
        pass


def measure(clients: int, events: int, rate: float) -> str:
    """The table."""
    ours, _ = process.cores()
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {ours})
    progress("parts alone")
    fan_out, lane, (kept, woken) = _fan_out(clients), _lane(clients), _generator(clients)
    os.sched_setaffinity(0, before)
    handoff, generator = (_whole(name, clients, events, rate) for name in ("handoff", "generator"))
    rows = [
        ("fan-out: `FanOut`, `Stream.offer`", fan_out, fan_out),
        ("queue: `keep`, `take`, `park`", 0.0, kept),
        ("transport: `Lane.write`; `GreenletWait`, two switches", lane, woken),
        ("system calls", handoff.system, generator.system),
    ]
    rows.append(("the rest", *(whole.all - sum(row[n] for row in rows) for n, whole in ((1, handoff), (2, generator)))))  # type: ignore[misc]
    rows.append(("total", handoff.all, generator.all))
    head = ("µs CPU a delivery, %d clients" % clients, "handoff", "generator")
    return table(head, [(name, "%.2f" % first, "%.2f" % second) for name, first, second in rows])


def _fan_out(clients: int) -> float:
    streams = [_live(_Nowhere(), -1) for _ in range(clients)]
    hands, numbers = FanOut(_LIMITS, lambda: None), iter(range(1, 1 << 30))

    def all_slices() -> None:
        number = next(numbers)
        for start in range(0, clients, SLICE):
            hands.send(streams[start : start + SLICE], _FRAME, "bench", number)

    return _timed(all_slices, clients)


def _lane(clients: int) -> float:
    """Written to /dev/null, less what the writing alone takes."""
    file = os.open(os.devnull, os.O_WRONLY)
    lane, data = SocketWriter(True), b"%X\r\n%s\r\n" % (len(_FRAME), _FRAME)
    streams = [_live(lane, file) for _ in range(clients)]

    def write() -> None:
        for stream in streams:
            lane.write(stream, _FRAME)

    def bare() -> None:
        for _ in streams:
            os.write(file, data)

    found = _timed(write, clients) - _timed(bare, clients)
    os.close(file)
    return found


def _generator(clients: int) -> tuple[float, float]:
    """What waits and is taken, in its stream; and waking the greenlets, two switches for each."""
    streams = [_live(None, -1) for _ in range(clients)]

    def queue() -> None:
        for stream in streams:
            stream.enqueue(_FRAME)
            stream.take_bytes(1.0)
            stream.park_transport(_nothing)

    class Nobody:
        def client_left(self) -> None:
            pass

    waits = [GreenletWait(ClientSocket({}), Nobody()) for _ in range(clients)]

    def wait(waiting: GreenletWait) -> None:
        while True:
            waiting.wait()

    greenlets = [spawn(wait, waiting) for waiting in waits]
    sleep(0.01)

    def wake() -> None:
        for waiting in waits:
            waiting.wake()
        sleep(0)  # the hub runs them in the order they were woken
        sleep(0)

    found = _timed(queue, clients), _timed(wake, clients)
    for greenlet in greenlets:
        greenlet.kill(block=False)
    return found


def _live(writer: Any, file: int) -> Stream:
    stream = Stream(("bench",), None, _LIMITS, 0.0)
    stream.last_sequence = 0
    stream.set_opening(iter(()))
    stream.take_bytes(0.0)
    if writer is not None:
        stream.hand_over(writer, file)
    return stream


def _timed(run: Callable[[], None], clients: int) -> float:
    """µs of CPU for each client; the median of the rounds."""
    run()
    found = []
    for _ in range(ROUNDS):
        began = time.thread_time()
        run()
        found.append((time.thread_time() - began) / clients * 1e6)
    return median(found)


def _whole(transport: str, clients: int, events: int, rate: float) -> Whole:
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
