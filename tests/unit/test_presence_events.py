"""Arrivals and departures as events and signals: where they are published, and what an application may ask for."""

from __future__ import annotations

import random
import time

import flask
import pytest

import flask_ssemux
from flask_ssemux import user_joined, user_left
from flask_ssemux.errors import ApplicationError, InvalidChannel
from flask_ssemux.testing import stream
from tests.harness.waiting import until


@pytest.fixture
def serve(make_app):
    """serve(*patterns, **options of track_presence): an application where everybody may read everything."""

    def make(*patterns, config=None, **options):
        mux = flask_ssemux.SSEMux()
        mux.authorize("<path:any>")(lambda user_id, any: True)
        mux.track_presence(*patterns, **options)
        return make_app(mux, **(config or {}))

    return make


def expect(reader, kind, user, channel="room:1"):
    reader.expect(kind, {"user": user, "channel": channel}, timeout=5)


def test_everyone_in_the_room_learns_who_comes_and_goes(serve):
    app = serve("room:<name>", events=True, grace=0)
    with stream(app, channels=["room:1"], user="ann") as ann, stream(app, channels=["room:2"], user="bob") as other:
        expect(ann, "join", "ann")
        with stream(app, channels=["room:1"], user=7), stream(app, channels=["room:1"], user=7):
            expect(ann, "join", "7")
        expect(ann, "leave", "7")
        expect(other, "join", "bob", "room:2")
        assert ann.rest() == other.rest() == []


def test_anonymous_visitors_neither_come_nor_go(serve):
    app = serve("room:<name>", events=True, grace=0)
    with stream(app, channels=["room:1"], user=None) as visitor, stream(app, channels=["room:1"], user="ann"):
        expect(visitor, "join", "ann")
        assert visitor.rest() == []
        with app.app_context():
            assert flask_ssemux.presence("room:1") == {None: 1, "ann": 1}


def test_the_events_of_a_channel_go_to_another_one(serve):
    app = serve("room:<name>", events="doors:<name>", grace=0)
    with stream(app, channels=["doors:1"], user="guard") as guard:
        with stream(app, channels=["room:1"], user="ann") as ann:
            expect(guard, "join", "ann")
            assert ann.rest() == []
        expect(guard, "leave", "ann")


def test_the_events_of_everyone(serve):
    app = serve("*", events="online", grace=0)
    with stream(app, channels=["online"], user="ann") as ann:
        expect(ann, "join", "ann", "*")
        with stream(app, user="bob"):
            expect(ann, "join", "bob", "*")
        expect(ann, "leave", "bob", "*")


def test_without_events_nobody_is_told(serve):
    app = serve("room:<name>")
    with stream(app, channels=["room:1"], user="ann") as ann, app.app_context():
        until(lambda: flask_ssemux.presence("room:1") == {"ann": 1}, 5, lambda: flask_ssemux.presence("room:1"))
        assert ann.rest() == []
    assert app.extensions["ssemux"].worker.broker.presence.get_roster("room:1") == []


def test_signals(serve):
    app, found = serve("room:<name>", events=True, grace=0), []

    def note_joined(sender, user, channel):
        assert sender is app and flask.current_app == app
        found.append(("joined", user, channel))

    def note_left(sender, user, channel):
        found.append(("left", user, channel))

    with user_joined.connected_to(note_joined, app), user_left.connected_to(note_left, app):
        with stream(app, channels=["room:1"], user="ann"):
            until(lambda: found == [("joined", "ann", "room:1")], 5, lambda: found)
        until(lambda: found[1:] == [("left", "ann", "room:1")], 5, lambda: found)


def test_a_user_who_is_away_for_a_moment_is_present_with_no_stream(serve):
    """A page that asks now learns of a leave, and of no join: it must know of this user."""
    app = serve("room:<name>", events=True, grace=3600)
    with app.app_context():
        with stream(app, channels=["room:1"], user="ann") as ann:
            expect(ann, "join", "ann")
            assert flask_ssemux.presence("room:1") == {"ann": 1}
        until(lambda: flask_ssemux.presence("room:1") == {"ann": 0}, 5, lambda: flask_ssemux.presence("room:1"))
        with stream(app, channels=["room:1"], user="ann") as ann:
            until(lambda: flask_ssemux.presence("room:1") == {"ann": 1}, 5, lambda: flask_ssemux.presence("room:1"))
            assert ann.rest() == []


