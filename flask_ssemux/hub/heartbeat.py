"""When a stream's next heartbeat is sent, so that heartbeats are spread evenly over the interval.

Streams that received the same event, or were opened at the same moment, would otherwise send their heartbeats at the
same moment from then on. Pure functions of time; no stream and no timer.
"""

from __future__ import annotations

import random

#: The shortest silence that a heartbeat may end, as a fraction of the interval. It is less than half of ``PERIOD``, so
#: that a stream needs at most one heartbeat between its first one and the one at its own time.
EARLIEST = 0.4

#: The time from one heartbeat to the next, as a fraction of the interval. It is less than 1 by two ticks of the timer,
#: so that the width of a tick never makes a heartbeat late.
PERIOD = 0.975

# Fibonacci hashing: 2**64 divided by the golden ratio scatters neighbouring numbers (Knuth, TAOCP 3, 6.4).
_GOLDEN, _64_BITS = 0x9E3779B97F4A7C15, (1 << 64) - 1


def is_due(now: float, sent_at: float, interval: float) -> bool:
    """Return whether the silence is long enough for a heartbeat."""
    return now >= sent_at + interval * EARLIEST


def choose_check_time(sent_at: float, interval: float) -> float:
    """Return a random time, at which a silence that began at ``sent_at`` may be ended."""
    return sent_at + interval * random.uniform(EARLIEST, 1.0)


def find_next_time(key: int, now: float, interval: float) -> float:
    """Return the latest time at which the next heartbeat can be sent without exceeding the interval.

    Each stream has a fixed time of its own within a period, which follows from its key.

    :param key: differs between streams, such as the object's ``id``, which spreads streams as a random number would,
        but need not be stored.
    :param now: when the last heartbeat was sent.
    """
    period = interval * PERIOD
    own = (key * _GOLDEN & _64_BITS) / _64_BITS * period
    return max(now + period - (now - own) % period, now + interval * EARLIEST)
