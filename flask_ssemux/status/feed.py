"""Collects the status of all workers from the broker, and sends it to the status page's streams.

While the page is open somewhere, a thread (or greenlet) collects the status every ``EVERY`` seconds and sends it to the
streams of this worker. These events do not go through the broker, so they are not stored. There is no Flask here, and
no check of who may see the status.
"""

from __future__ import annotations

import threading
from typing import Any

from ..brokers import WorkerReport
from ..errors import BrokerError
from ..hub.stream import Stream
from ..hub.stream_state import CLOSED
from ..sse import encode
from ..util import forks
from ..util.supervise import Loop
from ..worker.worker import Worker
from .totals import build_status

#: Seconds between two events. This worker's figures are current each time; the others' are those of their last report.
EVERY = 2.0


class StatusFeed:
    """Sends the status of an application's workers to streams.

    :param worker: the application's worker in this process.
    """

    def __init__(self, worker: Worker) -> None:
        self._worker = worker
        self._streams: set[Stream] = set()
        self._changing = threading.Lock()
        self._loop = self._new_loop()
        forks.register_owner(self)

    def collect_status(self, past: bool = True) -> dict[str, Any]:
        """Return the status of all workers, or of this one only while the broker cannot be reached.

        In the latter case the call blocks for some seconds.

        :param past: include the figures that each worker recorded in the last hour.
        """
        worker = self._worker
        own = worker.running().reporter.get_figures()
        try:
            reports = [
                report for report in worker.broker.reports.read_reports() if report.figures.get("name") != own["name"]
            ]
            broker = {"is_reachable": True, **worker.broker.get_figures()}
            worker.broker.reports.write_report(own)  # so that other workers show the same figures at once
        except BrokerError as error:
            reports, broker = [], {"is_reachable": False, "trouble": str(error)}
        reports.append(WorkerReport(own["name"], 0.0, own))
        return build_status(reports, broker, worker.options, past, own["name"])

    def add_stream(self, stream: Stream, first_frame: bytes) -> None:
        """Send the status to this stream from now on.

        :param first_frame: the current status; b"" if the stream gets only the next one.
        """
        if first_frame:
            stream.offer(first_frame)
        with self._changing:
            if stream.state is not CLOSED:  # otherwise its client has left already
                self._streams.add(stream)
                self._loop.start()

    def remove_stream(self, stream: Stream) -> None:
        """Account for a stream that has ended."""
        self._worker.running().on_stream_closed(stream)
        with self._changing:
            self._streams.discard(stream)

    def make_frame(self) -> bytes:
        """Return the current status as a frame. It blocks as ``collect_status`` does."""
        return encode.make_own_frame("status", self.collect_status(past=False))

    def disown(self) -> None:
        """Forget all streams in a forked child: they belong to the parent."""
        self._streams = set()
        self._changing = threading.Lock()
        self._loop = self._new_loop()

    def _new_loop(self) -> Loop:
        return Loop("ssemux-status", self._changing, lambda: bool(self._streams), self._send_status, EVERY)

    def _send_status(self) -> None:
        self._worker.running().hub.send_frame(list(self._streams), self.make_frame())
