"""Revocation messages: which are sent, which are refused, and their form in the broker."""

from __future__ import annotations

import uuid

import pytest

import flask_ssemux
from flask_ssemux.errors import ApplicationError, InvalidChannel, InvalidEvent
from flask_ssemux.publishing import revocation
from flask_ssemux.publishing.revocation import Revocation

ID = uuid.UUID("12345678123456781234567812345678")


@pytest.fixture
def app(make_app):
    return make_app(SSEMUX_BROKER="sqlite:")


def read_messages(app):
    broker = app.extensions["ssemux"].worker.broker
    return [
        Revocation.from_json(body)
        for _, _, body, _ in broker.history.read_events([revocation.REVOCATION_CHANNEL], 0, 10**9, 100).records
    ]


@pytest.mark.parametrize(
    "call, order",
    [
        (lambda it: it.disconnect(7), Revocation("7", None, False, "disconnected")),
        (lambda it: it.disconnect(ID, stop=True, reason="bye\nnow"), Revocation(str(ID), None, True, "bye\nnow")),
        (lambda it: it.disconnect(channel="jobs:é"), Revocation(None, "jobs:é", False, "disconnected")),
        (lambda it: it.disconnect(channel="*", stop=True), Revocation(None, "*", True, "disconnected")),
        (lambda it: it.revoke("ann", "jobs:1"), Revocation("ann", "jobs:1", False, "revoked")),
    ],
)
def test_messages_of_an_application_and_of_a_publisher(app, call, order):
    path = app.instance_path + "/ssemux.sqlite3"
    with app.app_context():
        assert call(flask_ssemux) == str(app.extensions["ssemux"].worker.broker.history.get_newest_cursor())
    with flask_ssemux.Publisher("sqlite:///" + path) as publisher:
        call(publisher)
    assert read_messages(app) == [order, order]


def test_disconnect_takes_a_user_or_a_channel(app):
    with app.app_context():
        for given in ({}, {"user_id": 7, "channel": "a"}):
            with pytest.raises(ApplicationError) as refused:
                flask_ssemux.disconnect(**given)
            assert str(refused.value) == (
                "disconnect takes either a user's id or a channel, not user_id=%r and channel=%r; "
                "revoke(user_id, channel) ends the streams of one user that read one channel"
                % (given.get("user_id"), given.get("channel"))
            )
    assert read_messages(app) == []


@pytest.mark.parametrize(
    "call, error",
    [
        (lambda: flask_ssemux.disconnect(1.5), InvalidEvent),
        (lambda: flask_ssemux.disconnect(""), InvalidEvent),
        (lambda: flask_ssemux.disconnect(channel="ssemux.control"), InvalidChannel),
        (lambda: flask_ssemux.disconnect(channel="a\nb"), InvalidChannel),
        (lambda: flask_ssemux.disconnect(7, reason=None), InvalidEvent),
        (lambda: flask_ssemux.disconnect(7, reason="\ud800"), InvalidEvent),
        (lambda: flask_ssemux.disconnect(7, reason="x" * 501), InvalidEvent),
        (lambda: flask_ssemux.revoke(None, "a"), InvalidEvent),
        (lambda: flask_ssemux.revoke(7, None), InvalidChannel),
    ],
)
def test_an_invalid_message_is_refused_and_not_stored(app, call, error):
    with app.app_context(), pytest.raises(error):
        call()
    assert read_messages(app) == []


@pytest.mark.parametrize("body", [b"", b"7", b"[]", b"{}", b'{"stop": true}', b"\xff"])
def test_other_json_is_refused(body):
    with pytest.raises(ValueError):
        Revocation.from_json(body)


def test_fields_of_a_later_version_are_ignored():
    assert Revocation.from_json(b'{"user": "7", "gently": true}') == Revocation("7")


@pytest.mark.parametrize(
    "arguments, order",
    [
        (["--user", "7"], Revocation("7", None, False, "disconnected")),
        (["--user", "7", "--stop", "--reason", "bye"], Revocation("7", None, True, "bye")),
        (["--channel", "jobs"], Revocation(None, "jobs", False, "disconnected")),
        (["--user", "7", "--channel", "jobs"], Revocation("7", "jobs", False, "revoked")),
    ],
)
def test_the_command(app, arguments, order):
    result = app.test_cli_runner().invoke(args=["ssemux", "disconnect"] + arguments)
    assert result.exit_code == 0, result.output
    assert read_messages(app) == [order]


@pytest.mark.parametrize(
    "arguments, message",
    [
        ([], "Error: name the streams: --user ID, or --channel NAME, or both"),
        (
            ["--user", "7", "--channel", "a", "--stop"],
            "Error: --stop works with --user or with --channel, but not with both",
        ),
    ],
)
def test_the_command_refuses_invalid_arguments(app, arguments, message):
    result = app.test_cli_runner().invoke(args=["ssemux", "disconnect"] + arguments)
    assert (result.exit_code, result.output.splitlines()[-1]) == (2, message)
