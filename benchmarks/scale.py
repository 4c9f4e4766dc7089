"""Measures one store and a growing number of workers, each with so many users: what a million users need of a store.

The workers are simulated (``fleet.py``): they use the broker as workers do, and have no clients. The store has one core
of its own; all workers and publishers share the other one, which a deployment would not do. So for each event the CPU
time of the store, and of the workers, is measured beside what was reached: what other machines can reach follows from
these. ``scale_report.py`` makes the tables and the picture.
"""

from __future__ import annotations

import time
from statistics import median
from typing import Any, NamedTuple, Sequence

from . import process
from .fleet import Fleet, ask_all
from .stores import STORES
from .table import percentile, progress

#: Processes that publish, and greenlets that publish at the same time in each of them when as much as possible is
#: published.
PUBLISHERS, CALLERS = 2, 16

#: Events a second while latencies are measured. If all workers hear of every event, so many events a second times
#: workers are not exceeded, since they share a core.
USER_RATE, COMMON_RATE, HEARD = 50.0, 20.0, 2000

#: The minimum of seconds in which nothing is published: each worker writes a report every 5 s.
IDLE = 5.0

#: Deliveries of the burst to all workers.
BURST = 20_000

#: Users with one event each, before there are workers: what an event in a channel of its own takes.
FILLED = 100_000

#: Seconds that the last event may be late; and that may pass until all workers are back.
LATE, RETURN = 30.0, 60.0

#: Seconds between two questions whether all events came.
PAUSE = 0.25


class Arrived(NamedTuple):
    """Events that were published, and where they arrived.

    :param rate: events a second, from the first publish to the last arrival.
    :param middle: ms from publish to arrival: in the worker of the user, or in the last of all workers; the median.
    :param last: the same, the 99th percentile.
    :param store: µs of the store's CPU time an event.
    :param workers: µs of CPU time of all workers an event.
    :param publish: ms that a publish took; the median.
    :param came: arrivals; and how many were expected.
    """

    events: int
    rate: float
    middle: float
    last: float
    store: float
    workers: float
    publish: float
    came: int
    expected: int


class Step(NamedTuple):
    """The measurements with one number of workers.

    :param subscribed: users a second that were subscribed, when the workers started.
    :param memory: MB of the store.
    :param worker: MB of a worker: the median.
    :param idle_store: the part of a core that the store uses without events; and all workers.
    :param paced, burst: events to one user each: at a rate, and as many as possible.
    :param common, common_burst: events to a channel that all workers have.
    :param back: seconds from the moment that all workers lost their connections until an event was in all workers.
    """

    workers: int
    users: int
    subscribed: float
    memory: float
    worker: float
    idle_store: float
    idle_workers: float
    paced: Arrived
    burst: Arrived
    common: Arrived
    common_burst: Arrived
    back: float


class Result(NamedTuple):
    """All steps of one store.

    :param empty: MB of the store before anything.
    :param filled: bytes that an event in a channel of its own takes.
    :param machine: the machine.
    """

    name: str
    empty: float
    filled: float
    steps: list[Step]
    seconds: float
    machine: str


def measure_scale(name: str, counts: Sequence[int], users: int, seconds: float, machine: str) -> Result:
    """Measure one store.

    :param counts: of workers, growing.
    :param users: of each worker.
    :param seconds: of each measurement.
    """
    began = time.monotonic()
    ours, theirs = process.choose_cores()
    steps: list[Step] = []
    with STORES[name][1](ours, max(counts) + PUBLISHERS) as store, Fleet(store.url) as fleet:
        empty, before = store.memory(), 0.0
        fleet.start("publisher", PUBLISHERS, theirs)
        ask_all(fleet.publishers[:1], "fill", first=0, count=1)
        before = store.kept()
        filled = min(FILLED, max(counts) * users)
        ask_all(fleet.publishers[:1], "fill", first=1, count=filled)
        room = (store.kept() - before) / filled * 1e6
        progress("%s: %d users with an event each, %.0f bytes each" % (name, filled, room))
        for count in counts:
            steps.append(_measure_step(store, fleet, count, users, seconds, theirs))
            _print_step(name, steps[-1], time.monotonic() - began)
    return Result(name, empty, room, steps, time.monotonic() - began, machine)


