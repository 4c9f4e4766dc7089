"""Publishing that must not disturb its caller: errors are logged, not raised; and what is still raised."""

from __future__ import annotations

import logging

import pytest

import flask_ssemux
from flask_ssemux import Publisher
from flask_ssemux.errors import ApplicationError, BrokerUnavailable, ConfigurationError, InvalidEvent
from flask_ssemux.publishing import best_effort
from flask_ssemux.util.log_throttle import LogThrottle


@pytest.fixture(autouse=True)
def logged(monkeypatch, caplog):
    """logged(): the lines since the test began, of errors of this package."""
    monkeypatch.setattr(best_effort, "_throttle", LogThrottle())
    caplog.set_level(logging.ERROR, "flask_ssemux")
    return lambda: [record.getMessage() for record in caplog.records if record.name == "flask_ssemux"]


@pytest.fixture
def broken_url(tmp_path):
    """A store that is never available."""
    (tmp_path / "file").write_text("x")
    return "sqlite:///%s/file/x.sqlite3" % tmp_path


@pytest.fixture
def mux(make_app, broken_url):
    made = flask_ssemux.SSEMux()
    make_app(made, SSEMUX_BROKER=broken_url)
    return made


CALLS = [
    (lambda it, **how: it.publish("jobs", 1, "progress", **how), "progress on 'jobs'"),
    (lambda it, **how: it.publish("jobs", 1, latest=True, **how), "message on 'jobs'"),
    (lambda it, **how: it.send_to_user(7, 1, "notice", **how), "notice on 'user:7'"),
    (lambda it, **how: it.broadcast(1, "deploy", **how), "deploy on '*'"),
    (lambda it, **how: it.publish_many([("a", 1, "x"), ("b", 2)], **how), "x on 'a', message on 'b'"),
]


@pytest.mark.parametrize("call, described", CALLS)
def test_an_event_that_the_store_does_not_accept_is_logged(mux, broken_url, logged, call, described):
    assert call(mux, on_error="log") is None
    (line,) = logged()
    path = broken_url[len("sqlite:///") :]
    assert line.startswith("not published: %s: the SQLite store %s: " % (described, path))
    with pytest.raises(BrokerUnavailable):
        call(mux)
    with pytest.raises(BrokerUnavailable):
        call(mux, on_error="raise")
    assert len(logged()) == 1


@pytest.mark.parametrize("call, described", CALLS)
def test_the_option_is_the_default_and_the_argument_overrides_it(make_app, broken_url, logged, call, described):
    mux = flask_ssemux.SSEMux()
    app = make_app(mux, SSEMUX_BROKER=broken_url, SSEMUX_ON_ERROR="log")
    with app.app_context():
        assert call(flask_ssemux) is None
        with pytest.raises(BrokerUnavailable):
            call(flask_ssemux, on_error="raise")
    assert len(logged()) == 1


def test_a_publisher_has_the_same_default(broken_url, logged, monkeypatch):
    with Publisher(broken_url, on_error="log") as publisher:
        assert publisher.publish("jobs", 1) is None
        with pytest.raises(BrokerUnavailable):
            publisher.publish("jobs", 1, on_error="raise")
    monkeypatch.setenv("SSEMUX_ON_ERROR", "log")
    with Publisher(broken_url) as publisher:
        assert publisher.broadcast(1) is None
    with Publisher(broken_url, on_error="raise") as publisher, pytest.raises(BrokerUnavailable):
        publisher.broadcast(1)
    monkeypatch.setenv("SSEMUX_ON_ERROR", "perhaps")
    with pytest.raises(ConfigurationError, match="SSEMUX_ON_ERROR='perhaps': must be one of raise, log"):
        Publisher(broken_url)


def test_an_invalid_event_is_logged_too(make_app, logged):
    mux = flask_ssemux.SSEMux()
    app = make_app(mux)
    before = mux.cursor()
    assert mux.publish("jobs", {1}, on_error="log") is None
    assert mux.publish("", 1, "empty", on_error="log") is None
    assert mux.send_to_user(None, 1, "nobody", on_error="log") is None
    assert mux.publish_many([("jobs", 1), ("jobs", {1}, "x")], on_error="log") is None
    assert mux.publish_many("jobs", on_error="log") is None
    assert [line.partition(": ")[2][:50] for line in logged()] == [
        "message on 'jobs': data must be text or what JSON ",
        "empty on '': a channel is a text of 1 to 255 chara",
        "nobody on 'user:None': a user's id is a text, an i",
        "several events: publish_many takes a list of event",
    ]  # the first kind stands for the events of publish_many, too
    assert mux.cursor() == before
    with app.app_context(), pytest.raises(InvalidEvent):
        flask_ssemux.publish("jobs", {1})


def test_an_error_of_the_applications_own_code_is_logged_with_its_traceback(make_app, logged, caplog):
    class Broken:
        def __html__(self):
            raise KeyError("template")

    mux = flask_ssemux.SSEMux()
    make_app(mux)
    assert mux.publish("jobs", [Broken()], on_error="log") is None
    assert logged() == ["not published: message on 'jobs': 'template'"]
    assert "__html__" in caplog.text


def test_an_invalid_name_forges_no_line(make_app, logged):
    mux = flask_ssemux.SSEMux()
    make_app(mux)
    assert mux.publish("jobs", 1, "a\nERROR: forged", on_error="log") is None
    assert "\n" not in logged()[0] and r"'a\nERROR: forged' on 'jobs'" in logged()[0]


def test_one_line_a_minute_for_each_kind_and_event_name(mux, logged, monkeypatch):
    clock = [100.0]
    monkeypatch.setattr(best_effort, "get_time", lambda: clock[0])
    for _ in range(30):
        mux.publish("jobs", 1, "progress", on_error="log")
    mux.publish("jobs", 1, "done", on_error="log")
    mux.publish("jobs", {1}, "progress", on_error="log")
    assert len(logged()) == 3
    clock[0] += 61.0
    mux.publish("jobs", 1, "progress", on_error="log")
    assert len(logged()) == 4 and logged()[-1].endswith(" (29 more since the last such line)")


def test_a_long_list_of_events_is_shortened(mux, logged):
    mux.publish_many([("jobs:%d" % number, 1) for number in range(60)], on_error="log")
    assert "message on 'jobs:49' and 10 more: the SQLite store" in logged()[0] and "'jobs:50'" not in logged()[0]


@pytest.mark.parametrize("bad", ["ignore", "", True])
def test_another_word_is_refused_even_if_nothing_fails(make_app, bad):
    mux = flask_ssemux.SSEMux()
    make_app(mux)
    for call, _ in CALLS:
        with pytest.raises(ApplicationError, match="on_error=%r is not known: write 'raise', or 'log'" % (bad,)):
            call(mux, on_error=bad)
    with pytest.raises(ApplicationError, match="is not known"):
        Publisher("redis://localhost", on_error=bad)


def test_a_call_without_an_application_is_raised_all_the_same():
    for call, _ in CALLS:
        with pytest.raises(ApplicationError):
            call(flask_ssemux, on_error="log")


def test_revocations_are_never_best_effort(make_app, broken_url):
    """A user who is banned keeps reading if nobody notices that the message was lost."""
    mux = flask_ssemux.SSEMux()
    make_app(mux, SSEMUX_BROKER=broken_url, SSEMUX_ON_ERROR="log")
    for call in (lambda: mux.disconnect(7), lambda: mux.revoke(7, "jobs"), mux.cursor):
        with pytest.raises(BrokerUnavailable):
            call()
