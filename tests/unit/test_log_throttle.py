"""Log lines that appear once a minute, with the number of suppressed ones."""

from __future__ import annotations

from flask_ssemux.util.log_throttle import KINDS, LOG_INTERVAL, OTHERS, LogThrottle


def test_a_line_appears_once_a_minute_with_the_number_of_all():
    throttle = LogThrottle()
    assert throttle.count("full", 0.0) == ""
    assert [throttle.count("full", now) for now in (0.0, 1.0, LOG_INTERVAL - 0.1)] == [None] * 3
    assert throttle.count("full", LOG_INTERVAL) == " (3 more since the last such line)"
    assert throttle.count("full", LOG_INTERVAL + 1) is None
    assert throttle.count("full", 3 * LOG_INTERVAL) == " (1 more since the last such line)"
    assert throttle.count("full", 5 * LOG_INTERVAL) == ""
    assert throttle.counts == {"full": 8}


def test_each_kind_is_throttled_separately():
    throttle = LogThrottle()
    assert [throttle.count(kind, 0.0) for kind in ("full", "stopping", "full")] == ["", "", None]
    assert throttle.counts == {"full": 2, "stopping": 1}


def test_kinds_beyond_the_maximum_are_counted_together():
    throttle = LogThrottle()
    lines = [throttle.count("no such file: %d" % number, 0.0) for number in range(10 * KINDS)]
    assert lines.count("") == KINDS + 1 and len(throttle.counts) == KINDS + 1
    assert throttle.counts[OTHERS] == 9 * KINDS
