"""Formats the results of ``compare`` as tables and pictures. Everything that is missing is mentioned in a remark."""

from __future__ import annotations

import os
from statistics import median
from typing import Callable, Dict, List, Optional, Sequence

from . import document, picture
from .compare import Point, Result
from .delivery import delivered, remarks
from .table import spread, table

#: The servers whose figures of the same round the others are divided by.
BASES = ("nchan", "better-sse")

#: Shown if there is no figure.
NONE = "-"


def make_tables(result: Result) -> str:
    """Return all tables as Markdown."""
    plan = result.plan
    parts = [
        "### %s connections, %.3g events a second\n" % (f"{plan.clients:,}", plan.load / plan.clients),
        _rounds(result, result.rounds),
        "\n### %s connections, %.3g events a second\n" % (f"{plan.clients:,}", plan.heavy / plan.clients),
        "Servers that this rate would saturate are not measured: they would join several events into one write.\n",
        _rounds(result, result.heavy),
        "\n### More connections\n",
        *("%s:\n\n%s\n" % (title, _matrix(result.sweep, value, _clients)) for title, value in _SWEPT),
        "### Larger events\n",
        "µs of CPU a delivery, %d connections, by the bytes that flask_ssemux sends for one event; the other servers "
        "send the same data.\n" % plan.sized,
        _matrix(result.sizes, lambda point: point.delivered.cpu, lambda point: point.size),
        "\n### The servers\n",
        table(("", ""), [[name, description] for name, description in result.descriptions.items()]),
        "\n### Remarks\n",
        *("* " + said for said in _said(result)),
    ]
    return "\n".join(parts)


def write_document(result: Result, folder: str) -> None:
    """Write the figures and the picture of ``benchmarks.md``."""
    draw_pictures(result, os.path.join(folder, "benchmarks.svg"))
    shown = "![CPU, memory and latency over the number of connections; CPU over the size of events](benchmarks.svg)"
    filled = "\n\n".join([result.machine, shown, make_tables(result)])
    document.fill_figures(os.path.join(folder, "benchmarks.md"), "compare", filled)


def draw_pictures(result: Result, path: str) -> None:
    panels = [picture.Panel(title, "connections", result.sweep, _clients, value, True) for title, value in _SWEPT]
    cost = _SWEPT[0][1]
    larger = "µs of CPU a delivery, by size"
    panels.append(picture.Panel(larger, "bytes of an event", result.sizes, lambda point: point.size, cost, True))
    picture.draw_lines(panels, path)


_SWEPT: list[tuple[str, Callable[[Point], float]]] = [
    ("µs of CPU a delivery", lambda point: point.delivered.cpu),
    ("KB a connection", lambda point: point.opened.memory),
    ("µs of CPU to open a connection", lambda point: point.opened.cpu),
    ("latency, p50, ms", lambda point: point.delivered.middle),
    ("latency, p99, ms", lambda point: point.delivered.last),
]


_Rounds = Dict[str, List[Optional[Point]]]


def _rounds(result: Result, rounds: _Rounds) -> str:
    head = ("", "µs CPU a delivery", *("× " + base for base in BASES), "KB a connection",
            "µs CPU to open", "p50 ms", "p99 ms", "server %", "delivered")  # fmt: skip
    return table(head, [_row(result, rounds, name) for name in _order(rounds)])


def _order(rounds: _Rounds) -> list[str]:
    """Return the names, the cheapest first and the missing ones last."""

    def cost(name: str) -> float:
        points = [point for point in rounds[name] if point]
        return median(point.delivered.cpu for point in points) if points else float("inf")

    return sorted(rounds, key=cost)


def _row(result: Result, rounds: _Rounds, name: str) -> list[str]:
    points = [point for point in rounds[name] if point]
    if not points:
        return [name, NONE if any(result.rounds[name]) else "**missing**, see below", *[NONE] * 8]
    return [
        name,
        spread([point.delivered.cpu for point in points]),
        *(_ratio(rounds, name, base) for base in BASES),
        spread([point.opened.memory for point in points]),
        spread([point.opened.cpu for point in points], "%.0f"),
        spread([point.delivered.middle for point in points]),
        spread([point.delivered.last for point in points]),
        spread([point.delivered.busy * 100 for point in points], "%.0f"),
        delivered([point.delivered for point in points]),
    ]


def _ratio(rounds: _Rounds, name: str, base: str) -> str:
    """Return the median of the rounds' ratios. What slows a whole round down does not change its ratio."""
    pairs = zip(rounds[name], rounds.get(base, []))
    found = [of.delivered.cpu / to.delivered.cpu for of, to in pairs if of and to]
    return "%.2f" % median(found) if found else NONE


def _clients(point: Point) -> int:
    return point.clients


def _matrix(found: dict[str, list[Point]], value: Callable[[Point], float], place: Callable[[Point], int]) -> str:
    columns = sorted({place(point) for points in found.values() for point in points})
    rows = []
    for name, points in found.items():
        known = {place(point): _figure(value(point)) for point in points}
        rows.append([name, *(known.get(column, NONE) for column in columns)])
    return table(("", *(f"{column:,}" for column in columns)), rows)


def _figure(value: float) -> str:
    """Format a figure with three significant digits and no exponent."""
    return f"{value:,.0f}" if value >= 100 else "%.3g" % value


def _said(result: Result) -> Sequence[str]:
    runs = {
        name: [point.delivered for point in [*result.rounds[name], *result.sweep[name], *result.sizes[name]] if point]
        for name in result.rounds
    }
    said = ["%s: %s" % (name, why) for name, whys in result.failed.items() for why in whys]
    said += remarks(runs)
    said += [
        "%s: only %s events were delivered" % (name, delivered(found))
        for name, found in runs.items()
        if not all(run.is_complete() for run in found)
    ]
    return [*said, _limit(result), "the whole run took %.0f minutes" % (result.seconds / 60)]


def _limit(result: Result) -> str:
    """Say how busy the client was: at a high rate, the client would be what is measured."""
    shares = [
        "%.0f %% at %s (%s%.0f %%)"
        % (of.client * 100, f"{of.load:,.0f}", "" if number else "the floor's server used ", of.floor * 100)
        for number, of in enumerate(result.client)
    ]
    return (
        "how much of its core the client used, by deliveries a second: %s. The load of the comparison was %s a second"
        % ("; ".join(shares) or "not measured", f"{result.plan.load:,.0f}")
    )