def _measure_step(store: Any, fleet: Fleet, count: int, users: int, seconds: float, core: int) -> Step:
    subscribed = _grow(fleet, count, users, core)
    memory = store.memory()
    worker = median(process.read_memory(member.pid) / 1e3 for member in fleet.workers)
    ask_all(fleet.workers, "take_seen")
    idle_store, idle_workers = _measure_idle(store, fleet, max(seconds, IDLE))
    measure = _Publishing(store, fleet, count * users, idle_store, idle_workers)
    rate = min(USER_RATE, HEARD / count) if store.is_heard_by_all else USER_RATE
    paced = measure.publish(rate=rate, seconds=seconds)
    burst = measure.publish(seconds=seconds, callers=CALLERS)
    common = measure.publish(rate=COMMON_RATE, seconds=max(seconds, 5.0), is_common=True)
    common_burst = measure.publish(events=max(1, BURST // count), callers=CALLERS, is_common=True)
    return Step(
        count, count * users, subscribed, memory, worker, idle_store, idle_workers, paced, burst, common, common_burst,
        _measure_return(store, measure),
    )  # fmt: skip


def _grow(fleet: Fleet, count: int, users: int, core: int) -> float:
    """Start workers until there are so many; return how many users a second they subscribed, all at the same time."""
    have = len(fleet.workers)
    new = fleet.start("worker", count - have, core)
    began = time.monotonic()
    for number, member in enumerate(new):
        member.send("subscribe", first=(have + number) * users, count=users)
    for member in new:
        member.receive()
    return len(new) * users / (time.monotonic() - began)


def _measure_idle(store: Any, fleet: Fleet, seconds: float) -> tuple[float, float]:
    spent, theirs = store.cpu(), fleet.cpu()
    began = time.monotonic()
    time.sleep(seconds)
    took = time.monotonic() - began
    return (store.cpu() - spent) / took, (fleet.cpu() - theirs) / took


class _Publishing:
    """Publishes, and counts what arrives. What the store and the workers use when idle is not counted."""

    def __init__(self, store: Any, fleet: Fleet, users: int, idle_store: float, idle_workers: float) -> None:
        self._store = store
        self._fleet = fleet
        self._users = users
        self._idle = idle_store, idle_workers
        self._seed = 0

    def publish(
        self, rate: float = 0.0, seconds: float = LATE, events: int = 1_000_000, callers: int = 1,
        is_common: bool = False, late: float = LATE,
    ) -> Arrived:  # fmt: skip
        """Publish to users, or to all, at this rate or as much as possible; wait for the arrivals."""
        publishers = self._fleet.publishers if callers > 1 else self._fleet.publishers[:1]
        spent, theirs, began = self._store.cpu(), self._fleet.cpu(), time.monotonic()
        for member in publishers:
            self._seed += 1_000_003
            member.send(
                "publish", users=0 if is_common else self._users, seed=self._seed, rate=rate / len(publishers),
                seconds=seconds, events=-(-events // len(publishers)), callers=callers,
            )  # fmt: skip
        published = [it for member in publishers for it in member.receive()]
        expected = len(published) * (len(self._fleet.workers) if is_common else 1)
        self._wait(expected, late)
        took = time.monotonic() - began
        spent = max(0.0, self._store.cpu() - spent - self._idle[0] * took)
        theirs = max(0.0, self._fleet.cpu() - theirs - self._idle[1] * took)
        return count_arrivals(published, ask_all(self._fleet.workers, "take_seen"), expected, spent, theirs)

    def _wait(self, expected: int, late: float) -> None:
        """Wait for so many arrivals."""
        until = time.monotonic() + late
        while sum(ask_all(self._fleet.workers, "count_seen")) < expected and time.monotonic() < until:
            time.sleep(PAUSE)


def count_arrivals(published: list[Any], seen: list[list[Any]], expected: int, store: float, workers: float) -> Arrived:
    """Return what came of what was published.

    :param published: the publishers' answers.
    :param seen: of each worker the sequence and the time of each event.
    :param expected: arrivals.
    :param store: seconds of the store's CPU time; and ``workers``, of all workers.
    """
    lasts: dict[int, float] = {}
    came = 0
    for each in seen:
        for sequence, at in each:
            came += 1
            lasts[sequence] = max(at, lasts.get(sequence, 0.0))
    times = [(lasts[sequence] - began) * 1e3 for sequence, began, _ in published if sequence in lasts]
    took = max(lasts.values(), default=0.0) - min((began for _, began, _ in published), default=0.0)
    events = max(1, len(published))
    return Arrived(
        len(published), len(published) / took if lasts else 0.0, median(times) if times else 0.0,
        percentile(times, 0.99), store / events * 1e6, workers / events * 1e6,
        median(it[2] for it in published) * 1e3 if published else 0.0, came, expected,
    )  # fmt: skip


def _measure_return(store: Any, measure: _Publishing) -> float:
    """Cut the connections of all workers, and publish one event to all; return the seconds until it was everywhere."""
    began = time.monotonic()
    cut = store.cut()
    found = measure.publish(events=1, is_common=True, late=RETURN)
    if found.came < found.expected:
        progress("%d connections were cut; the event came to %d of %d workers" % (cut, found.came, found.expected))
        return float("inf")
    return time.monotonic() - began


def _print_step(name: str, step: Step, seconds: float) -> None:
    progress(
        "%3.0f s: %s, %d workers, %d users: %.0f MB; %.0f publishes/s to users; p99 until all workers have an event "
        "%.1f ms; all are back after %.1f s"
        % (seconds, name, step.workers, step.users, step.memory, step.burst.rate, step.common.last, step.back)
    )
