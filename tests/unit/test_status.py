"""Totals over workers, and a line for each."""

from __future__ import annotations

import pytest

from flask_ssemux import status
from flask_ssemux.brokers import Report

FIRST = {
    "pid": 7, "host": "a", "started": 1000.0, "streams": 3, "handed_over": 2, "delivered": 50, "refused": 1, "late": 0
}  # fmt: skip
NOTHING = {"streams": 0, "handed_over": 0, "delivered": 0, "refused": 0, "late": 0, "longest_late": 0}
SECOND = {**FIRST, "pid": 8, "streams": 4, "late": 2, "longest_late": 3.25}


@pytest.mark.parametrize(
    "figures, expected",
    [
        ([], dict(NOTHING, workers=0)),
        (
            [FIRST, SECOND],
            {
                "workers": 2, "streams": 7, "handed_over": 4, "delivered": 100, "refused": 2, "late": 2,
                "longest_late": 3.25,
            },
        ),
        ([{}], dict(NOTHING, workers=1)),
    ],
)
def test_totals(figures, expected):
    assert status.totals([Report("x", 0.0, each) for each in figures]) == expected


@pytest.mark.parametrize(
    "figures, expected",
    [
        (FIRST, "7 on a, streams 3, handed over 2, delivered 50, refused 1, late 0, up 100 s, heard of 4 s ago"),
        (
            SECOND,
            "8 on a, streams 4, handed over 2, delivered 50, refused 1, late 2 (up to 3.25 s), up 100 s, "
            "heard of 4 s ago",
        ),
        ({}, "? on ?, streams 0, handed over 0, delivered 0, refused 0, late 0, heard of 4 s ago"),
    ],
)
def test_a_line(figures, expected, monkeypatch):
    monkeypatch.setattr("time.time", lambda: 1100.5)
    assert status.line(Report("x", 4.2, figures)) == expected
