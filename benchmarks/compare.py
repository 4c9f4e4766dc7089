"""Compares flask_ssemux, six peers and the floor under the same load in one run.

There are three questions: what a delivery and a connection cost, how that changes with the number of connections, and
how with the size of events. The first question has several rounds with all servers in each, so that a noisy minute does
not affect only one of them. All servers get the same number of deliveries a second; in the first question also a heavy
load, for the servers that can manage it. If a server fails, the reason is reported, and the server is left out of the
rest of that question.
"""

from __future__ import annotations

import json
import re
import resource
import time
from functools import partial
from typing import Any, Callable, NamedTuple, Sequence

from . import contenders, event
from .client import BUSY
from .contenders import Contender
from .table import progress
from .trial import Delivered, Opened, Trial

#: The minimum of events in one measurement.
FEWEST = 4

#: Multiples of the load that show what the client can manage, and the seconds of each.
LOADS = (1, 4, 8, 16, 24, 32)
CLIENT_SECONDS = 1.5

#: The share of a core that a server may be expected to use under the heavy load. A saturated server joins events.
ROOM = 0.6

#: Open files that a server needs for itself.
SPARE = 300


class Plan(NamedTuple):
    """How much is measured.

    :param rounds: rounds of the first question.
    :param clients: connections of the first question.
    :param sweep: numbers of connections of the second question.
    :param sizes: bytes of an event on the wire, of the third question.
    :param sized: connections of the third question.
    :param load: deliveries a second.
    :param heavy: deliveries a second of the heavy load.
    :param seconds: the minimum of seconds of each measurement.
    """

    rounds: int = 3
    clients: int = 2000
    sweep: tuple[int, ...] = (500, 2000, 6000, 18000)
    sizes: tuple[int, ...] = (event.SIZE, 1024, 4096, 16384)
    sized: int = 500
    load: float = 4000.0
    heavy: float = 20000.0
    seconds: float = 5.0


#: A small plan, to see that everything works.
QUICK = Plan(1, 200, (100, 400), (event.SIZE, 4096), sized=100, load=2000.0, heavy=4000.0, seconds=1.0)


class Point(NamedTuple):
    """The result of one measurement."""

    clients: int
    size: int
    opened: Opened
    delivered: Delivered


class Share(NamedTuple):
    """The shares of a core that the client and the floor used at a number of deliveries a second."""

    load: float
    client: float
    floor: float


class Result(NamedTuple):
    """All results, by server.

    :param descriptions: the versions, and how each server was run.
    :param rounds: the point of each round; None for a round that failed.
    :param heavy: the same, under the heavy load.
    :param failed: the reasons why something is missing.
    :param client: how busy the client was at several loads.
    """

    plan: Plan
    machine: str
    descriptions: dict[str, str]
    rounds: dict[str, list[Point | None]]
    heavy: dict[str, list[Point | None]]
    sweep: dict[str, list[Point]]
    sizes: dict[str, list[Point]]
    failed: dict[str, list[str]]
    client: list[Share]
    seconds: float


def measure_all(plan: Plan, machine: str, only: Sequence[str] = ("",)) -> Result:
    """Measure all three questions.

    :param machine: a description of the machine, for the document.
    :param only: words, one of which a server's name must contain.
    """
    began = time.monotonic()
    found, missing = contenders.find_contenders(only)
    names = [*(contender.name for contender in found), *missing]
    result = Result(
        plan, machine, {contender.name: contender.description for contender in found},
        *({name: [] for name in names} for _ in range(4)),
        {name: ["missing: " + why] for name, why in missing.items()}, [], 0.0,
    )  # fmt: skip
    _print_step(began, "the client itself")
    _try(result, contenders.FLOOR, partial(_client, plan, result.client))
    for number in range(plan.rounds):
        for contender in [contender for contender in found if not number or any(result.rounds[contender.name])]:
            _print_step(began, "round %d of %d: %s" % (number + 1, plan.rounds, contender.name))
            points: list[Point] = []
            _try(result, contender, partial(_round, contender, plan, points))
            result.rounds[contender.name].append(points[0] if points else None)
            result.heavy[contender.name].append(points[1] if len(points) > 1 else None)
    found = [contender for contender in found if any(result.rounds[contender.name])]
    for contender in found:
        _print_step(began, "more connections: " + contender.name)
        sweep = _possible(result, contender)
        _try(result, contender, partial(_steps, contender, plan, sweep, [event.SIZE], result.sweep[contender.name]))
    for contender in found:
        _print_step(began, "larger events: " + contender.name)
        points = result.sizes[contender.name]
        _try(result, contender, partial(_steps, contender, plan, [plan.sized], plan.sizes, points))
    return result._replace(seconds=time.monotonic() - began)


