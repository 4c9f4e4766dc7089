"""Tickets: their content, why they are refused, and what remains of them in a WSGI environment."""

from __future__ import annotations

import uuid

import flask
import pytest

import flask_ssemux
from flask_ssemux.access import tickets
from flask_ssemux.errors import ApplicationError, BadTicket, InvalidChannel, InvalidEvent
from tests.unit.test_extension import opened

UUID = uuid.UUID("6ba7b810-9dad-11d1-80b4-00c04fd430c8")


@pytest.fixture
def mux():
    made = flask_ssemux.SSEMux()
    made.identify(lambda: "whoever the cookie says")
    made.authorize("orders:<owner>")(lambda user_id, owner: str(user_id) == owner)
    return made


@pytest.fixture
def app(make_app, mux):
    made = make_app(mux)
    made.secret_key = "for tests"
    return made


def issue(app, *args, **options):
    with app.app_context():
        return flask_ssemux.ticket(*args, **options)


def identify(app, mux, url, **headers):
    """Return the user of a request, found as a stream's view finds it."""
    with app.test_request_context(url, headers=headers):
        shown = tickets.find_ticket(flask.request)
        ticket = None if shown is None else tickets.verify_ticket(shown, flask.request.environ)
        return mux._rules.identify_reader(ticket).user


def refused(app, url, **headers):
    with opened(app, url, headers=headers) as (response, _):
        assert response.status_code >= 400
        return response.status_code, response.get_json()


@pytest.mark.parametrize("user", ["ann", "7", 7, 0, UUID, None])
def test_its_bearer_has_the_user_id_that_identify_would_return(app, mux, user):
    ticket = issue(app, user)
    found = identify(app, mux, "/events?ticket=" + ticket)
    assert (found, type(found)) == (user, type(user))


def test_without_a_ticket_identify_finds_the_user(app, mux):
    for headers in ({}, {"Authorization": "Bearer x"}, {"Authorization": "Ticketing x"}):
        assert identify(app, mux, "/events", **headers) == "whoever the cookie says"


def test_it_opens_one_stream_by_url_or_header(app):
    for url, headers in (
        ("/events?channel=orders:ann&ticket=%s", {}),
        ("/events?channel=orders:ann", {"Authorization": "ticket %s"}),
    ):
        ticket = issue(app, "ann")
        url, headers = url.replace("%s", ticket), {name: value % ticket for name, value in headers.items()}
        with opened(app, url, headers=headers) as (response, body):
            assert response.status_code == 200
            next(body)
        status, refusal = refused(app, url, **headers)
        assert (status, refusal["error"]) == (401, "bad_ticket")
        assert (
            refusal["message"] == "this ticket was used already: each opens one stream; ask the application for another"
        )


def test_its_channels_narrow_and_do_not_widen(app):
    ticket = issue(app, "ann", channels=["orders:ann", "orders:bob", "elsewhere"])
    for channel, why in (
        ("orders:bob", "you may not read the channel 'orders:bob'"),
        ("elsewhere", "no rule allows the channel 'elsewhere'"),
        ("other", "the ticket is not for the channel 'other'"),
    ):
        assert refused(app, "/events?channel=%s&ticket=%s" % (channel, ticket))[1]["message"] == why
    ticket = issue(app, "bob", channels=["orders:ann"])
    assert refused(app, "/events?channel=orders:bob&ticket=" + ticket)[0] == 403


def test_it_expires(app, monkeypatch):
    ticket = issue(app, "ann", expires=5)
    now = tickets.time.time()
    monkeypatch.setattr(tickets.time, "time", lambda: now + 6)
    status, refusal = refused(app, "/events?ticket=" + ticket)
    assert (status, refusal["message"]) == (401, "this ticket expired 1 s ago: ask the application for another")


def test_a_ticket_that_a_request_has_used_does_not_expire_within_the_request(app, monkeypatch):
    with app.test_request_context("/events?ticket=" + issue(app, "ann", expires=5)):
        tickets.verify_ticket(tickets.find_ticket(flask.request), flask.request.environ)
        kept = dict(flask.request.environ)
    now = tickets.time.time()
    monkeypatch.setattr(tickets.time, "time", lambda: now + 6)
    with app.request_context(kept):
        assert tickets.restore_ticket(kept).user == "ann"


