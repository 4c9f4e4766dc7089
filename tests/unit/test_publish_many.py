"""Several events in one call: their forms, limits and errors; and that all of them are sent, or none."""

from __future__ import annotations

import logging

import pytest

import flask_ssemux
from flask_ssemux import Publisher
from flask_ssemux.brokers import open_broker
from flask_ssemux.errors import BrokerUnavailable, EventTooLarge, InvalidChannel, InvalidEvent
from flask_ssemux.publishing import several
from flask_ssemux.sse.cursor import Cursor
from flask_ssemux.testing import stream


@pytest.fixture
def mux():
    made = flask_ssemux.SSEMux()
    made.authorize("jobs")(lambda user_id: True)
    made.authorize("jobs:<id>")(lambda user_id, id: True)
    return made


@pytest.fixture
def app(make_app, mux):
    return make_app(mux)


def refusal(error, call, *args, **options):
    with pytest.raises(error) as caught:
        call(*args, **options)
    assert type(caught.value) is error
    return str(caught.value)


def test_each_form_of_an_event(app, mux):
    with stream(app, channels=["jobs"], user=7) as events:
        cursors = mux.publish_many(
            [
                ("jobs", {"n": 1}),
                ["jobs", "two", "progress"],
                {"channel": "jobs", "data": [3], "event": "progress"},
                {"user_id": 7, "data": "four"},
                ("*", "five"),
                {"channel": "jobs", "data": "six", "event": None, "latest": False},
            ]
        )
        seen = events.rest()
    assert [(event.event, event.data) for event in seen] == [
        ("message", '{"n":1}'), ("progress", "two"), ("progress", "[3]"), ("message", "four"), ("message", "five"),
        ("message", "six"),
    ]  # fmt: skip
    assert [event.id for event in seen] == cursors
    numbers = [Cursor.parse(cursor).sequence for cursor in cursors]
    assert numbers == list(range(numbers[0], numbers[0] + 6))


def test_latest_events(app, mux):
    mux.keep_latest("jobs:<id>")
    many = [{"channel": "jobs", "data": "%d" % n, "event": "p", "latest": True} for n in range(3)]
    mux.publish_many(many + [("jobs:1", "x"), ("jobs:1", "y"), ("jobs", "ordinary", "p")])
    with stream(app, channels=["jobs", "jobs:1"]) as events:
        assert [event.data for event in events.rest()] == ["2", "y"]


def test_any_iterable_and_none_at_all(mux, app):
    before = mux.cursor()
    assert mux.publish_many([]) == mux.publish_many(iter(())) == []
    assert mux.cursor() == before
    assert len(mux.publish_many(("jobs", n) for n in range(3))) == 3


def test_they_are_counted_for_the_status(app, mux):
    mux.publish_many([("jobs", n) for n in range(120)])
    assert app.extensions["ssemux"].worker.running().reporter.get_figures()["published"] == 120


# -- errors: nothing is stored -----------------------------------------------

FORMS = (
    "an event of publish_many is (channel, data), (channel, data, event), or a dict with arguments of publish: "
    "{'channel': ..., 'data': ..., 'event': ..., 'latest': ...}, with 'user_id' in place of 'channel' for one user"
)

REFUSED = [
    (InvalidEvent, [("jobs", 1), ("jobs", {1})], "events[1]: data must be text or what JSON can express; data is {1}"),
    (InvalidEvent, [("jobs", 1, "a\nb")], r"events[0]: event 'a\nb' has a line break or NUL in it"),
    (InvalidChannel, [("jobs", 1), ("", 2)], "events[1]: a channel is a text of 1 to 255 characters, not ''"),
    (EventTooLarge, [("jobs", 1), ("jobs", "x" * 300_000)], "events[1]: an event has at most 262144 bytes"),
    (InvalidEvent, [{"user_id": True, "data": 1}], "events[0]: a user's id is a text, an int or a UUID, not True"),
    (InvalidEvent, ["jobs"], "events[0]: " + FORMS + "; not 'jobs'"),
    (InvalidEvent, [("jobs",)], "events[0]: " + FORMS + "; not ('jobs',)"),
    (InvalidEvent, [("jobs", 1, "event", True)], "events[0]: " + FORMS + "; not ('jobs', 1, 'event', True)"),
    (InvalidEvent, [{"channel": "jobs"}], "events[0]: " + FORMS + "; not {'channel': 'jobs'}"),
    (InvalidEvent, [{"data": 1}], "events[0]: " + FORMS + "; not {'data': 1}"),
    (InvalidEvent, [{"channel": "a", "user_id": 1, "data": 1}], "events[0]: " + FORMS),
    (InvalidEvent, [{"channel": "a", "data": 1, "type": "x"}], "events[0]: there is no 'type' in an event: the"),
    (InvalidEvent, [{"channel": "a", "data": 1, "lastest": 1}], "in an event: did you mean latest=?"),
    (InvalidEvent, {"channel": "jobs", "data": 1}, "publish_many takes a list of events, not {'channel': 'jobs'"),
    (InvalidEvent, "jobs", "publish_many takes a list of events, not 'jobs'; an event of"),
    (
        InvalidEvent,
        [("jobs", 1)] * 501,
        "one publish_many takes at most 500 events, not 501; publish them in several calls",
    ),
    (
        EventTooLarge,
        [("jobs", "x" * 250_000)] * 17,
        "the events of one publish_many have at most 4194304 bytes together; these 17 have 4250374; publish them in "
        "several calls",
    ),
]  # fmt: skip


