"""The report of a worker: the figures that it writes to the broker for the status page.

Figures only; how they are shown is decided in ``status``.
"""

from __future__ import annotations

import os
import platform
import time
from collections import deque
from typing import Any, Callable, Mapping

from ..access.reauthorize import Reauthorizer
from ..brokers import REPORT_INTERVAL, Broker
from ..errors import BrokerError
from ..hub.hub import Hub
from ..transports.select import count_handed_over
from ..util import forks
from ..util.background import run_in_background
from ..version import __version__
from .open_streams import OpenStreams
from .opening_queue import opening_queue
from .refusals import Refusals
from .stream_stats import StreamStats, read_memory
from .timer import Timer

#: Seconds from the start of a worker to its first report.
FIRST_REPORT = 1.0

#: Figures of earlier reports are kept, for a status page that is opened later: of each report of ten minutes, and of
#: one report for each minute of an hour. Together they are some 8 KB of a report.
KEPT_REPORTS = int(600 / REPORT_INTERVAL)
KEPT_MINUTES = 61

#: The figures whose sum is ``errors``: what went wrong, whatever it was.
ERRORS = ("refused", "recheck_failed", "publish_failed", "runs_failed", "runs_lost", "feed_restarts")


class Reporter:
    """Writes the reports of one application in this process.

    :param name: of the worker; no other process has this name, or will have it.
    :param count_published: returns how many events the application published in this process.
    """

    def __init__(
        self,
        name: str,
        broker: Broker,
        hub: Hub,
        streams: OpenStreams,
        timer: Timer,
        refusals: Refusals,
        reauthorizer: Reauthorizer | None,
        count_published: Callable[[], int],
        yield_control: Callable[[], None],
    ) -> None:
        self._name = name
        self._broker = broker
        self._hub = hub
        self._streams = streams
        self._timer = timer
        self._refusals = refusals
        self._reauthorizer = reauthorizer
        self._count_published = count_published
        self._yield_control = yield_control
        #: Each returns more figures.
        self.more_figures: list[Callable[[], Mapping[str, Any]]] = []
        self._is_stopped = False
        #: Rows of time, streams, delivered, published and errors; in the second, also the broker's newest sequence.
        self._past: deque[tuple[int, ...]] = deque(maxlen=KEPT_REPORTS)
        self._hour: deque[tuple[int | None, ...]] = deque(maxlen=KEPT_MINUTES)

    def report_in_background(self) -> None:
        """Write a report in the background: a store that is busy must not delay heartbeats."""
        if self._is_stopped:
            return
        run_in_background("ssemux-report", self._report)

    def stop(self) -> None:
        """Write no more reports: the broker connection is being closed."""
        self._is_stopped = True

    def _report(self) -> None:
        figures = self._count_figures()
        self._keep_figures(figures)
        self._broker.reports.write_report(self._with_past(figures))

    def _keep_figures(self, figures: Mapping[str, Any]) -> None:
        row = int(time.time()), *(figures[name] for name in ("streams", "delivered", "published", "errors"))
        self._past.append(row)
        if not self._hour or row[0] // 60 != (self._hour[-1][0] or 0) // 60:
            self._hour.append((*row, self._read_sequence()))

    def _read_sequence(self) -> int | None:
        """Return the newest sequence, which tells how many events all processes published."""
        try:
            return self._broker.history.get_newest_cursor().sequence
        except BrokerError:
            return None

    def _with_past(self, figures: dict[str, Any]) -> dict[str, Any]:
        return {**figures, "past": list(self._past), "hour": list(self._hour)}

    def get_figures(self) -> dict[str, Any]:
        """Return the figures of this moment, and earlier ones. Other greenlets and threads run meanwhile."""
        return self._with_past(self._count_figures())

    def _count_figures(self) -> dict[str, Any]:
        hub, loop_lag, refused = self._hub, self._timer.loop_lag, self._refusals.counts
        figures = {
            **self._count_streams(),
            "name": self._name,
            "version": __version__,
            "pid": os.getpid(),
            "host": platform.node(),
            "started": _started_at,
            "at": round(time.time(), 3),
            "streams": len(self._streams),
            "handed_over": count_handed_over(),
            "delivered": hub.delivered,
            "refused": sum(refused.values()),
            "refused_why": refused,
            "recheck_failed": self._reauthorizer.failed if self._reauthorizer is not None else 0,
            "published": self._count_published(),
            "waiting": self._broker.waiting_calls,
            "waiting_openings": len(opening_queue),
            "opening_cost": round(opening_queue.cost, 6),
            "late": loop_lag.late_turns,
            "longest_late": round(loop_lag.longest, 3),
            "memory": read_memory(),
            **{name: value for get_more in self.more_figures for name, value in get_more().items()},
        }
        figures["errors"] = sum(figures.get(name, 0) for name in ERRORS)
        return figures

    def _count_streams(self) -> dict[str, Any]:
        stats = StreamStats(self._timer.clock, self._yield_control)
        stats.count_streams(self._hub.list_streams())
        stats.count_wrapped_streams(stream.sent_at for stream in self._streams.list_wrapped() if stream.is_event_stream)
        return stats.get_figures(self._hub.list_channels())


#: The Unix time at which this process began, or at which this module was imported.
_started_at = time.time()


def _note_start() -> None:
    global _started_at
    _started_at = time.time()


forks.call_in_child(_note_start, forks.FILES)