@pytest.mark.parametrize("change", [lambda t: t[:-1], lambda t: "", lambda t: "x" + t, lambda t: "." + t])
def test_a_ticket_that_we_did_not_issue(app, change):
    status, refusal = refused(app, "/events?ticket=" + change(issue(app, "ann")))
    assert (status, refusal["error"]) == (401, "bad_ticket")
    assert "was not made by this application" in refusal["message"]


def test_a_ticket_of_another_namespace_with_the_same_key(make_app, mux):
    ours, other = (make_app(mux, SSEMUX_NAMESPACE=name) for name in ("ours", "other"))
    ours.secret_key = other.secret_key = "shared by tenants"
    ticket = issue(other, "ann")
    assert refused(ours, "/events?ticket=" + ticket)[0] == 401
    with opened(other, "/events?ticket=" + ticket) as (response, _):
        assert response.status_code == 200


def test_two_tickets_in_one_request(app):
    ticket = issue(app, "ann")
    _, refusal = refused(app, "/events?ticket=" + ticket, Authorization="Ticket " + ticket)
    assert refusal["message"] == "a request shows one ticket; this one shows 2"


def test_a_key_that_was_rotated_out_still_reads(app, mux):
    ticket = issue(app, "ann")
    app.config.update(SECRET_KEY="the new one", SECRET_KEY_FALLBACKS=["for tests"])
    assert identify(app, mux, "/events?ticket=" + ticket) == "ann"
    app.config.update(SECRET_KEY_FALLBACKS=[])
    with pytest.raises(BadTicket):
        identify(app, mux, "/events?ticket=" + ticket)


@pytest.mark.parametrize(
    "error, message, args",
    [
        (ApplicationError, "a ticket expires after 1 to 3600 s, not 0", ("ann", None, 0)),
        (ApplicationError, "a ticket expires after 1 to 3600 s, not 86400", ("ann", None, 86400)),
        (ApplicationError, "a ticket expires after 1 to 3600 s, not True", ("ann", None, True)),
        (ApplicationError, r"a ticket's channels are a list of names; write \['a'\]", ("ann", "a")),
        (InvalidChannel, "a channel is a text", ("ann", [7])),
        (InvalidChannel, "'user:bob': every stream reads its user's own channel and", ("ann", ["user:bob"])),
        (InvalidEvent, "a user's id is a text, an int or a UUID, not 1.5", (1.5,)),
    ],
)
def test_tickets_that_cannot_be_issued(app, error, message, args):
    user, *options = args
    with pytest.raises(error, match=message):
        issue(app, user, **dict(zip(("channels", "expires"), options)))


def test_an_application_without_a_key(app):
    ticket = issue(app, "ann")
    app.secret_key = None
    with pytest.raises(ApplicationError, match="SECRET_KEY, and it has none"):
        issue(app, "ann")
    assert refused(app, "/events?ticket=" + ticket)[0] == 401


@pytest.mark.parametrize(
    "before, after",
    [
        ("ticket=abcdefghijkl", "ticket=abcdefgh..."),
        ("channel=a&ticket=abcdefghijkl&x=y", "channel=a&ticket=abcdefgh...&x=y"),
        ("t%69cket=abcdefghijkl&ticket=abcdefghijkl", "t%69cket=abcdefgh...&ticket=abcdefgh..."),
        ("ticket=abcdefghijkl&url=/a?b", "ticket=abcdefgh...&url=/a?b"),
        ("channel=a", "channel=a"),
        ("my_ticket=abcdefghijkl", "my_ticket=abcdefghijkl"),
        ("", ""),
    ],
)
def test_the_part_of_a_ticket_that_is_logged(before, after):
    environ = {"QUERY_STRING": before, "RAW_URI": "/events?" + before, "PATH_INFO": "/events"}
    tickets.hide_tickets(environ)
    assert environ == {"QUERY_STRING": after, "RAW_URI": "/events?" + after, "PATH_INFO": "/events"}
