"""Totals over workers, a line for each worker, and all figures for programs."""

from __future__ import annotations

import pytest

from flask_ssemux.brokers import WorkerReport
from flask_ssemux.options import Options
from flask_ssemux.status import totals as status
from flask_ssemux.worker import distinct
from flask_ssemux.worker.stream_stats import BOUNDS

FIRST = {
    "pid": 7, "host": "a", "started": 1000.0, "streams": 3, "handed_over": 2, "delivered": 50, "refused": 1, "late": 0
}  # fmt: skip
NOTHING = {"streams": 0, "handed_over": 0, "delivered": 0, "refused": 0, "late": 0, "longest_late": 0}
SECOND = {**FIRST, "pid": 8, "streams": 4, "late": 2, "longest_late": 3.25}
SILENCE = list(range(len(BOUNDS) + 1))


def reports(*figures):
    return [WorkerReport("x%d" % number, 0.0, each) for number, each in enumerate(figures)]


def sketched(**names):
    return {"sketches": {kind: distinct.make_sketch(list(some)) for kind, some in names.items()}}


@pytest.mark.parametrize(
    "figures, expected",
    [
        ([], dict(NOTHING, workers=0)),
        (
            [FIRST, SECOND],
            {
                "workers": 2,
                "streams": 7,
                "handed_over": 4,
                "delivered": 100,
                "refused": 2,
                "late": 2,
                "longest_late": 3.25,
            },
        ),
        ([{}], dict(NOTHING, workers=1)),
    ],
)
def test_totals(figures, expected):
    made = status.compute_totals(reports(*figures))
    assert {name: made[name] for name in expected} == expected
    assert made["silence"] == [0] * (len(BOUNDS) + 1)
    assert (made["users"], made["users_exact"], made["channels"]) == (0, True, 0)


def test_totals_of_counters():
    first = {"published": 5, "queued": 3, "queued_bytes": 30, "deepest": 2, "silence": SILENCE, "longest_silence": 1.5}
    second = {**first, "published": 1, "deepest": 9, "longest_silence": 2.5, "silence_sum": 4.0}
    made = status.compute_totals(reports(first, second, {"silence": [1, 2]}))  # the last one counts with other bounds
    assert (made["published"], made["queued"], made["queued_bytes"], made["deepest"]) == (6, 6, 60, 9)
    assert (made["longest_silence"], made["silence_sum"]) == (2.5, 4.0)
    assert made["silence"] == [2 * number for number in SILENCE]


def test_a_user_at_two_workers_is_one_user():
    first, second = sketched(users="abc", channels="x"), sketched(users="bcd", channels="yz")
    made = status.compute_totals(reports({"users": 3, **first}, {"users": 3, **second}, {}))
    assert (made["users"], made["users_exact"], made["channels"], made["channels_exact"]) == (4, True, 3, True)


def test_the_count_of_one_worker_is_exact():
    many = [str(number) for number in range(5000)]
    made = status.compute_totals(reports({"users": 5000, **sketched(users=many)}))
    assert (made["users"], made["users_exact"]) == (5000, True)


@pytest.mark.parametrize("figure, expected", [(3, 3), ({"user": 2, "worker": 3}, 5), ({}, 0), (None, 0)])
def test_a_figure_may_be_shown_by_kind(figure, expected):
    assert status.as_number(figure) == expected
    assert status.compute_totals(reports({"refused": figure}, {"refused": 1}))["refused"] == expected + 1


@pytest.mark.parametrize(
    "figures, expected",
    [
        (FIRST, "7 on a, streams 3, handed over 2, delivered 50, refused 1, late 0, up 100 s, last report 4 s ago"),
        (
            SECOND,
            "8 on a, streams 4, handed over 2, delivered 50, refused 1, late 2 (up to 3.25 s), up 100 s, "
            "last report 4 s ago",
        ),
        ({}, "? on ?, streams 0, handed over 0, delivered 0, refused 0, late 0, last report 4 s ago"),
    ],
)
def test_a_line(figures, expected, monkeypatch):
    monkeypatch.setattr("time.time", lambda: 1100.5)
    assert status.format_worker(WorkerReport("x", 4.2, figures)) == expected


def test_the_whole_status():
    figures = {**FIRST, "name": "7-abc", "past": [[1, 2, 3]], **sketched(users="a")}
    broker = {"is_reachable": True, "cursor": "abcd1234-17"}
    shown = status.build_status(reports(figures), broker, Options(heartbeat=5.0), past=False)
    assert shown["workers"] == [{"age": 0.0, "name": "7-abc", **FIRST}]
    assert (shown["totals"]["events"], shown["totals"]["streams"]) == (17, 3)
    assert (shown["broker"], shown["heartbeat"], shown["client_timeout"]) == (broker, 5.0, 120.0)
    assert status.build_status(reports(figures), broker, Options(), past=True)["workers"][0]["past"] == [[1, 2, 3]]


def test_the_whole_status_without_a_broker():
    shown = status.build_status(reports({}), {"is_reachable": False, "trouble": "away"}, Options(), past=True)
    assert shown["totals"]["events"] is None
    assert shown["workers"] == [{"name": "x0", "age": 0.0}]
