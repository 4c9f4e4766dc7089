"""Announcements of a process's own events gather while it publishes one after another. The clock is the test's."""

from __future__ import annotations

import pytest

from flask_ssemux.brokers import echoes
from flask_ssemux.brokers.echoes import GATHER_SECONDS, Echoes


@pytest.fixture
def clock(monkeypatch):
    """The time, and what was slept; ``sleep`` moves the time."""

    class Clock:
        now, slept = 100.0, 0.0

        def monotonic(self):
            return self.now

        def sleep(self, seconds):
            self.now += seconds
            self.slept += seconds

    made = Clock()
    monkeypatch.setattr(echoes, "time", made)
    return made


def test_the_thread_waits_for_a_moment_during_a_burst(clock):
    burst = Echoes()
    for _ in range(2):
        burst.note_event()
        clock.now += GATHER_SECONDS / 10
    burst.gather()
    assert clock.slept == GATHER_SECONDS
    burst.gather()  # nothing was published meanwhile
    assert clock.slept == GATHER_SECONDS


@pytest.mark.parametrize("pause", [GATHER_SECONDS, 2 * GATHER_SECONDS])
def test_it_does_not_wait_for_events_that_come_one_by_one(clock, pause):
    paced = Echoes()
    for _ in range(5):
        clock.now += pause
        paced.note_event()
        paced.gather()
    assert not clock.slept
