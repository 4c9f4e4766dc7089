"""Open streams are reauthorized: by the present answers of the rules, in a request like the one that opened them."""

from __future__ import annotations

import threading
import time
from contextlib import ExitStack
from itertools import zip_longest

import flask
import pytest
from werkzeug.exceptions import ServiceUnavailable

import flask_ssemux
from flask_ssemux.access.reauthorize import MAX_RUNNING
from flask_ssemux.worker.timer import Timer
from tests.harness.waiting import until
from tests.unit.test_extension import opened

EVERY = 100.0


class World:
    """An application whose answers change. Its streams are checked when `later` is called."""

    def __init__(self, make_app, **config):
        self.users = {"key": "ann"}
        self.may_read = True
        self.before = None
        self.needs_before = False
        self.befores = self.afters = 0
        self.asked = []
        self.contexts = 0
        mux = flask_ssemux.SSEMux()
        mux.identify(self.identify)
        mux.authorize("room:<name>")(self.authorize)
        mux.add_stream("/fixed/<name>", ["room:<name>", "open"], public=True)
        self.app = make_app(mux, SSEMUX_RECHECK=EVERY, **config)
        self.app.before_request(self.run_before)
        self.app.after_request(self.run_after)
        self.app.teardown_request(self.torn_down)
        self.process = self.app.extensions["ssemux"].worker

    def run_before(self):
        self.befores += 1
        flask.g.is_prepared = True
        return self.before() if self.before else None

    def run_after(self, response):
        self.afters += 1
        return response

    def identify(self):
        self.contexts += 1
        if self.needs_before == "raises":
            assert flask.g.is_prepared
        elif self.needs_before and not flask.g.get("is_prepared"):
            return None
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
        (stream,) = self.process.running().hub.list_streams()
        return stream

    def later(self, seconds):
        """Let the timer call the reauthorizer as if so many seconds had passed, and wait for the checks that this
        starts.
        """
        recheck = self.process.running().reauthorizer
        recheck.run_due_work(self.process.running().timer.clock() + seconds)
        until(lambda: not recheck.is_checking, 5, "it still asks")


@pytest.fixture
def world(make_app):
    return World(make_app)


def test_rules_are_asked_once_at_the_opening_and_once_at_each_check(world):
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
def test_only_rules_that_were_asked_at_the_opening_are_asked_again(world, url, channels):
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
        ({"before": abort_with(401), "needs_before": "raises"}, "the application answers 401 now"),
        ({"before": answer_with(302), "needs_before": "is anonymous"}, "the application answers 302 now"),
    ],
)
def test_a_denial_ends_the_stream_and_its_client_is_authorized_anew(world, change, reason):
    with world.open() as (_, body):
        next(body)
        vars(world).update(change)
        world.later(EVERY * 1.1)
        assert world.stream().reason == reason
        assert list(body) == []  # it ends at once, and what was queued is dropped


@pytest.mark.parametrize(
    "change",
    [
        {"may_read": RuntimeError("the database is away")},
        {"may_read": ServiceUnavailable()},
        {"before": abort_with(429), "needs_before": "raises"},
        {"before": answer_with(503), "needs_before": "is anonymous"},
    ],
)
def test_an_error_is_not_a_denial(world, change, caplog):
    with world.open():
        vars(world).update(change)
        for turn in (1, 2):
            world.later(EVERY * 1.1 * turn)
            assert not world.stream().reason
        lines = [line for line in caplog.messages if "could not be reauthorized" in line]
        assert len(lines) == 1
        world.may_read, world.before, world.needs_before = False, None, False
        world.later(EVERY * 3.3)
        assert world.stream().reason == "its user may not read it any more"


class Timeout(BaseException):
    """Like gevent's timeout, which applications use to limit calls that may take long."""


FAILED = "the application did not say whether its user may still read it"


@pytest.mark.parametrize("error", [RuntimeError("away"), Timeout(), SystemExit(1), ServiceUnavailable()])
def test_three_errors_of_any_kind_in_a_row_end_a_stream(world, error, caplog):
    with world.open():
        world.may_read = error
        for turn in (1, 2):
            world.later(EVERY * 1.1 * turn)
            assert not world.stream().reason
        world.may_read = True
        world.later(EVERY * 3.3)
        world.may_read = error
        for turn in (4, 5, 6):
            assert not world.stream().reason
            world.later(EVERY * 1.1 * turn)
        assert world.stream().reason == FAILED
        assert world.process.running().reauthorizer.failed == 5
        assert any("could not be reauthorized 3 times in a row" in line for line in caplog.messages)


@pytest.mark.parametrize("change", [{}, {"users": {}}, {"may_read": False}])
def test_hit_counters_and_limits_are_not_used_up(world, change):
    """Functions before a request run only if the stream would end otherwise, and functions after one never run."""
    with world.open() as (_, body):
        next(body)
        world.befores = world.afters = 0
        world.later(EVERY * 1.1)
        world.later(EVERY * 2.2)
        assert (world.befores, world.afters) == (0, 0)
        vars(world).update(change)
        world.later(EVERY * 3.3)
        assert (world.befores, world.afters) == (1 if change else 0, 0)
        assert bool(world.stream().reason) == bool(change)


@pytest.mark.parametrize("how", ["raises", "is anonymous"])
def test_an_application_that_finds_its_user_before_the_request(world, how, caplog):
    world.needs_before = how
    with world.open() as (_, body):
        next(body)
        world.befores, world.asked = 0, []
        for turn in (1, 2, 3, 4):
            world.later(EVERY * 1.1 * turn)
        assert not world.stream().reason and not caplog.messages
        assert world.befores == 4
        assert world.asked.count(("ann", "1")) == 4
        assert world.asked[0] == world.asked[2] and len(world.asked) == 8, "later checks are made in the right way"
        world.users = {"key": "bob"}
        world.later(EVERY * 5.5)
        assert world.stream().reason == "its user is another one now"


