"""Server capacity: how many requests a server serves at a time, and how many of them may be streams."""

from __future__ import annotations

import io
import logging
import sys
from types import SimpleNamespace

import httpx
import pytest
from flask import Flask
from waitress.adjustments import Adjustments
from werkzeug.test import EnvironBuilder, run_wsgi_app

import flask_ssemux
from flask_ssemux.http.probe import Plan
from flask_ssemux.util import file_limit
from flask_ssemux.worker.capacity import (
    ServerCapacity,
    find_other_capacity,
    get_gunicorn_capacity,
    get_unknown_capacity,
    limit_by_files,
)


@pytest.mark.parametrize("most, streams", [(1, 0), (2, 1), (3, 2), (4, 3), (5, 4), (10, 8), (1000, 800)])
def test_a_fifth_of_the_capacity_and_at_least_one_request_is_for_pages(most, streams):
    assert ServerCapacity("a server", most, "--slots %d" % most).max_streams == streams


def test_the_advice_for_a_server():
    assert ServerCapacity("waitress", 4, "threads=4").advice == (
        "waitress serves 4 requests at a time (threads=4), and a stream is one of them for as long as it lives: "
        "a process takes 3 streams, the rest is kept for pages; gunicorn with '-k gevent' has room for thousands"
    )


@pytest.mark.parametrize("kind, most", [("gevent", 1000), ("gthread", 4)])
def test_gunicorns_capacity_is_its_connections_or_threads(kind, most):
    capacity = get_gunicorn_capacity(SimpleNamespace(worker_connections=1000, threads=4), kind)
    assert (capacity.requests, capacity.is_plenty) == (most, kind == "gevent")


class Task:
    """Takes the place of waitress's own task, which calls the application; it has waitress's own settings."""

    def __init__(self, **told):
        self.channel = SimpleNamespace(server=SimpleNamespace(adj=Adjustments(**told)))

    def capacity(self):
        return find_other_capacity()


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
    assert Task(**told).capacity() == ServerCapacity("waitress", most, setting)


def test_a_version_of_a_server_whose_objects_are_different_is_logged_and_has_no_limit(caplog):
    task = Task()
    del task.channel.server.adj
    with caplog.at_level(logging.WARNING, "flask_ssemux"):
        assert task.capacity() is None
    (line,) = caplog.messages
    assert line.startswith(
        "this version of waitress does not say how many requests it serves at a time (AttributeError("
    )
    assert line.endswith("): set SSEMUX_MAX_STREAMS below that number; docs/servers.md has more")


def test_without_a_server_there_is_no_capacity():
    assert find_other_capacity() is None


@pytest.mark.parametrize("told", [{}, {"SERVER_SOFTWARE": "simple/1"}, {"uwsgi.version": b"2.0.30"}])
def test_a_server_that_serves_one_request_at_a_time_is_refused_and_a_test_client_is_not(told):
    app = Flask(__name__)
    app.config["SSEMUX_BROKER"] = "memory:"
    flask_ssemux.init_app(app)
    with app.test_client().get("/events", environ_overrides={"wsgi.multithread": False, **told}) as response:
        first = next(iter(response.response))
    assert (b"this server serves one request at a time" in first) == bool(told)
    assert (b"ssemux.hello" in first) == (not told)


def an_application(**config):
    app = Flask(__name__)
    app.config.update(SSEMUX_BROKER="memory:", **config)
    flask_ssemux.init_app(app)
    return app


def lambda_adapter(app, path, **told):
    """Call the application as the adapters to AWS Lambda do: the answer is sent when it is complete."""
    environ = {
        **told, "REQUEST_METHOD": "GET", "SCRIPT_NAME": "", "PATH_INFO": path, "QUERY_STRING": "",
        "SERVER_NAME": "lambda", "SERVER_PORT": "443", "SERVER_PROTOCOL": "HTTP/1.1", "wsgi.version": (1, 0),
        "wsgi.input": io.BytesIO(), "wsgi.errors": sys.stderr, "wsgi.url_scheme": "https", "wsgi.multithread": False,
        "wsgi.multiprocess": False, "wsgi.run_once": False,
    }  # fmt: skip
    return environ, b"".join(run_wsgi_app(app, environ)[0])