def test_a_change_that_cannot_be_published_is_logged_and_the_others_are_published(serve, caplog):
    app = serve("room:<name>", events="doors-of-a-very-long-name:<name>", grace=0)
    name = "x" * 240
    with stream(app, channels=["doors-of-a-very-long-name:1"], user="guard") as guard:
        with stream(app, channels=["room:" + name, "room:1"], user="ann"):
            expect(guard, "join", "ann")
        expect(guard, "leave", "ann")
    assert "a join of the user 'ann' cannot be published" in caplog.text


def test_an_event_that_is_too_large_does_not_keep_others_back(serve, caplog):
    app = serve("room:<name>", events=True, grace=0, config={"SSEMUX_MAX_EVENT_BYTES": 120})
    with stream(app, channels=["room:1"], user="ann") as ann, stream(app, channels=["room:1"], user="x" * 100):
        expect(ann, "join", "ann")
        until(lambda: "SSEMUX_MAX_EVENT_BYTES" in caplog.text, 5, "the event that is too large was not logged")


def apply_events(reader):
    """Return who is there, as a page knows it that does what docs/presence.md says."""
    people = None
    for event in reader.events:
        if event.event == "people":
            people = set(event.json)
        elif event.event == "join":
            people.add(event.json["user"])
        elif event.event == "leave":
            people.discard(event.json["user"])
    return people


@pytest.mark.parametrize("seed", range(3))
def test_a_page_that_opens_at_any_moment_knows_who_is_there(make_app, seed):
    chance, mux = random.Random(seed), flask_ssemux.SSEMux()
    mux.authorize("room:<name>")(lambda user_id, name: True)
    mux.track_presence("room:<name>", events=True, grace=0)

    @mux.snapshot("room:<name>")
    def people(name):
        yield "people", [user for user in flask_ssemux.presence("room:" + name) if user is not None]

    app, readers = make_app(mux), []
    streams = {str(number): [] for number in range(4)}
    for step in range(80):
        user = chance.choice(list(streams))
        if streams[user] and chance.random() < 0.6:
            streams[user].pop().close()
        else:
            streams[user].append(stream(app, channels=["room:1"], user=user))
        if step % 8 == 0:
            readers.append(stream(app, channels=["room:1"], user=None))
        time.sleep(chance.random() * 0.02)
    there = {user for user, opened in streams.items() if opened}
    for reader in readers:
        until(lambda reader=reader: apply_events(reader) == there, 5, lambda reader=reader: (there, reader.events))


# -- what cannot be asked for --------------------------------------------------------


@pytest.mark.parametrize(
    "patterns, options, message",
    [
        (
            ["*"],
            {"events": True},
            "track_presence('*', events=True) would tell every visitor who comes and goes; name a channel whose rule "
            "says who may know, as in track_presence('*', events='online')",
        ),
        (
            ["room:<name>"],
            {"events": "doors:<room>"},
            "track_presence('room:<name>', events='doors:<room>'): 'room:<name>' has no variable <room>",
        ),
        (["room:<name>"], {"events": True, "grace": -1}, "grace=-1: must be seconds from 0 to 3600"),
        (["room:<name>"], {"events": True, "grace": "5"}, "grace='5': must be seconds from 0 to 3600"),
    ],
)
def test_what_is_refused(serve, patterns, options, message):
    with pytest.raises(ApplicationError) as error:
        serve(*patterns, **options)
    assert str(error.value) == message


def test_the_channel_of_the_events_is_one_that_clients_may_name(serve):
    with pytest.raises(InvalidChannel):
        serve("room:<name>", events="user:<name>")


def test_a_pattern_is_tracked_in_one_way():
    mux = flask_ssemux.SSEMux()
    for _ in range(2):
        mux.track_presence("room:<name>", events=True)
    with pytest.raises(ApplicationError) as error:
        mux.track_presence("room:<name>", events="doors", grace=5)
    assert str(error.value) == (
        "track_presence('room:<name>') was called before with events=True, grace=10, and now with events='doors', "
        "grace=5; call it once for each pattern"
    )