def test_a_clear_denial_counts_even_if_the_request_cannot_be_rebuilt_completely(world):
    """An object of a WSGI middleware is missing in a rebuilt request, so a function before the request fails."""

    def need_object():
        assert "app.session" in flask.request.environ

    with world.open() as (_, body):
        next(body)
        world.before = need_object
        world.later(EVERY * 1.1)
        assert not world.stream().reason
        world.may_read = False
        world.later(EVERY * 2.2)
        assert world.stream().reason == "its user may not read it any more"


def test_a_user_that_cannot_be_found_again_keeps_no_stream(world):
    def identify():
        return flask.request.environ["app.session"].user

    with world.open() as (_, body):
        next(body)
        world.app.extensions["ssemux"].rules.identify = identify
        for turn in (1, 2, 3):
            assert not world.stream().reason
            world.later(EVERY * 1.1 * turn)
        assert world.stream().reason == FAILED


def test_a_teardown_function_that_fails_ends_no_stream(world, caplog):
    with world.open() as (_, body):
        next(body)
        world.app.teardown_request_funcs.setdefault(None, []).append(lambda error: flask.g.began)
        for turn in (1, 2, 3, 4):
            world.later(EVERY * 1.1 * turn)
        assert not world.stream().reason and world.process.running().reauthorizer.failed == 0
        assert sum("a teardown function failed" in line for line in caplog.messages) == 1


def test_the_application_can_recognize_a_check(world):
    seen = []
    world.before = lambda: seen.append(flask.request.environ.get("flask_ssemux.recheck"))
    world.needs_before = "raises"
    with world.open() as (_, body):
        next(body)
        world.later(EVERY * 1.1)
        assert seen == [None, True]


# -- rules that hang -------------------------------------------------------------


@pytest.fixture
def hanging(make_app, monkeypatch):
    """A world in which the rule hangs for some rooms until the test ends. Checks are abandoned after 0.1 s."""
    monkeypatch.setattr(Timer, "FINENESS", 800)
    made, over = World(make_app, SSEMUX_MAX_STREAMS_PER_USER=100), threading.Event()
    made.hangs = ()

    def authorize(user_id, name):
        if name in made.hangs:
            over.wait(20)
        return made.authorize(user_id, name)

    rules = made.app.extensions["ssemux"].rules
    rules.authorize[0] = rules.authorize[0]._replace(function=authorize)
    made.process.running().reauthorizer._interval = 1.0
    yield made
    over.set()


@pytest.mark.parametrize("hang", [30])
def test_a_rule_that_hangs_does_not_stop_the_checks_of_others(hanging, hang):
    """All streams have the same rule. Those whose checks hang are ended, and at most MAX_RUNNING threads hang."""
    good = ["good %d" % number for number in range(10)]
    bad = ["bad %d" % number for number in range(hang)]
    with ExitStack() as streams:
        for pair in zip_longest(bad, good):
            for name in filter(None, pair):
                streams.enter_context(hanging.open("/events?channel=room:" + name))
        hanging.hangs, hanging.asked = bad, []
        began = time.monotonic()
        until(lambda: all(("ann", name) in hanging.asked for name in good), 2 + 1.5, lambda: str(hanging.asked))
        others = time.monotonic() - began
        mux = hanging.process.running().hub
        until(
            lambda: sum(stream.reason is None for stream in mux.list_streams()) == len(good), 6, "those that hang go on"
        )
        print("all others after %.1f s, the last end after %.1f s" % (others, time.monotonic() - began))
        assert sum(thread.name == "ssemux-recheck" for thread in threading.enumerate()) <= MAX_RUNNING + 2


def test_no_context_is_left_open(world):
    with world.open():
        world.later(EVERY * 1.1)
        world.may_read = RuntimeError("away")
        world.later(EVERY * 2.2)
        assert not flask.has_request_context() and not flask.has_app_context()
        assert world.contexts <= 0


def test_streams_that_have_ended_are_forgotten(world):
    with world.open():
        assert len(world.process.running().reauthorizer._states) == 1
    until(lambda: not world.process.running().reauthorizer._states, 5, "it is kept")


def test_without_the_option_nothing_is_kept(make_app):
    app = make_app()
    with opened(app):
        assert app.extensions["ssemux"].worker.running().reauthorizer is None


def test_the_timer_starts_the_checks(make_app, monkeypatch):
    monkeypatch.setattr(Timer, "FINENESS", 800)
    world = World(make_app)
    world.process.running().reauthorizer._interval = 0.2
    with world.open():
        until(lambda: len(world.asked) >= 6, 5, lambda: str(world.asked))


def test_a_stream_that_was_opened_with_a_ticket_belongs_to_the_tickets_user(world):
    """Also when the ticket has expired: it opened the stream, so its user is the stream's user."""
    world.app.secret_key = "for tests"
    with world.app.app_context():
        ticket = flask_ssemux.ticket("bob", expires=1)
    with opened(world.app, "/events?channel=room:1&ticket=" + ticket):
        time.sleep(1.01)  # until the ticket has expired
        world.later(EVERY * 1.1)
        assert world.asked == [("bob", "1")] * 2 and not world.stream().reason
        world.may_read = False
        world.later(EVERY * 2.2)
        assert world.stream().reason == "its user may not read it any more"
