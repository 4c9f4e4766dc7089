"""The package's warnings appear in the log although the application's configuration disables existing loggers."""

from __future__ import annotations

import subprocess
import sys

import pytest

DICT = 'logging.config.dictConfig({"version": 1})'
FILE = """
with open("logging.ini", "w") as file:
    file.write("[loggers]\\nkeys=root\\n[handlers]\\nkeys=err\\n[formatters]\\nkeys=\\n"
               "[logger_root]\\nlevel=INFO\\nhandlers=err\\n[handler_err]\\nclass=StreamHandler\\nargs=()\\n")
logging.config.fileConfig("logging.ini")
"""

#: An application whose wrapped view sends raw text as an event stream, of which a warning tells.
APP = """
import logging.config, flask, flask_ssemux
from flask_ssemux import init_app  # as most applications import it: now the logger exists
%s
app = flask.Flask("shop", instance_path="/nowhere")
app.config["SSEMUX_BROKER"] = "memory:"
flask_ssemux.init_app(app)
@app.route("/old")
@flask_ssemux.streaming
def old():
    return flask.Response(iter(["raw text"]), content_type="text/event-stream")
%s
for _ in range(3):
    print(app.test_client().get("/old").data.decode())
%s
"""

SAID = "the logger 'flask_ssemux' was disabled, as logging.config does with all loggers that it is not given"
WARNING = "the body is no event stream"


def run(folder, before="", after="", later=""):
    done = subprocess.run(
        [sys.executable, "-c", APP % (before, after, later)],
        cwd=str(folder),
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.stdout.splitlines()[:3] == ["raw text"] * 3, done.stderr
    return done.stderr


@pytest.mark.parametrize("config", [DICT, FILE], ids=["dictConfig", "fileConfig"])
@pytest.mark.parametrize("place", ["before", "after"])
def test_warnings_appear_and_one_line_says_why(tmp_path, config, place):
    """The application configures logging before it calls init_app, or when everything is set up."""
    said = run(tmp_path, **{place: config})
    assert said.count(WARNING) == 1
    assert said.count(SAID) == 1
    assert "'disable_existing_loggers': False" in said


def test_a_logger_that_is_disabled_while_streams_are_served(tmp_path):
    """The timer notices it."""
    later = (
        DICT
        + """
from flask_ssemux.util.own_logger import log
import time
deadline = time.monotonic() + 30
while log.disabled and time.monotonic() < deadline:
    time.sleep(0.05)
"""
    )
    head = "import flask_ssemux.worker.running as running; running.REPORT_INTERVAL = 0.3"
    assert run(tmp_path, before=head, later=later).count(SAID) == 1


def test_the_level_of_the_logger_is_the_applications_choice(tmp_path):
    config = 'logging.config.dictConfig({"version": 1, "loggers": {"flask_ssemux": {"level": "ERROR"}}})'
    assert run(tmp_path, before=config) == ""
    assert run(tmp_path, after=config) == ""


def test_a_publisher(tmp_path):
    code = (
        """
import logging.config
from flask_ssemux import Publisher
%s
Publisher("sqlite:////nowhere/x.sqlite3")
Publisher("sqlite:////nowhere/x.sqlite3")
"""
        % DICT
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stderr.count(SAID) == 1
