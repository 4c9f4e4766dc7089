"""Where a client resumes from: what its cursors mean, and why its missed events may be lost."""

from __future__ import annotations

import pytest

from flask_ssemux.errors import BrokerBehind
from flask_ssemux.hub.resume import NEW_CLIENT, ResetReason, ResumePoint, check_resume_point, parse_last_ids
from flask_ssemux.sse.cursor import Cursor

UNKNOWN = ResumePoint(reset=ResetReason.UNKNOWN)


def at(epoch, sequence):
    return ResumePoint(Cursor(epoch, sequence))


@pytest.mark.parametrize(
    "last_ids, point",
    [
        ([], NEW_CLIENT),
        (["", ""], NEW_CLIENT),
        (["abcd-7"], at("abcd", 7)),
        (["", "abcd-7"], at("abcd", 7)),
        (["abcd-9", "abcd-10"], at("abcd", 10)),
        (["abcd-10", "abcd-9"], at("abcd", 10)),
        (["zzzz-99", "abcd-7"], at("abcd", 7)),
        (["' OR 1=1", "abcd-7"], at("abcd", 7)),
        (["zzzz-99"], at("zzzz", 99)),
        (["junk", "zzzz-99"], at("zzzz", 99)),
        (["zzzz-1", "yyyy-2"], at("zzzz", 1)),
        (["", "junk", "more"], UNKNOWN),
        (["abcd-0"], at("abcd", 0)),
    ],
)
def test_the_newest_cursor_of_a_client_counts(last_ids, point):
    assert parse_last_ids(last_ids, "abcd") == point
    assert point.is_new is (point is NEW_CLIENT)


class Store:
    """A history whose newest event is 10, and whose event 3 is lost although its cursor was given out."""

    def get_newest_cursor(self):
        return Cursor("abcd", 10)

    def has_lost(self, cursor):
        return cursor.sequence == 3


@pytest.mark.parametrize("position", [0, 5, 10], ids=lambda position: "delivered up to %d" % position)
@pytest.mark.parametrize(
    "point, checked",
    [
        (NEW_CLIENT, NEW_CLIENT),
        (UNKNOWN, UNKNOWN),
        (at("abcd", 4), at("abcd", 4)),
        (at("abcd", 10), at("abcd", 10)),
        (at("abcd", 3), ResumePoint(reset=ResetReason.HISTORY)),
        (at("abcd", 11), ResumePoint(reset=ResetReason.FUTURE)),
        (at("zzzz", 4), ResumePoint(reset=ResetReason.EPOCH)),
    ],
)
def test_a_cursor_from_which_nothing_can_be_replayed_has_a_reason(point, checked, position):
    assert check_resume_point(point, Store(), "abcd", position) == checked


@pytest.mark.parametrize("point", [at("zzzz", 4), at("abcd", 4)])
def test_a_worker_that_is_behind_the_store_decides_nothing(point):
    with pytest.raises(BrokerBehind):
        check_resume_point(point, Store(), "zzzz", 0)


def test_the_cursor_of_another_epoch_has_no_sequence_here():
    assert (at("abcd", 4).get_sequence("abcd"), at("abcd", 4).get_sequence("zzzz")) == (4, None)
    assert NEW_CLIENT.get_sequence("abcd") is UNKNOWN.get_sequence("abcd") is None
