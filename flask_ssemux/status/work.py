"""The feeds that run, from the reports of all workers: for the page, for programs, and as lines of text. No I/O."""

from __future__ import annotations

from typing import Any, Mapping, Sequence

from ..brokers import WorkerReport


def list_feeds(reports: Sequence[WorkerReport]) -> list[dict[str, Any]]:
    """Return the feeds that run, and which worker runs each. Those of a worker that has just stopped may be listed,
    too."""
    found = [
        {"channel": channel, **_describe_place(report), **feed}
        for report in reports
        for channel, feed in report.figures.get("feeds", {}).items()
    ]
    return sorted(found, key=lambda feed: (feed["channel"], feed["worker"]))


def _describe_place(report: WorkerReport) -> dict[str, Any]:
    figures = report.figures
    return {
        "worker": figures.get("name", report.process_name),
        "pid": figures.get("pid"),
        "host": figures.get("host"),
    }


def format_feed(feed: Mapping[str, Any]) -> str:
    """Return a feed as a line of text."""
    parts = ["%(channel)s: %(state)s in %(pid)s on %(host)s" % feed]
    if feed.get("restarts"):
        parts.append("started again %d times" % feed["restarts"])
    if feed.get("error"):
        parts.append("last error %s" % feed["error"])
    return ", ".join(parts)
