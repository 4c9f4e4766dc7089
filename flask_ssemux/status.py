"""What all workers say of themselves, together: totals, and a line for each.

From the reports of ``Broker.reports``, which ``lifecycle.py`` makes; nothing is asked of anyone here, and nothing
printed. A figure that a worker of another version does not say counts as 0.
"""

from __future__ import annotations

import time
from typing import Any, Sequence

from .brokers import Report

#: Figures that add up over all workers.
SUMS = ("streams", "handed_over", "delivered", "refused", "late")


def totals(reports: Sequence[Report]) -> dict[str, Any]:
    """The workers' figures as one: ``workers`` is how many there are, ``longest_late`` the longest of all."""
    made: dict[str, Any] = {"workers": len(reports)}
    for name in SUMS:
        made[name] = sum(report.figures.get(name, 0) for report in reports)
    made["longest_late"] = max((report.figures.get("longest_late", 0) for report in reports), default=0)
    return made


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
