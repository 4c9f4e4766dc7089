"""How many feeds a worker runs, and what happens to a feed that finds no room or that the system cannot start."""

from __future__ import annotations

import os
import threading

import pytest

import flask_ssemux
from flask_ssemux import testing
from flask_ssemux.runs import feeds as feeds_module
from tests.harness.waiting import until


@pytest.fixture
def started():
    """The symbols whose generators were started."""
    return []


@pytest.fixture
def mux(started):
    made = flask_ssemux.SSEMux()
    made.authorize("prices:<symbol>")(lambda user, symbol: True)

    @made.feed("prices:<symbol>", linger=0)
    def prices(symbol):
        started.append(symbol)
        yield symbol
        while True:
            yield None
            threading.Event().wait(0.005)

    return made


def get_figures(app):
    return app.extensions["ssemux"].worker.running().feeds.get_figures()


def list_running(app):
    return sorted(get_figures(app)["feeds"])


def test_a_worker_runs_so_many_feeds_and_starts_another_when_one_ends(make_app, mux, started, caplog):
    app = make_app(mux, SSEMUX_MAX_FEEDS=2)
    with testing.stream(app, channels=["prices:c"]) as third:
        third.next(timeout=10)
        with testing.stream(app, channels=["prices:a"]) as first:
            first.next(timeout=10)
            with testing.stream(app, channels=["prices:b", "prices:d"]) as second:
                until(lambda: get_figures(app)["feeds_waiting"] == 2, 10, "it is not counted")
                assert list_running(app) == ["prices:a", "prices:c"] and started == ["c", "a"]
                first.close()
                assert second.next(timeout=10).data in "bd"
                assert len(list_running(app)) == 2 and get_figures(app)["feeds_waiting"] == 1
        until(lambda: get_figures(app)["feeds_waiting"] == 0, 10, "one waits that nobody reads")
    (record,) = [record for record in caplog.records if "SSEMUX_MAX_FEEDS" in record.getMessage()]
    assert record.getMessage() == (
        "the feed 'prices:b' is left to other workers, or waits: this worker runs 2 feeds, as many as SSEMUX_MAX_FEEDS "
        "allows; raise the option, or refuse channels that nobody needs in their rule"
    )


def test_a_feed_that_finds_no_room_runs_in_another_worker_that_has_readers(make_app, mux, started):
    rules = mux._rules.feeds._rules
    rules[0] = rules[0]._replace(linger=2)
    url = "sqlite:///%s" % os.path.join(make_app(mux, "other").instance_path, "shared.sqlite3")
    shared = {"SSEMUX_BROKER": url, "SSEMUX_NAMESPACE": "both", "SSEMUX_MAX_FEEDS": 1}
    full, free = (make_app(mux, name, **shared) for name in ("full", "free"))
    with testing.stream(full, channels=["prices:a"]), testing.stream(full, channels=["prices:b"]) as waiting:
        until(lambda: get_figures(full)["feeds_waiting"] == 1, 10, "it is not counted")
        with testing.stream(free, channels=["prices:b"]):
            assert waiting.next(timeout=10).data == "b" and list_running(free) == ["prices:b"]
            until(lambda: get_figures(full)["feeds_waiting"] == 0, 10, "it runs, and is still counted")
        keeper = free.extensions["ssemux"].worker.work_parts.keeper
        turn = keeper._next_turn
        until(lambda: keeper._next_turn > turn + 4.0, 20, "the keeper does not go on")  # longer than the feed lingers
        assert list_running(free) == ["prices:b"]  # the first worker's reader wants it, although it finds no room there
    assert started == ["a", "b"]


def test_the_store_is_asked_for_so_many_feeds_that_wait_and_for_others_each_time(make_app, mux):
    app = make_app(mux, SSEMUX_MAX_FEEDS=2)
    with testing.stream(app, channels=["prices:a", "prices:b", *("prices:%d" % it for it in range(5))]) as stream:
        until(lambda: len(list_running(app)) == 2 and get_figures(app)["feeds_waiting"] == 5, 10, "they do not run")
        feeds = app.extensions["ssemux"].worker.running().feeds
        keeper = app.extensions["ssemux"].worker.work_parts.keeper
        keeper._loop._turn = lambda: None  # the test is the keeper now
        assert sorted(feeds.list_wants()) == ["feed:prices:a", "feed:prices:b"]
        watched = [feeds.list_watches() for _ in range(3)]
        assert [len(it) for it in watched] == [2, 2, 2] and len({name for it in watched for name in it}) == 5
        stream.close()
    until(lambda: not feeds.list_wants() and not feeds.list_watches(), 10, "it waits without readers")


@pytest.mark.parametrize("fails", ["thread", "store"])
def test_a_feed_that_could_not_be_taken_is_taken_later(make_app, mux, started, monkeypatch, caplog, fails):
    app = make_app(mux)
    work = app.extensions["ssemux"].worker.broker.work

    def fail(*_):
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patched:
        place = (feeds_module, "run_in_background") if fails == "thread" else (work, "take_work")
        patched.setattr(*place, fail)
        stream = testing.stream(app, channels=["prices:a"])
        until(lambda: "can't start new thread" in caplog.text, 10, "it was not tried")
    with stream:
        assert stream.next(timeout=10).data == "a" and started == ["a"]
