"""What all workers say of themselves, together: totals, a line for each, and all of it as JSON.

From the reports of ``Broker.reports``, which ``worker.py`` makes; nothing is asked of anyone here, and nothing
printed. A figure that a worker of another version does not say counts as 0.
"""

from __future__ import annotations

import time
from typing import Any, Mapping, Sequence

from ..brokers import Report
from ..brokers.base import REPORT_SECONDS
from ..options import Options
from ..sse.encode import Cursor
from ..worker import distinct
from ..worker.stream_stats import BOUNDS

#: Figures that add up over all workers.
SUMS = ("streams", "handed_over", "delivered", "refused", "late")

#: More of them, which are not in each worker's line.
MORE_SUMS = ("published", "recheck_failed", "queued", "queued_bytes", "waiting", "silence_sum")

#: Figures of which the largest of all workers is told.
MOST = ("deepest", "longest_silence", "longest_late")

#: Of which the workers have some in common; see ``distinct.py``.
DISTINCT = ("users", "channels")


def totals(reports: Sequence[Report]) -> dict[str, Any]:
    """The workers' figures as one: ``workers`` is how many there are."""
    told = [report.figures for report in reports]
    made: dict[str, Any] = {"workers": len(told)}
    for name in SUMS + MORE_SUMS:
        made[name] = sum(number(figures.get(name)) for figures in told)
    for name in MOST:
        made[name] = max((figures.get(name, 0) for figures in told), default=0)
    silence = [figures["silence"] for figures in told if len(figures.get("silence", ())) == len(BOUNDS) + 1]
    made["silence"] = [sum(column) for column in zip(*silence)] or [0] * (len(BOUNDS) + 1)
    for name in DISTINCT:
        counted = _distinct(name, told)
        made[name], made[name + "_exact"] = counted
    return made


def summary(reports: Sequence[Report]) -> dict[str, Any]:
    """Those totals that a line each can say."""
    made = totals(reports)
    more = ("longest_late", "users") + MORE_SUMS[:-1] + ("deepest", "longest_silence")
    return {name: made[name] for name in ("workers",) + SUMS + more}


def number(value: Any) -> Any:
    """A figure, as one number: some are told by kind."""
    return sum(value.values()) if isinstance(value, Mapping) else value or 0


def _distinct(name: str, told: Sequence[Mapping[str, Any]]) -> distinct.Count:
    if len(told) == 1:
        return distinct.Count(told[0].get(name, 0), True)
    return distinct.count(figures["sketches"][name] for figures in told if name in figures.get("sketches", ()))


def shown(report: Report, past: bool = True) -> dict[str, Any]:
    """One worker, for programs.

    :param past: also what it kept of the last minutes.
    """
    hidden = ("sketches",) if past else ("sketches", "past")
    figures = {name: value for name, value in report.figures.items() if name not in hidden}
    return {"name": report.holder, "age": round(report.age, 3), **figures}


def whole(
    reports: Sequence[Report], broker: Mapping[str, Any], options: Options, past: bool, teller: str = ""
) -> dict[str, Any]:
    """All there is to see: what the page draws, and programs read.

    :param broker: what the broker says of itself, with ``is_reachable``.
    :param past: also what each worker kept of the last minutes.
    :param teller: the name of the worker that says it.
    """
    cursor = Cursor.parse(str(broker.get("cursor", "")))
    workers = [shown(report, past) for report in reports]
    return {
        "at": round(time.time(), 3),
        "teller": teller,
        "totals": {**totals(reports), "events": cursor.sequence if cursor else None},
        "workers": sorted(workers, key=lambda one: (str(one.get("host")), one["name"])),
        "broker": dict(broker),
        "silence_bounds": BOUNDS,
        "heartbeat": options.heartbeat,
        "client_timeout": options.client_timeout,
        "report_seconds": REPORT_SECONDS,
    }


def line(report: Report) -> str:
    """One worker, for people."""
    figures = report.figures
    parts = ["%s on %s" % (figures.get("pid", "?"), figures.get("host", "?"))]
    parts += ["%s %s" % (name.replace("_", " "), figures.get(name, 0)) for name in SUMS]
    if figures.get("late"):
        parts[-1] += " (up to %g s)" % figures.get("longest_late", 0)
    if "started" in figures:
        parts.append("up %d s" % (time.time() - figures["started"]))
    parts.append("heard of %d s ago" % report.age)
    return ", ".join(parts)
