"""Lines that come once a minute, and say how many did not."""

from __future__ import annotations

from flask_ssemux.util.log_throttle import KINDS, LOG_INTERVAL, OTHERS, LogThrottle


def test_once_a_minute_with_how_many_there_were():
    throttle = LogThrottle()
    assert throttle.count("full", 0.0) == ""
    assert [throttle.count("full", now) for now in (0.0, 1.0, LOG_INTERVAL - 0.1)] == [None] * 3
    assert throttle.count("full", LOG_INTERVAL) == " (3 more since the last such line)"
    assert throttle.count("full", LOG_INTERVAL + 1) is None
    assert throttle.count("full", 3 * LOG_INTERVAL) == " (1 more since the last such line)"
    assert throttle.count("full", 5 * LOG_INTERVAL) == ""
    assert throttle.counts == {"full": 8}


def test_each_kind_for_itself():
    throttle = LogThrottle()
    assert [throttle.count(kind, 0.0) for kind in ("full", "stopping", "full")] == ["", "", None]
    assert throttle.counts == {"full": 2, "stopping": 1}


def test_kinds_beyond_the_maximum_are_counted_together():
    throttle = LogThrottle()
    lines = [throttle.count("no such file: %d" % number, 0.0) for number in range(10 * KINDS)]
    assert lines.count("") == KINDS + 1 and len(throttle.counts) == KINDS + 1
    assert throttle.counts[OTHERS] == 9 * KINDS
