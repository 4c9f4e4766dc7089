"""The way from a request to an open stream: each step is taken once, and a failure gives back what was taken before."""

from __future__ import annotations

import sys
from collections import Counter
from contextlib import ExitStack

import flask
import pytest

import flask_ssemux
from flask_ssemux.http.probe import PARAMETER, Plan
from flask_ssemux.http.wrapped_generator import WrappedGenerator
from flask_ssemux.transports.generator import GeneratorTransport
from flask_ssemux.transports.long_poll import LongPoll
from tests.unit.test_extension import opened

KEY = "a secret"
LIMIT = 3


class BrokenConnection:
    """A client's connection of which nothing can be asked, so that no transport can be built."""

    def fileno(self):
        raise RuntimeError("broken connection")


@pytest.fixture
def app(make_app):
    """An application with one URL of each kind of stream, all of them of the user 7."""
    mux = flask_ssemux.SSEMux()
    mux.identify(lambda: 7)
    mux.authorize("jobs:<job_id>")(lambda user_id, job_id: True)
    mux.allow_status(lambda: True)
    mux.add_stream("/fixed", ["jobs:1"])
    app = make_app(mux, SECRET_KEY=KEY, SSEMUX_MAX_STREAMS_PER_USER=LIMIT, SSEMUX_MAX_STREAMS=LIMIT)

    @app.route("/old")
    @flask_ssemux.streaming
    def old():
        return flask.Response(iter(["data: 1\n\n"]))

    return app


URLS = {
    "events": "/events?channel=jobs:1",
    "fixed": "/fixed",
    "status": "/events/status/stream",
    "probe": "/events",
    "poll": "/events?channel=jobs:1&poll=now",
    "old": "/old",
}


@pytest.fixture(params=["connection", "constructor"])
def broken_environ(request, monkeypatch):
    """A cause that makes every transport fail: in the environment, or in the constructors themselves."""
    if request.param == "connection":
        return {"werkzeug.socket": BrokenConnection()}

    def fail(*_):
        raise RuntimeError("broken constructor")

    for transport in (GeneratorTransport, LongPoll, WrappedGenerator):
        monkeypatch.setattr(transport, "__init__", fail)
    return {}


@pytest.mark.parametrize("kind", URLS)
def test_a_transport_that_cannot_be_built_leaves_no_stream_and_no_slot(app, broken_environ, monkeypatch, kind):
    worker, client = app.extensions["ssemux"].worker, app.test_client()
    url = URLS[kind]
    if kind == "probe":  # signed now: the signature expires
        url += "?%s=%s" % (PARAMETER, Plan().sign(KEY))
    for _ in range(LIMIT):
        assert client.get(url, environ_overrides=broken_environ).status_code == 500
    monkeypatch.undo()
    assert worker.count_streams() == 0
    for _ in range(LIMIT):  # the user's slots and the worker's capacity are free again
        response = client.get(url)
        assert b"this user holds" not in next(iter(response.response))
        assert response.status_code == 200


class SealedResponse(flask.Response):
    """A response class of an application that allows no subclass, so that ``@streaming`` cannot wrap it."""

    def __init_subclass__(cls, **_):
        raise TypeError("sealed")


def test_a_view_whose_response_cannot_be_wrapped_is_closed_and_leaves_no_stream(app):
    closed = []

    def generator():
        try:
            yield "data: 1\n\n"
        finally:
            closed.append(True)

    @app.route("/sealed")
    @flask_ssemux.streaming
    def sealed():
        body = generator()
        next(body)
        return SealedResponse(body)

    app.testing = True  # the error reaches the test, which keeps its traceback and all that the traceback refers to
    with pytest.raises(TypeError, match="sealed"):
        app.test_client().get("/sealed")
    assert (app.extensions["ssemux"].worker.count_streams(), closed) == (0, [True])


#: The steps of an opening: module and function.
STEPS = [
    ("http.stream_request", "parse"),
    ("transports.select", "choose_transport"),
    ("access.tickets", "find_ticket"),
    ("access.tickets", "_decode_ticket"),
    ("hub.hub", "count_revocations"),
    ("access.rules", "identify_reader"),
    ("access.rules", "check_channels"),
    ("hub.resume", "parse_last_ids"),
    ("hub.hub", "must_stay_away"),
    ("worker.admission", "admit"),
    ("worker.user_limit", "take_user_slot"),
    ("hub.hub", "open_stream"),
    ("worker.running", "register_stream"),
    ("access.tickets", "use_up"),
    ("transports.select", "make_transport"),
]


@pytest.mark.parametrize("url", ["/events?channel=jobs:1", "/fixed?"])
def test_each_step_is_taken_once(app, url):
    with app.app_context():
        url += "&ticket=" + flask_ssemux.ticket(7)
    calls = Counter()

    def count(frame, event, _):
        if event == "call":
            calls[frame.f_globals.get("__name__", "")[len("flask_ssemux.") :], frame.f_code.co_name] += 1

    with ExitStack() as streams:
        sys.setprofile(count)
        try:
            response, _ = streams.enter_context(opened(app, url, headers={"Last-Event-ID": "abcd-1"}))
        finally:
            sys.setprofile(None)
        assert response.status_code == 200
    assert {step: calls[step] for step in STEPS} == dict.fromkeys(STEPS, 1)