@pytest.mark.parametrize("told", [{"REMOTE_ADDR": "127.0.0.1"}, {"REMOTE_ADDR": ""}, {}])
def test_an_adapter_that_serves_one_request_at_a_time_and_has_no_name_is_refused(told):
    # A life, or the test would hang where the stream is let in.
    environ, answer = lambda_adapter(an_application(SSEMUX_LIFETIME=1), "/events", **told)
    assert b"this server serves one request at a time" in answer


def test_a_probe_is_silent_also_under_a_server_that_does_not_notice_departures():
    app = an_application(SECRET_KEY="of the doctor", SSEMUX_HEARTBEAT=1)
    environ = EnvironBuilder("/events?ssemux_probe=" + Plan(0, 1.5).sign("of the doctor")).get_environ()
    environ.update({"REMOTE_ADDR": "127.0.0.1", "SERVER_SOFTWARE": "Mystery/1", "wsgi.multithread": True})
    frames = b"".join(run_wsgi_app(app, environ)[0])
    assert b"the probe is over" in frames
    assert b": heartbeat" not in frames


def by_werkzeugs_client(app):
    return app.test_client().get("/events").response


def by_a_function_call(app):
    return run_wsgi_app(app, EnvironBuilder("/events").get_environ())[0]


def by_paste(app):
    environ = {**EnvironBuilder("/events").get_environ(), "REMOTE_ADDR": "127.0.0.1", "paste.testing": True}
    return run_wsgi_app(app, environ)[0]


def by_httpx(app):
    client = httpx.Client(transport=httpx.WSGITransport(app), base_url="http://test")
    with client, client.stream("GET", "/events") as response:
        yield next(response.iter_bytes())


@pytest.mark.parametrize("call", [by_werkzeugs_client, by_a_function_call, by_paste, by_httpx])
def test_a_program_that_calls_the_application_directly_gets_a_stream(call, caplog):
    with caplog.at_level(logging.WARNING, "flask_ssemux"):
        answer = call(an_application())
        assert b"ssemux.hello" in next(iter(answer))
    if hasattr(answer, "close"):
        answer.close()
    assert not [record for record in caplog.records if "requests at a time" in record.getMessage()]


def test_the_advice_for_a_server_that_does_not_notice_departures():
    capacity = ServerCapacity("a server", 10, "threads=10", notices_departures=False)
    assert capacity.max_streams == 5
    assert (
        "a process takes 5 streams, the rest is kept for pages; it does not say when a client has left either, so a "
        "stream ends after 30 to 60 s and its client comes back; gunicorn"
    ) in capacity.advice


def test_the_advice_for_a_server_that_does_not_say_its_capacity():
    capacity = get_unknown_capacity({"SERVER_SOFTWARE": "Mystery/1"})
    assert capacity.max_streams == sys.maxsize
    assert capacity.advice == (
        "Mystery/1 does not say how many requests it serves at a time, and a stream is one of them for as long as it "
        "lives: set SSEMUX_MAX_STREAMS well below that number, or pages will wait for streams to end; docs/servers.md "
        "has more"
    )


def test_streams_are_limited_by_the_files_of_the_process(monkeypatch):
    resource = pytest.importorskip("resource")
    monkeypatch.setattr(resource, "getrlimit", lambda _: (1000, 2000))
    assert (limit_by_files(1), limit_by_files(3)) == (800, 266)
    monkeypatch.setattr(resource, "getrlimit", lambda _: (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    assert limit_by_files(1) == 800_000
    monkeypatch.setattr(file_limit, "resource", None)  # as on Windows
    assert limit_by_files(1) == 800_000
