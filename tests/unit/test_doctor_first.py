"""The doctor as the first thing that somebody runs: without Flask, without an application, or without ``init_app``."""

from __future__ import annotations

import http.server
import logging
import subprocess
import sys
import threading

import flask
import pytest
from werkzeug.middleware.dispatcher import DispatcherMiddleware

from flask_ssemux.doctor import reach
from flask_ssemux.util import own_logger
from tests.harness.doctor import Diagnosis
from tests.harness.servers import environment
from tests.harness.without import Lack


class OldStream(http.server.BaseHTTPRequestHandler):
    """An old stream in pure Python: a frame, and the end."""

    def do_GET(self):
        self.send_response(200 if self.path == "/events" else 404)
        self.send_header("Content-Type", "text/event-stream")
        self.end_headers()
        self.wfile.write(b"data: 1\n\n")

    def log_message(self, *args):
        pass


@pytest.fixture
def old_stream():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), OldStream)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    yield "http://127.0.0.1:%d" % server.server_address[1]
    server.shutdown()
    server.server_close()


def run(*command, cwd, env=None):
    """Run the command as a user does; return its result. ``Diagnosis`` reads the JSON."""
    done = subprocess.run(
        [sys.executable, "-m", *command, "--json"], cwd=str(cwd), env=environment({"FLASK_APP": None, **(env or {})}),
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    return Diagnosis(done.returncode, done.stdout, done.stderr)


def test_without_flask(old_stream, tmp_path):
    without = Lack(modules=["flask", "werkzeug", "itsdangerous", "gevent", "gunicorn"]).env
    found = run("flask_ssemux", "doctor", old_stream, "--timeout", "0.5", cwd=tmp_path, env=without)
    assert found.report["subject"] == old_stream + "/events"
    assert found.check("answer")["said"] == "a stream", found
    assert found.check("silence")["said"] == "the stream ended by itself"
    found = run("flask_ssemux", "doctor", cwd=tmp_path, env=without)
    assert found.statuses == {"application": "skipped", "gunicorn": "skipped"}


def test_flask_without_an_application_and_without_init_app(old_stream, tmp_path):
    found = run("flask", "ssemux", "doctor", old_stream, "--timeout", "0.5", cwd=tmp_path)
    assert (found.check("answer")["said"], found.code) == ("a stream", 0)
    found = run("flask", "ssemux", "doctor", cwd=tmp_path)
    assert (found.code, found.statuses) == (1, {"application": "fail", "gunicorn": "skipped"})
    assert found.check("application")["said"].startswith("there is no application here: Could not locate a Flask")
    (tmp_path / "app.py").write_text("import flask\napp = flask.Flask('shop')\napp.secret_key = 'k'\n")
    (tmp_path / "gunicorn.conf.py").write_text("workers = 2\n")
    found = run("flask", "ssemux", "doctor", cwd=tmp_path)
    assert found.statuses["set-up"] == "warn" and found.statuses["worker class"] == "fail"
    assert found.advice("set-up") == ["flask_ssemux.init_app(app)"]


BROKEN = """
import flask, flask_ssemux
app = flask.Flask("shop")
app.config["SSEMUX_BROKER"] = "memory:"
@app.route("/events")
def calendar():
    return "a page"
flask_ssemux.init_app(app)
"""


def test_an_application_that_cannot_be_created(tmp_path):
    (tmp_path / "app.py").write_text(BROKEN)
    found = run("flask", "ssemux", "doctor", cwd=tmp_path)
    assert (found.code, found.statuses["application"]) == (1, "fail")
    said = found.check("application")["said"]
    assert said.startswith("the application cannot be loaded: GET /events is answered by the endpoint ")
    assert "'calendar'" in said and "'ssemux.events'" in said
    (tmp_path / "app.py").write_text("1 / 0\n")
    said = run("flask", "ssemux", "doctor", cwd=tmp_path).check("application")["said"]
    assert "ZeroDivisionError: division by zero" in said


# -- what it sees of an application --------------------------------------------------


@pytest.fixture
def examined(make_app, tmp_path, monkeypatch):
    """examined(change, …): the doctor's results for an application that ``change`` was called with."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("GUNICORN_CMD_ARGS", raising=False)

    def run_here(change, **config):
        app = make_app(**{"SECRET_KEY": "key", "SSEMUX_BROKER": "sqlite:", **config})
        change(app)
        result = app.test_cli_runner().invoke(args=["ssemux", "doctor", "--json"])
        return Diagnosis(result.exit_code, result.output)

    return run_here


def test_an_endpoint_for_the_same_url_that_came_later(examined):
    found = examined(lambda app: app.add_url_rule("/events", "calendar", lambda: "a page"))
    assert (found.code, found.statuses["streams"]) == (1, "fail")
    assert "'calendar'" in found.check("streams")["said"]
    assert "set SSEMUX_URL to a path that no other endpoint has" in found.check("streams")["advice"][0]["text"]


def test_a_configured_url_that_is_not_there(examined):
    def mount(app):
        app.wsgi_app = DispatcherMiddleware(flask.Flask("nothing"), {"/shop": app.wsgi_app})

    found = examined(mount, SSEMUX_URL="/stream")
    assert (found.code, found.statuses["url"]) == (1, "fail")
    assert found.check("url")["said"] == "the application answers GET /stream (SSEMUX_URL) with 404"

    def refuse():
        flask.abort(404)

    assert examined(lambda app: app.before_request(refuse)).statuses["url"] == "fail"
    assert "url" not in examined(lambda app: None).statuses
    assert "url" not in examined(lambda app: app.before_request(lambda: 1 / 0)).statuses


@pytest.mark.parametrize("with_login, status", [(False, "warn"), (True, "fail")])
def test_no_secret_key(examined, with_login, status):
    found = examined(lambda app: with_login and setattr(app, "login_manager", object()), SECRET_KEY=None)
    assert found.statuses["secret key"] == status
    assert found.advice("secret key")[0].startswith("python3 -c 'import secrets;")


def test_a_logger_that_was_disabled(examined, monkeypatch):
    monkeypatch.setattr(own_logger, "_was_disabled", False)
    own_logger.log.disabled = True
    found = examined(lambda app: None)
    assert found.statuses["logging"] == "warn"
    assert "'disable_existing_loggers': False" in found.advice("logging")
    assert not own_logger.log.disabled


def test_a_level_that_hides_warnings(examined, monkeypatch):
    monkeypatch.setattr(own_logger, "_was_disabled", False)
    level = own_logger.log.level
    try:
        own_logger.log.setLevel(logging.ERROR)
        found = examined(lambda app: None)
    finally:
        own_logger.log.setLevel(level)
    assert found.check("logging")["said"] == "warnings of the logger 'flask_ssemux' are not logged: its level is ERROR"
    assert "logging" not in examined(lambda app: None).statuses


NGINX = b"<html>\r\n<body><center><h1>404 Not Found</h1></center>\r\n<hr><center>nginx</center></body></html>"


@pytest.mark.parametrize(
    "url, path, body, said",
    [
        ("http://h/events", "/events", NGINX, "The proxy gave this answer itself"),
        ("http://h/x", None, b"", "the stream is at SSEMUX_URL, after a prefix that a proxy may add."),
        ("http://h/events", "/stream", b"", "This application serves it at /stream."),
        ("http://h/shop/stream", "/stream", b"", "Is it mounted below a prefix, which belongs into the URL?"),
    ],
)
def test_a_404_at_a_url(url, path, body, said):
    assert said in reach.describe_missing_url(reach.urlsplit(url), path, body)


def test_the_commands_without_an_application_are_those_of_an_application(make_app):
    from flask_ssemux import cli

    app = make_app()
    assert set(cli.commands.commands) == set(app.cli.commands["ssemux"].commands)
