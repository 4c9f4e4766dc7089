"""Open streams asked again: by the rules as they are now, in a request like the one that opened them."""

from __future__ import annotations

import time

import flask
import pytest
from werkzeug.exceptions import ServiceUnavailable

import flask_ssemux
from flask_ssemux.heart import Heart
from tests.harness.waiting import until
from tests.unit.test_extension import opened

EVERY = 100.0


class World:
    """An application whose answers change; its streams are asked when `later` says that time has passed."""

    def __init__(self, make_app):
        self.users = {"key": "ann"}
        self.may_read = True
        self.before = None
        self.asked = []
        self.contexts = 0
        mux = flask_ssemux.SSEMux()
        mux.identify(self.identify)
        mux.authorize("room:<name>")(self.authorize)
        mux.add_stream("/fixed/<name>", ["room:<name>", "open"], public=True)
        self.app = make_app(mux, SSEMUX_RECHECK=EVERY)
        self.app.before_request(lambda: self.before() if self.before else None)
        self.app.teardown_request(self.torn_down)
        self.process = self.app.extensions["ssemux"].process

    def identify(self):
        self.contexts += 1
        self.asked.append((flask.request.path, flask.request.args.getlist("channel"), flask.request.remote_addr))
        return self.users.get(flask.request.headers.get("X-Key"))

    def authorize(self, user_id, name):
        self.asked.append((user_id, name))
        if isinstance(self.may_read, BaseException):
            raise self.may_read
        return self.may_read

    def torn_down(self, error):
        self.contexts -= 1

    def open(self, url="/events?channel=room:1"):
        return opened(self.app, url, headers={"X-Key": "key"})

    def stream(self):
        (stream,) = self.process.mux.streams()
        return stream

    def later(self, seconds):
        """A look of the heart, that much later; returned from when all that it began is done."""
        recheck = self.process.recheck
        recheck.beat(self.process.heart.clock() + seconds)
        until(lambda: not recheck._is_asking, 5, "it still asks")


@pytest.fixture
def world(make_app):
    return World(make_app)


def test_rules_are_asked_once_at_the_opening_and_once_again_each_time(world):
    with world.open("/events?channel=room:1&channel=room:2") as (response, _):
        assert response.status_code == 200
        first = world.asked
        assert first[1:] == [("ann", "1"), ("ann", "2")]
        world.asked = []
        world.later(EVERY * 0.9)
        assert world.asked == []
        world.later(EVERY * 1.1)
        assert world.asked == first
        assert not world.stream().reason


@pytest.mark.parametrize("url, channels", [("/events", []), ("/fixed/9", ["9"])])
def test_only_channels_that_were_asked_for_are_asked_for_again(world, url, channels):
    with world.open(url):
        world.asked = []
        world.later(EVERY * 1.1)
        assert world.asked[1:] == [("ann", name) for name in channels]
        assert not world.stream().reason


def abort_with(status):
    def abort():
        flask.abort(status)

    return abort


def answer_with(status):
    return lambda: ("", status)


@pytest.mark.parametrize(
    "change, reason",
    [
        ({"users": {}}, "its user is another one now"),
        ({"users": {"key": "bob"}}, "its user is another one now"),
        ({"may_read": False}, "its user may not read it any more"),
        ({"before": abort_with(401)}, "the application answers 401 now"),
        ({"before": answer_with(302)}, "the application answers 302 now"),
    ],
)
def test_a_no_ends_the_stream_and_its_client_is_asked_anew(world, change, reason):
    with world.open() as (_, body):
        next(body)
        vars(world).update(change)
        world.later(EVERY * 1.1)
        assert world.stream().reason == reason
        assert list(body) == []  # at once, without what it has not taken yet


@pytest.mark.parametrize(
    "change",
    [
        {"may_read": RuntimeError("the database is away")},
        {"may_read": ServiceUnavailable()},
        {"before": abort_with(429)},
        {"before": answer_with(503)},
    ],
)
def test_trouble_is_no_no(world, change, caplog):
    with world.open():
        vars(world).update(change)
        for turn in (1, 2):
            world.later(EVERY * 1.1 * turn)
            assert not world.stream().reason
        lines = [line for line in caplog.messages if "could not be asked again" in line]
        assert len(lines) == 1
        world.may_read, world.before = False, None
        world.later(EVERY * 3.3)
        assert world.stream().reason == "its user may not read it any more"


class Timeout(BaseException):
    """As gevent's, which applications set around what may take long."""


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_trouble_of_any_kind_does_not_end_the_asking(world):
    with world.open():
        world.may_read = Timeout()
        world.later(EVERY * 1.1)
        world.may_read = False
        world.later(EVERY * 2.2)
        assert world.stream().reason == "its user may not read it any more"


def test_no_context_is_left_open(world):
    with world.open():
        world.later(EVERY * 1.1)
        world.may_read = RuntimeError("away")
        world.later(EVERY * 2.2)
        assert not flask.has_request_context() and not flask.has_app_context()
        assert world.contexts <= 0


def test_what_has_ended_is_forgotten(world):
    with world.open():
        assert len(world.process.recheck._kept) == 1
    until(lambda: not world.process.recheck._kept, 5, "it is kept")


def test_without_the_option_nothing_is_kept(make_app):
    app = make_app()
    with opened(app):
        assert app.extensions["ssemux"].process.recheck is None


def test_the_heart_asks(make_app, monkeypatch):
    monkeypatch.setattr(Heart, "FINENESS", 800)
    world = World(make_app)
    world.process.recheck._every = 0.2
    with world.open():
        until(lambda: len(world.asked) >= 6, 5, lambda: str(world.asked))


def test_a_stream_that_was_opened_with_a_ticket_is_its_tickets_users(world):
    """Also when the ticket is over: it opened the stream, and who it named is who reads it."""
    world.app.secret_key = "for tests"
    with world.app.app_context():
        ticket = flask_ssemux.ticket("bob", expires=1)
    with opened(world.app, "/events?channel=room:1&ticket=" + ticket):
        time.sleep(1.01)  # the time that it was good for
        world.later(EVERY * 1.1)
        assert world.asked == [("bob", "1")] * 2 and not world.stream().reason
        world.may_read = False
        world.later(EVERY * 2.2)
        assert world.stream().reason == "its user may not read it any more"
