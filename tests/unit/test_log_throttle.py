"""Lines that come once a minute, and say how many did not."""

from __future__ import annotations

from flask_ssemux.util.log_throttle import NAMES, OTHERS, QUIET, LogThrottle


def test_once_a_minute_with_how_many_there_were():
    quiet = LogThrottle()
    assert quiet.count("full", 0.0) == ""
    assert [quiet.count("full", now) for now in (0.0, 1.0, QUIET - 0.1)] == [None] * 3
    assert quiet.count("full", QUIET) == " (3 more since the last such line)"
    assert quiet.count("full", QUIET + 1) is None
    assert quiet.count("full", 3 * QUIET) == " (1 more since the last such line)"
    assert quiet.count("full", 5 * QUIET) == ""
    assert quiet.counts == {"full": 8}


def test_each_thing_for_itself():
    quiet = LogThrottle()
    assert [quiet.count(what, 0.0) for what in ("full", "stopping", "full")] == ["", "", None]
    assert quiet.counts == {"full": 2, "stopping": 1}


def test_what_has_too_many_names_is_counted_together():
    quiet = LogThrottle()
    lines = [quiet.count("no such file: %d" % number, 0.0) for number in range(10 * NAMES)]
    assert lines.count("") == NAMES + 1 and len(quiet.counts) == NAMES + 1
    assert quiet.counts[OTHERS] == 9 * NAMES
