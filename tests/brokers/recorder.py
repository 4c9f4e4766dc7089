"""A listener that records what a broker calls it with, and lets a test wait for more."""

from __future__ import annotations

import threading

from flask_ssemux.brokers import Listener
from tests.harness.waiting import until


class Recorder:
    def __init__(self):
        self.records, self.gaps, self.renewals, self.losses, self.finds = [], [], [], [], []

    @property
    def listener(self):
        return Listener(
            deliver=self.records.extend,
            report_gap=lambda channels, head: self.gaps.append((sorted(channels), head)),
            begin_epoch=self.renewals.append,
            report_lost=self.losses.append,
            report_found=lambda: self.finds.append(True),
        )

    def make_blocked_listener(self):
        """Return a listener whose deliveries wait, an event that says that one waits, and one that lets it go on."""
        is_waiting, go_on = threading.Event(), threading.Event()
        listener = self.listener._replace(
            deliver=lambda records: (is_waiting.set(), go_on.wait(10), self.records.extend(records))
        )
        return listener, is_waiting, go_on

    @property
    def sequences(self):
        return [record.sequence for record in self.records]

    def wait(self, count, timeout=5.0):
        until(lambda: len(self.records) >= count, timeout, lambda: "%d of %d came" % (len(self.records), count))
        return self.records
