"""The clock of an application's streams, stopped and advanced by a test."""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import Iterator

from flask import Flask

from ..state import find_state
from ..worker.worker import Worker
from .open_stream import THREAD_TIMEOUT, list_open_streams


class Clock:
    """The clock of an application's streams, which stands still until ``advance`` moves it.

    It drives heartbeats, lifetimes and everything else that streams do at a certain time, but not the age of history.
    """

    def __init__(self, worker: Worker) -> None:
        self._worker = worker
        self._now = worker.running().timer.clock()

    def __call__(self) -> float:
        return self._now

    def advance(self, seconds: float) -> None:
        """Let time pass. Before this returns, all that is due has happened, and the test's streams have read it.

        :param seconds: how much.
        :raises AssertionError: the thread of a stream hangs.
        """
        timer, until = self._worker.running().timer, self._now + seconds
        self._wait_for_streams()
        due = timer.get_next_due()
        while due is not None and due <= until:
            self._now = max(self._now, due)
            timer.call_due_members()
            self._wait_for_streams()
            due = timer.get_next_due()
        self._now = until
        timer.call_due_members()
        self._wait_for_streams()

    def _wait_for_streams(self) -> None:
        for wrapped in self._worker.running().streams.list_wrapped():
            wrapped.await_heartbeat()
        reauthorizer, deadline = self._worker.running().reauthorizer, time.monotonic() + THREAD_TIMEOUT
        while reauthorizer is not None and reauthorizer.is_checking and time.monotonic() < deadline:
            time.sleep(0.0005)
        for stream in list_open_streams(self._worker):
            stream.wait_until_read()


@contextmanager
def frozen(app: Flask) -> Iterator[Clock]:
    """Stop the time of an application's streams::

        with frozen(app) as clock, stream(app) as s:
            clock.advance(60)
            assert s.heartbeats >= 3  # one ends each silence after at most 20 s

    Afterwards the time goes on from where it was. Open the streams inside the ``with`` block.

    :param app: the application.
    :return: a context manager, whose value is the ``Clock``.
    :raises ApplicationError: the application does not use flask_ssemux.
    """
    worker = find_state(app).worker
    timer = worker.running().timer
    timer.pause()
    clock = timer.clock = Clock(worker)
    try:
        yield clock
    finally:
        offset = clock() - time.monotonic()
        timer.clock = lambda: time.monotonic() + offset
        timer.resume()
