"""What is shown of all workers: asked of the broker, and told to those who look.

While somebody looks, a thread (or greenlet) asks every ``EVERY`` seconds and tells the streams of this worker's
lookers. Nothing of it goes through the broker, so none of it is stored. No Flask; who may look is not asked here.
"""

from __future__ import annotations

import threading
from typing import Any

from ..brokers import Report
from ..errors import BrokerError
from ..hub.stream import CLOSED, Stream
from ..sse import encode
from ..util import forks
from ..util.supervise import Loop
from ..worker.worker import Worker
from .totals import whole

#: Seconds between two looks. This worker's figures are new each time; the others' are those of their last report.
EVERY = 2.0


class Feed:
    """Tells what is going on in an application's workers.

    :param process: of the application, here.
    """

    def __init__(self, worker: Worker) -> None:
        self._worker = worker
        self._streams: set[Stream] = set()
        self._changing = threading.Lock()
        self._loop = self._new_loop()
        forks.follow(self)

    def look(self, past: bool = True) -> dict[str, Any]:
        """All there is to see now; of this worker alone, while the broker is away. Blocks for some seconds then.

        :param past: also what each worker kept of the last minutes.
        """
        worker = self._worker
        own = worker.figures(worker.hub)
        try:
            told = [report for report in worker.broker.reports() if report.figures.get("name") != own["name"]]
            broker = {"is_reachable": True, **worker.broker.figures()}
            worker.broker.report(own)  # so others see at once what this one shows
        except BrokerError as error:
            told, broker = [], {"is_reachable": False, "trouble": str(error)}
        told.append(Report(own["name"], 0.0, own))
        return whole(told, broker, worker.options, past, own["name"])

    def open(self, user_id: str | None, orders_taken: int | None = None, at_once: bool = True) -> Stream:
        """A stream of it. No channel's: the broker need not be asked for anything.

        :param orders_taken: as for ``Mux.open``.
        :param at_once: it begins with what there is to see now, not with the next look.
        """
        frame = self._frame() if at_once else b""
        stream = self._worker.hub.open((), user_id, on_closed=self._left, orders_taken=orders_taken)
        if frame:
            stream.offer(frame)
        with self._changing:
            if stream.state is not CLOSED:  # or else it has left
                self._streams.add(stream)
                self._loop.start()
        return stream

    def disown(self) -> None:
        """In a forked child: these streams are the parent's."""
        self._streams = set()
        self._changing = threading.Lock()
        self._loop = self._new_loop()

    def _new_loop(self) -> Loop:
        return Loop("ssemux-status", self._changing, lambda: bool(self._streams), self._tell, EVERY)

    def _left(self, stream: Stream) -> None:
        self._worker.on_closed(stream)
        with self._changing:
            self._streams.discard(stream)

    def _tell(self) -> None:
        self._worker.hub.tell(list(self._streams), self._frame())

    def _frame(self) -> bytes:
        return encode.own_frame("status", self.look(past=False))
