"""A publisher that does not pause while its store is broken, and what must have come of its events afterwards."""

from __future__ import annotations

import threading
import time

from flask_ssemux.errors import BrokerClosed, BrokerUnavailable
from tests.harness.waiting import until


class Fill:
    """Appends without a pause, and records what was accepted and what failed."""

    def __init__(self, broker, channels=("a", "b")):
        self.accepted, self.failed = [], []
        self._broker, self._channels, self._on = broker, channels, True
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self):
        number = 0
        while self._on:
            number += 1
            body = b"%d" % number
            try:
                self.accepted.append((self._broker.history.append_event(self._channels[number % 2], body), body))
            except BrokerUnavailable:
                self.failed.append(body)
            except BrokerClosed:  # the test has failed, and its brokers are closed
                return
            time.sleep(0.002)

    def stop(self):
        self._on = False
        self._thread.join()
        return self


def assert_all_came(recorder, filled):
    """Each accepted event was delivered once and in order; an event whose append failed, at most once."""
    last = filled.accepted[-1][0].sequence
    until(
        lambda: recorder.sequences and recorder.sequences[-1] >= last,
        10,
        lambda: "%s of %d" % (recorder.sequences[-3:], last),
    )
    assert recorder.sequences == sorted(set(recorder.sequences))
    bodies = [record.body for record in recorder.records]
    assert len(bodies) == len(set(bodies))
    assert not {body for _, body in filled.accepted} - set(bodies)
    assert set(bodies) <= {body for _, body in filled.accepted} | set(filled.failed)
