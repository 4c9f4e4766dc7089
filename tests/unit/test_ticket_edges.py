"""Edge cases of tickets: unknown tickets, clocks that differ, a lost broker, no application context."""

from __future__ import annotations

import time

import pytest

import flask_ssemux
from flask_ssemux.access import tickets
from flask_ssemux.errors import ApplicationError, BadTicket, BrokerBehind, BrokerUnavailable
from tests.unit.test_extension import opened
from tests.unit.test_tickets import identify


@pytest.fixture
def app(make_app):
    made = make_app()
    made.secret_key = "for tests"
    return made


def issue(app, **options):
    with app.app_context():
        return flask_ssemux.ticket("ann", **options)


def use_up(app, text):
    with app.app_context():
        tickets.verify_ticket(text, {}).use_up(app.extensions["ssemux"].worker.broker)


def test_an_unknown_ticket_is_not_an_error_in_an_application_without_a_key(make_app):
    made = make_app()
    made.config["PROPAGATE_EXCEPTIONS"] = True
    answer = made.test_client().get("/events?ticket=x")
    assert answer.status_code == 401
    assert answer.get_json() == {
        "error": "bad_ticket",
        "message": "this ticket was not made by this application, or with another SECRET_KEY: ask for another",
    }


def test_a_ticket_outside_of_an_application():
    with pytest.raises(ApplicationError, match="acts on the current application"):
        flask_ssemux.ticket("ann")
    with pytest.raises(ApplicationError, match="this SSEMux has no application: call its init_app"):
        flask_ssemux.SSEMux().ticket("ann")


def test_a_machine_whose_clock_is_behind_does_not_accept_it_again(app, monkeypatch):
    """The machine's clock is 30 s behind, so the ticket is still valid there after it has expired elsewhere."""
    text = issue(app, expires=10)
    use_up(app, text)
    now = time.monotonic
    monkeypatch.setattr(
        time, "monotonic", lambda: now() + 30
    )  # the broker's clock; the one that tickets use does not move
    with pytest.raises(BadTicket, match="used already"):
        use_up(app, text)


def test_while_the_broker_is_unavailable_nobody_is_admitted_and_no_ticket_is_used_up(app, monkeypatch):
    broker = app.extensions["ssemux"].worker.broker
    text = issue(app)

    def lost(key, seconds):
        raise BrokerUnavailable("away")

    monkeypatch.setattr(broker.one_time_keys, "use_one_time_key", lost)
    answer = app.test_client().get("/events?ticket=" + text)
    assert (answer.status_code, answer.data.startswith(b"retry: ")) == (200, True)
    assert b"ssemux.hello" not in answer.data
    monkeypatch.undo()
    use_up(app, text)


def test_a_stream_that_cannot_be_opened_uses_no_ticket_up(app, monkeypatch):
    """A browser's EventSource reconnects with the same ticket."""
    worker = app.extensions["ssemux"].worker
    text = issue(app)

    def behind(*_, **__):
        raise BrokerBehind("for a moment")

    with monkeypatch.context() as patch:
        patch.setattr(worker.running().hub, "open_stream", behind)
        answer = app.test_client().get("/events?ticket=" + text)
        assert (answer.status_code, answer.data.startswith(b"retry: ")) == (200, True)
    with opened(app, "/events?ticket=" + text) as (answer, body):
        assert b"ssemux.hello" in next(body)


def test_a_stream_that_is_not_admitted_leaves_nothing_behind(app):
    worker = app.extensions["ssemux"].worker
    text = issue(app)
    with opened(app, "/events?ticket=" + text) as (_, body):
        next(body)
        for _ in range(3):
            assert app.test_client().get("/events?ticket=" + text).status_code == 401
        assert (worker.count_streams(), worker.broker.get_figures()["held"]) == (1, 1)
    assert (worker.count_streams(), worker.broker.get_figures()["held"]) == (0, 0)


def test_an_old_url_keeps_a_parameter_of_that_name(make_app):
    """The clients must not notice that the old endpoint has become a fixed stream."""
    mux = flask_ssemux.SSEMux()
    mux.identify(lambda: "whoever the cookie says")
    mux.add_stream("/api/helpdesk", ["desk"], public=True)
    made = make_app(mux)
    made.secret_key = "for tests"
    assert identify(made, mux, "/api/helpdesk?ticket=4711") == "whoever the cookie says"
    assert identify(made, mux, "/api/helpdesk?ticket=" + issue(made)) == "ann"
    for url in ("/api/helpdesk?ticket=" + issue(made)[:-1], "/events?ticket=4711"):
        with pytest.raises(BadTicket):
            identify(made, mux, url)
