"""Measures the CPU time of opening a stream, beside a bare Flask view that returns a generator.

All servers run at the same time, and open streams in turn, many rounds, so that a noisy second does not affect only one
of them. Each stream has a user of its own, and names one channel that a rule allows.
"""

from __future__ import annotations

import time
from contextlib import ExitStack
from statistics import median
from typing import Iterator, NamedTuple, Sequence

from . import process
from .client import Load
from .contenders import STREAM, Contender, bare_view, list_brokers
from .servers import Server
from .table import progress, spread, table

#: Streams that each server opens before anything is measured, so that everything that is made once exists.
WARM_UP = 300

#: Seconds that opening may take; seconds in which the ends of the streams are noticed.
OPENING, ENDING = 60.0, 1.0


class Opener(NamedTuple):
    """A server that is measured, its clients, and the µs of CPU time for each opening, by round."""

    name: str
    server: Server
    load: Load
    found: list[float]


def measure_opening(streams: int, rounds: int, brokers: Sequence[str]) -> str:
    """Return the table.

    :param streams: how many streams each server opens in each round.
    """
    ours, theirs = process.choose_cores()
    with ExitStack() as stack:
        openers = []
        for name, contender in _list_contenders(stack, brokers, theirs):
            server = stack.enter_context(Server(contender, ours))
            load = Load(server.port, STREAM, theirs, sampled=1_000_000, first=contender.first, users=True)
            openers.append(Opener(name, server, stack.enter_context(load), []))
        for opener in openers:
            _measure_round(opener, WARM_UP)
        for number in range(rounds):
            progress("round %d of %d" % (number + 1, rounds))
            for opener in openers:
                opener.found.append(_measure_round(opener, streams))
    head = ("%d openings, %d rounds" % (streams, rounds), "µs CPU an opening", "of the bare view's")
    return table(head, [_make_row(opener, openers[0]) for opener in openers])


def _list_contenders(stack: ExitStack, brokers: Sequence[str], core: int) -> Iterator[tuple[str, Contender]]:
    yield "a bare Flask view with a generator", bare_view()
    yield from list_brokers(stack, brokers, core)


def _measure_round(opener: Opener, streams: int) -> float:
    """Open streams, end them, and return the µs of CPU time for each opening."""
    spent = opener.server.cpu()
    opener.load.open(streams, OPENING)
    spent = opener.server.cpu() - spent
    opener.load.drop()
    time.sleep(ENDING)
    return spent / streams * 1e6


def _make_row(opener: Opener, bare: Opener) -> list[str]:
    ratio = median(one / other for one, other in zip(opener.found, bare.found))
    return [opener.name, spread(opener.found, "%.0f"), "%.2f" % ratio]
