"""``abort()`` in a function of the application: the client gets its answer, and no stream opens (docs/access.md)."""

from __future__ import annotations

import flask
import pytest

import flask_ssemux
from flask_ssemux.testing import stream

#: What a function passes to ``abort()``, and the status and a header that the client gets.
ANSWERS = {
    "401": (lambda: 401, 401, ("Content-Type", "text/html; charset=utf-8")),
    "403": (lambda: 403, 403, ("Content-Type", "text/html; charset=utf-8")),
    "redirect": (lambda: flask.redirect("/login"), 302, ("Location", "/login")),
    "204": (lambda: flask.current_app.response_class(status=204), 204, ("X-Accel-Buffering", "no")),
    "503": (lambda: flask.current_app.response_class("x", 503, {"Retry-After": "5"}), 503, ("Retry-After", "5")),
}

#: The functions that may call ``abort()``, and the URL whose request calls them.
PLACES = {"identify": "/events", "rule": "/events?channel=ruled", "snapshot": "/events?channel=shown"}


@pytest.fixture(params=PLACES)
def refusing(request, make_app):
    """An application whose function aborts with its config's ``ANSWER``, and the URL for which it does."""

    def refuse(place):
        if place == request.param and "ANSWER" in flask.current_app.config:
            flask.abort(flask.current_app.config["ANSWER"]())

    mux = flask_ssemux.SSEMux()
    mux.identify(lambda: refuse("identify") or "ann")
    mux.authorize("ruled")(lambda user_id: refuse("rule") is None)
    mux.authorize("shown")(lambda user_id: True)
    mux.snapshot("shown")(lambda: refuse("snapshot") or [])
    return make_app(mux, SSEMUX_MAX_STREAMS_PER_USER=1), PLACES[request.param]


@pytest.mark.parametrize("answer", ANSWERS)
def test_its_answer_reaches_the_client(refusing, answer):
    app, url = refusing
    app.config["ANSWER"], status, (name, value) = ANSWERS[answer]
    for _ in range(2):
        refused = app.test_client().get(url)
        assert (refused.status_code, refused.headers.get(name, "").replace("http://localhost", "")) == (status, value)
        assert refused.headers["X-Accel-Buffering"] == "no"
        assert refused.headers["Cache-Control"] == "no-cache, no-transform"
    assert len(app.extensions["ssemux"].worker.running().streams) == 0
    del app.config["ANSWER"]
    with stream(app, url) as opened:  # the user's only slot is free
        assert opened.status == 200


def test_its_answer_is_made_by_the_applications_error_handler(refusing):
    app, url = refusing
    app.config["ANSWER"] = lambda: 401
    app.register_error_handler(401, lambda error: (flask.jsonify(login="/login"), 401))
    refused = app.test_client().get(url)
    assert (refused.status_code, refused.get_json()) == (401, {"login": "/login"})
    assert refused.headers["X-Accel-Buffering"] == "no"


def test_a_ticket_is_not_used_up_by_a_refusal(make_app):
    mux, refuses = flask_ssemux.SSEMux(), [True]
    mux.authorize("ruled")(lambda user_id: flask.abort(503) if refuses else True)
    app = make_app(mux, SECRET_KEY="for tests")
    with app.app_context():
        url = "/events?channel=ruled&ticket=" + flask_ssemux.ticket("ann")
    assert app.test_client().get(url).status_code == 503
    refuses.clear()
    with stream(app, url) as opened:
        assert opened.status == 200
