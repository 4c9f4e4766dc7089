"""Measures what a delivery costs flask_ssemux beside the floor: a quick check while the code is being changed.

The servers run in turn, several times each, so that a noisy minute does not affect only one of them.
"""

from __future__ import annotations

from typing import NamedTuple, Sequence

from .client import BUSY
from .contenders import Contender
from .table import progress, spread, table
from .trial import Delivered, Opened, Trial


class Run(NamedTuple):
    """One run of one server."""

    opened: Opened
    delivered: Delivered


def measure_delivery(
    contenders: Sequence[Contender], clients: int, events: int, rate: float, runs: int, nap: float
) -> str:
    """Return the table and the remarks."""
    found: list[list[Run]] = [[] for _ in contenders]
    for number in range(runs):
        for contender, had in zip(contenders, found):
            progress("run %d of %d: %s" % (number + 1, runs, contender.name))
            with Trial(contender, nap) as trial:
                had.append(Run(trial.open(clients), trial.deliver(events, rate)))
    head = ("%d clients, %d events" % (clients, events), "µs CPU a delivery", "KB a connection",
            "µs CPU to open", "p50 ms", "p99 ms", "server %", "delivered")  # fmt: skip
    rows = [_row(contender.name, had) for contender, had in zip(contenders, found)]
    said = remarks({contender.name: [run.delivered for run in had] for contender, had in zip(contenders, found)})
    return "\n".join([table(head, rows), *said])


def delivered(runs: Sequence[Delivered]) -> str:
    """Return "all", or how many events of how many were delivered."""
    if all(run.is_complete() for run in runs):
        return "all"
    return "%d of %d" % (sum(run.came for run in runs), sum(run.expected for run in runs))


def remarks(found: dict[str, list[Delivered]]) -> list[str]:
    """Return the remarks about the measurement itself."""
    every = [run for runs in found.values() for run in runs]
    said = ["the client used at most %.0f %% of its core" % (max((run.client for run in every), default=0.0) * 100)]
    for name, runs in found.items():
        if max((run.client for run in runs), default=0.0) > BUSY:
            said.append(
                "%s: the client used over %.0f %% of its core, so this row measures the client" % (name, BUSY * 100)
            )
        if max((run.busy for run in runs), default=0.0) > 0.95:
            said.append("%s: the server was saturated, and may have joined several events into one write" % name)
    return said


def _row(name: str, runs: list[Run]) -> list[str]:
    return [
        name,
        spread([run.delivered.cpu for run in runs]),
        spread([run.opened.memory for run in runs]),
        spread([run.opened.cpu for run in runs], "%.0f"),
        spread([run.delivered.middle for run in runs]),
        spread([run.delivered.last for run in runs]),
        spread([run.delivered.busy * 100 for run in runs], "%.0f"),
        delivered([run.delivered for run in runs]),
    ]