def _possible(result: Result, contender: Contender) -> list[int]:
    """Return the numbers of connections for which the server may open enough files."""
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    possible = [clients for clients in result.plan.sweep if clients * contender.files + SPARE <= limit]
    if len(possible) < len(result.plan.sweep):
        told = (max(result.plan.sweep), contender.files, limit)
        _fail(
            result,
            contender,
            "not measured with %d connections: it needs %d open files for each, and the limit is %d" % told,
        )
    return possible


def _client(plan: Plan, to: list[Share]) -> None:
    """Measure how much of its core the client uses at growing loads from the floor, until it is nearly all of it."""
    with Trial(contenders.FLOOR) as trial:
        trial.open(plan.clients)
        for times in LOADS:
            rate = plan.load * times / plan.clients
            found = trial.deliver(max(FEWEST, round(rate * CLIENT_SECONDS)), rate)
            to.append(Share(plan.load * times, found.client, found.busy))
            progress("    %.0f deliveries a second: client at %.0f %%, floor at %.0f %%" % (
                to[-1].load, found.client * 100, found.busy * 100))  # fmt: skip
            if max(found.client, found.busy) > BUSY:
                return


def _round(contender: Contender, plan: Plan, to: list[Point]) -> None:
    """Measure one server under the load, and under the heavy load if it would not be saturated."""
    with Trial(contender) as trial:
        opened = trial.open(plan.clients)
        for load in (plan.load, plan.heavy):
            if not to or to[0].delivered.cpu * load / 1e6 < ROOM:
                rate = load / plan.clients
                events = max(FEWEST, round(plan.seconds * rate))
                to.append(Point(plan.clients, event.SIZE, opened, trial.deliver(events, rate)))
                _print_point(to[-1])


def _steps(contender: Contender, plan: Plan, sweep: Sequence[int], sizes: Sequence[int], to: list[Point]) -> None:
    """Measure one server with a growing number of connections, and for each number with growing events."""
    with Trial(contender) as trial:
        have = 0
        for clients in sweep:
            opened = trial.open(clients - have)
            have = clients
            rate = plan.load / clients
            events = max(FEWEST, round(plan.seconds * rate))
            for size in sizes:
                to.append(Point(clients, size, opened, trial.deliver(events, rate, size)))
                _print_point(to[-1])


def _try(result: Result, contender: Contender, attempt: Callable[[], None]) -> None:
    try:
        attempt()
    except (RuntimeError, OSError) as error:
        _fail(result, contender, str(error))


def _fail(result: Result, contender: Contender, why: str) -> None:
    reason = _shorten_reason(why)
    progress("%s: %s" % (contender.name, reason))
    known = result.failed.setdefault(contender.name, [])
    if reason not in known:
        known.append(reason)


def _shorten_reason(why: str) -> str:
    """Return the first line of a server's output, which names the server, and the line that names an error."""
    first, *others = [line.strip() for line in why.splitlines() if line.strip()] or ["no reason was given"]
    errors = [line for line in others if re.match(r"[\w.]*(Error|Exception)\b", line)]
    return " ... ".join([first, *(errors or others)[-1:]])


def _print_point(point: Point) -> None:
    of = point.delivered
    told = (point.clients, point.size, of.cpu, point.opened.memory, point.opened.cpu, of.middle, of.last, of.busy * 100)
    progress(
        "    %d connections, %d bytes: %.1f µs a delivery, %.1f KB, %.0f µs to open, p50 %.1f ms, p99 %.1f ms, "
        "server at %.0f %%" % told + ("" if of.is_complete() else ", %d of %d events arrived" % (of.came, of.expected))
    )


def _print_step(began: float, text: str) -> None:
    minutes, seconds = divmod(int(time.monotonic() - began), 60)
    progress("%d:%02d %s" % (minutes, seconds, text))


def save_result(result: Result, path: str) -> None:
    """Save the result as JSON, so that the tables can be made again without measuring again."""
    with open(path, "w") as file:
        json.dump(result._asdict(), file, indent=1)


def load_result(path: str) -> Result:
    with open(path) as file:
        kept = json.load(file)
    for question in ("rounds", "heavy", "sweep", "sizes"):
        kept[question] = {name: [_point(point) for point in points] for name, points in kept[question].items()}
    return Result(**{**kept, "plan": Plan(*kept["plan"]), "client": [Share(*share) for share in kept["client"]]})


def _point(kept: list[Any] | None) -> Any:
    return kept and Point(kept[0], kept[1], Opened(*kept[2]), Delivered(*kept[3]))