@pytest.mark.parametrize("error, events, message", REFUSED)
def test_what_is_refused_and_why(app, mux, error, events, message):
    before = mux.cursor()
    assert message in refusal(error, mux.publish_many, events)
    assert mux.cursor() == before


def test_a_single_event_of_the_maximum_size_is_taken(make_app, mux):
    make_app(mux, SSEMUX_MAX_EVENT_BYTES=8 * 1024**2, SSEMUX_QUEUE_BYTES=16 * 1024**2)
    mux.publish_many([("jobs", "x" * (several.MAX_BYTES + 1))])


def test_all_are_checked_before_the_store_is_asked(make_app, mux, tmp_path):
    (tmp_path / "file").write_text("x")
    make_app(mux, SSEMUX_BROKER="sqlite:///%s/file/x.sqlite3" % tmp_path)
    refusal(InvalidEvent, mux.publish_many, [("jobs", 1), ("jobs", {1})])
    refusal(BrokerUnavailable, mux.publish_many, [("jobs", 1), ("jobs", 2)])


# -- Publisher, and on commit ------------------------------------------------


@pytest.fixture
def url(tmp_path):
    return "sqlite:///%s" % (tmp_path / "events.sqlite3")


def list_data(url):
    broker = open_broker(url)
    try:
        page = broker.history.read_events(["*", "jobs", "user:7"], 0, 10**17, 1000)
        return [record.body.decode().partition("data: ")[2].strip() for record in page.records]
    finally:
        broker.close()


def test_a_publisher_sends_several(url):
    with Publisher(url, max_event_bytes=100) as publisher:
        assert len(publisher.publish_many([("jobs", 1), {"user_id": 7, "data": 2}, ("*", 3)])) == 3
        refusal(EventTooLarge, publisher.publish_many, [("jobs", 4), ("jobs", "x" * 100)])
    assert list_data(url) == ["1", "2", "3"]


@pytest.fixture
def session():
    sqlalchemy = pytest.importorskip("sqlalchemy", minversion="1.4")
    orm = pytest.importorskip("sqlalchemy.orm")
    engine = sqlalchemy.create_engine("sqlite://")
    with orm.Session(engine) as made:
        yield made
    engine.dispose()


@pytest.mark.parametrize("end, sent", [("commit", ["0", "1", "2", "3"]), ("rollback", [])])
def test_several_wait_for_a_commit(url, session, end, sent):
    with Publisher(url) as publisher:
        publisher.publish_on_commit(session, "jobs", 0)
        publisher.publish_many_on_commit(session, [("jobs", 1), {"user_id": 7, "data": 2}])
        publisher.publish_many_on_commit(session, [])
        refusal(InvalidEvent, publisher.publish_many_on_commit, session, [("jobs", 8), ("jobs", {9})])
        publisher.broadcast_on_commit(session, 3)
        assert list_data(url) == []
        getattr(session, end)()
        assert list_data(url) == sent


def test_several_that_are_lost_after_a_commit_are_logged(session, tmp_path, caplog):
    (tmp_path / "file").write_text("x")
    with Publisher("sqlite:///%s/file/x.sqlite3" % tmp_path) as publisher:
        publisher.publish_many_on_commit(session, [("jobs", 1, "progress"), ("*", 2)])
        publisher.publish_on_commit(session, "chat", 3)
        with caplog.at_level(logging.ERROR, "flask_ssemux"):
            session.commit()
    assert caplog.messages[0].startswith(
        "the transaction is committed, but events were not published: progress on 'jobs', message on '*', message on "
        "'chat' (the SQLite store"
    )
