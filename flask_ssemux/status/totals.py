"""Combines the reports of all workers: totals, one line of text for each worker, and everything as JSON.

The reports come from ``Broker.reports``, and ``worker/report.py`` makes them. There is no I/O here. A figure that is
missing in the report of another version's worker counts as 0.
"""

from __future__ import annotations

import time
from typing import Any, Mapping, Sequence

from ..brokers import REPORT_INTERVAL, WorkerReport
from ..options import Options
from ..sse.cursor import Cursor
from ..worker import distinct
from ..worker.stream_stats import BOUNDS
from .work import list_feeds

#: Figures that add up over all workers.
SUMS = ("streams", "handed_over", "delivered", "refused", "late")

#: More such figures, which are not in a worker's line of text.
MORE_SUMS = (
    "published",
    "publish_failed",
    "errors",
    "recheck_failed",
    "queued",
    "queued_bytes",
    "waiting",
    "waiting_openings",
    "runs",
    "silence_sum",
)

#: Figures of which the status shows the largest of all workers.
MOST = ("deepest", "longest_silence", "longest_late")

#: Figures that count names, some of which several workers have in common; see ``distinct.py``.
DISTINCT = ("users", "channels")


def compute_totals(reports: Sequence[WorkerReport]) -> dict[str, Any]:
    """Return the figures of all workers together, and their number as ``workers``."""
    all_figures = [report.figures for report in reports]
    totals: dict[str, Any] = {"workers": len(all_figures)}
    for name in SUMS + MORE_SUMS:
        totals[name] = sum(as_number(figures.get(name)) for figures in all_figures)
    for name in MOST:
        totals[name] = max((figures.get(name, 0) for figures in all_figures), default=0)
    silence = [figures["silence"] for figures in all_figures if len(figures.get("silence", ())) == len(BOUNDS) + 1]
    totals["silence"] = [sum(column) for column in zip(*silence)] or [0] * (len(BOUNDS) + 1)
    for name in DISTINCT:
        counted = _count_distinct(name, all_figures)
        totals[name], totals[name + "_exact"] = counted
    return totals


def summarize_reports(reports: Sequence[WorkerReport]) -> dict[str, Any]:
    """Return the totals that are single numbers, for the command line."""
    totals = compute_totals(reports)
    more = ("longest_late", "users") + MORE_SUMS[:-1] + ("deepest", "longest_silence")
    return {name: totals[name] for name in ("workers",) + SUMS + more}


def as_number(value: Any) -> Any:
    """Return a figure as one number; some figures are mappings with a number for each kind."""
    return sum(value.values()) if isinstance(value, Mapping) else value or 0


def _count_distinct(name: str, all_figures: Sequence[Mapping[str, Any]]) -> distinct.Count:
    if len(all_figures) == 1:
        return distinct.Count(all_figures[0].get(name, 0), True)
    return distinct.count_names(
        figures["sketches"][name] for figures in all_figures if name in figures.get("sketches", ())
    )


def describe_worker(report: WorkerReport, past: bool = True) -> dict[str, Any]:
    """Return one worker's figures for the JSON.

    :param past: include the figures that the worker recorded in the last hour.
    """
    hidden = ("sketches", "feeds") if past else ("sketches", "feeds", "past", "hour")
    figures = {name: value for name, value in report.figures.items() if name not in hidden}
    return {"name": report.process_name, "age": round(report.age, 3), **figures}


def build_status(
    reports: Sequence[WorkerReport], broker: Mapping[str, Any], options: Options, past: bool, teller: str = ""
) -> dict[str, Any]:
    """Return the whole status: the page draws it, and programs read it as JSON.

    :param broker: the broker's own figures, and ``is_reachable``.
    :param past: include the figures that each worker recorded in the last hour.
    :param teller: the name of the worker that answers.
    """
    cursor = Cursor.parse(str(broker.get("cursor", "")))
    workers = [describe_worker(report, past) for report in reports]
    return {
        "at": round(time.time(), 3),
        "teller": teller,
        "totals": {**compute_totals(reports), "events": cursor.sequence if cursor else None},
        "feeds": list_feeds(reports),
        "workers": sorted(workers, key=lambda one: (str(one.get("host")), one["name"])),
        "broker": dict(broker),
        "silence_bounds": BOUNDS,
        "heartbeat": options.heartbeat,
        "client_timeout": options.client_timeout,
        "report_seconds": REPORT_INTERVAL,
    }


def format_worker(report: WorkerReport) -> str:
    """Return one worker's figures as a line of text."""
    figures = report.figures
    parts = ["%s on %s" % (figures.get("pid", "?"), figures.get("host", "?"))]
    parts += ["%s %s" % (name.replace("_", " "), figures.get(name, 0)) for name in SUMS]
    if figures.get("late"):
        parts[-1] += " (up to %g s)" % figures.get("longest_late", 0)
    if "started" in figures:
        parts.append("up %d s" % (time.time() - figures["started"]))
    parts.append("last report %d s ago" % report.age)
    return ", ".join(parts)
