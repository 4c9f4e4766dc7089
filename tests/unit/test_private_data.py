"""No part of an event's data gets into the log: an error names the value to the caller, and the log does not."""

from __future__ import annotations

import dataclasses
import logging

import pytest

import flask_ssemux
from flask_ssemux import Publisher
from flask_ssemux.errors import InvalidEvent
from flask_ssemux.hub import revocation_handler
from flask_ssemux.publishing import best_effort
from flask_ssemux.publishing.revocation import Revocation
from flask_ssemux.util.log_throttle import LogThrottle

#: What only the readers of the channel may see.
SECRET = "s3cr3t"


@dataclasses.dataclass
class Card:
    number: set


class Quoting:
    """Its JSON cannot be written, and the error quotes it."""

    def __html__(self):
        raise ValueError("cannot write %s" % SECRET)


#: By what is wrong: the call, and what the log says after the event's name and channel.
CALLS = {
    "a part of the data": (
        lambda it, **how: it.publish("jobs", {SECRET: {"%s-1" % SECRET}}, "paid", **how),
        "paid on 'jobs': data must be text or what JSON can express, but has a part of type set",
    ),
    "a field of a dataclass": (
        lambda it, **how: it.publish("jobs", [Card({SECRET})], "paid", **how),
        "paid on 'jobs': data must be text or what JSON can express, but has a part of type set",
    ),
    "a serializer that quotes": (
        lambda it, **how: it.publish("jobs", [Quoting()], "paid", **how),
        "paid on 'jobs': data must be text or what JSON can express, but has a part of type Quoting",
    ),
    "a number": (
        lambda it, **how: it.publish("jobs", {SECRET: float("nan")}, "paid", **how),
        "paid on 'jobs': data must be text or what JSON can express, but has a part of type float",
    ),
    "text": (
        lambda it, **how: it.publish("jobs", SECRET + "\udc80", "paid", **how),
        "paid on 'jobs': the data has a lone surrogate, which UTF-8 cannot encode",
    ),
    "everyone's": (
        lambda it, **how: it.broadcast({SECRET}, "paid", **how),
        "paid on '*': data must be text or what JSON can express, but is of type set",
    ),
    "arguments in another order": (
        lambda it, **how: it.publish({"pin": SECRET}, "jobs", **how),
        "message on a value of type dict: a channel is a text of 1 to 255 characters, not a value of type dict",
    ),
    "an event's name": (
        lambda it, **how: it.publish("jobs", 1, {"pin": SECRET}, **how),
        "a value of type dict on 'jobs': an event's name is a text of 1 to 255 characters, not a value of type dict; ",
    ),
    "a user's arguments in another order": (
        lambda it, **how: it.send_to_user({"pin": SECRET}, 7, "paid", **how),
        "paid on a value of type dict: a user's id is a text, an int or a UUID, not a value of type dict",
    ),
    "an event of several": (
        lambda it, **how: it.publish_many([("jobs", 1, "paid"), ("jobs", {SECRET})], **how),
        "paid on 'jobs', message on 'jobs': events[1]: data must be text or what JSON can express, but is of type set",
    ),
    "the form of an event": (
        lambda it, **how: it.publish_many([("jobs", 1, "paid"), SECRET], **how),
        "paid on 'jobs': events[1]: an event of publish_many is (channel, data), ",
    ),
    "a key of an event": (
        lambda it, **how: it.publish_many([("jobs", 1, "paid"), {"channel": "jobs", SECRET: 1}], **how),
        "paid on 'jobs': events[1]: an event has an unknown key: it takes channel, user_id, ",
    ),
    "a key that is missing": (
        lambda it, **how: it.publish_many([("jobs", 1, "paid"), {"data": SECRET}], **how),
        "paid on 'jobs': events[1]: an event of publish_many is (channel, data), ",
    ),
    "no list": (
        lambda it, **how: it.publish_many({"data": SECRET}, **how),
        "several events: publish_many takes a list of events, not a value of type dict; an event of publish_many is ",
    ),
}


@pytest.fixture(autouse=True)
def log(monkeypatch, caplog):
    monkeypatch.setattr(best_effort, "_throttle", LogThrottle())
    caplog.set_level(logging.DEBUG)
    return caplog


@pytest.mark.parametrize("name", CALLS)
def test_data_that_is_refused_is_raised_and_not_logged(make_app, log, name):
    mux = flask_ssemux.SSEMux()
    make_app(mux)
    call, said = CALLS[name]
    assert call(mux, on_error="log") is None
    assert log.records[-1].getMessage().startswith("not published: " + said), log.text
    assert SECRET not in log.text and "\udc80" not in log.text
    with pytest.raises(InvalidEvent) as raised:
        call(mux)
    assert SECRET in str(raised.value) or name == "a number"


def test_a_function_that_writes_json_may_quote_what_it_refuses(make_app, log, tmp_path):
    def dumps(data):
        raise TypeError("what is %r?" % (data,))

    with Publisher("sqlite:///%s" % (tmp_path / "x.db"), dumps=dumps, on_error="log") as publisher:
        assert publisher.publish("jobs", {SECRET, 1}) is None
    assert "but is of type set" in log.text and SECRET not in log.text


def test_a_snapshot_that_is_refused_is_not_logged(make_app, log):
    """Nobody catches the error: Flask logs it, and answers 500."""
    mux = flask_ssemux.SSEMux()
    app = make_app(mux)
    app.testing = False
    mux.authorize("jobs")(lambda user_id: True)
    mux.snapshot("jobs")(lambda: [("paid", {SECRET: {SECRET}})])
    answer = app.test_client().get("/events?channel=jobs")
    assert answer.status_code == 500 and SECRET not in log.text + answer.get_data(as_text=True)
    said = "InvalidEvent: the snapshot of the channel 'jobs' has an invalid event: data must be text or what JSON can"
    assert said in log.text


@pytest.mark.parametrize("body", [b'["%s"]', b'{"reason": "%s"}', b'{"user": 1, "reason": "%s"}', b"%s\xff"])
def test_a_malformed_revocation_message_is_not_quoted(log, body):
    with pytest.raises(ValueError) as raised:
        Revocation.from_json(body.replace(b"%s", SECRET.encode()))
    assert revocation_handler.attempt("a message", Revocation.from_json, body.replace(b"%s", SECRET.encode())) is False
    assert SECRET not in log.text and "a message" in log.text
    assert SECRET not in str(raised.value)
