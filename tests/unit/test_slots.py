"""How many requests a server serves at a time, and what of that streams may take."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from flask import Flask
from waitress.adjustments import Adjustments

import flask_ssemux
from flask_ssemux.slots import Slots, of_gunicorn, of_others


@pytest.mark.parametrize("most, streams", [(1, 0), (2, 1), (3, 2), (4, 3), (5, 4), (10, 8), (1000, 800)])
def test_a_fifth_of_the_slots_and_one_at_least_is_for_pages(most, streams):
    assert Slots("a server", most, "--slots %d" % most).for_streams == streams


def test_what_its_user_is_told():
    assert Slots("waitress", 4, "threads=4").told == (
        "waitress serves 4 requests at a time (threads=4), and a stream is one of them for as long as it lives: "
        "a process takes 3 streams, the rest is kept for pages; gunicorn with '-k gevent' has room for thousands"
    )


@pytest.mark.parametrize("kind, most", [("gevent", 1000), ("gthread", 4)])
def test_gunicorns_are_connections_or_threads(kind, most):
    slots = of_gunicorn(SimpleNamespace(worker_connections=1000, threads=4), kind)
    assert (slots.most, slots.is_plenty) == (most, kind == "gevent")


class Task:
    """Stands where waitress's own calls the application, with waitress's own settings."""

    def __init__(self, **told):
        self.channel = SimpleNamespace(server=SimpleNamespace(adj=Adjustments(**told)))

    def slots(self):
        return of_others()


Task.__module__ = "waitress.task"


@pytest.mark.parametrize(
    "told, most, setting",
    [
        ({}, 4, "threads=4"),
        ({"threads": 200}, 100, "connection_limit=100"),
        ({"threads": 2000, "connection_limit": 5000}, 300, "asyncore_use_poll=False"),
        ({"threads": 2000, "connection_limit": 5000, "asyncore_use_poll": True}, 2000, "threads=2000"),
    ],
)
def test_waitress_names_the_setting_that_binds(told, most, setting):
    assert Task(**told).slots() == Slots("waitress", most, setting)


def test_without_a_server_there_are_none():
    assert of_others() is None


@pytest.mark.parametrize("told", [{}, {"SERVER_SOFTWARE": "simple/1"}, {"uwsgi.version": b"2.0.30"}])
def test_a_server_that_serves_one_request_at_a_time_is_refused_and_a_tests_client_is_not(told):
    app = Flask(__name__)
    app.config["SSEMUX_BROKER"] = "memory:"
    flask_ssemux.init_app(app)
    with app.test_client().get("/events", environ_overrides={"wsgi.multithread": False, **told}) as response:
        first = next(iter(response.response))
    assert (b"this server serves one request at a time" in first) == bool(told)
    assert (b"ssemux.hello" in first) == (not told)
