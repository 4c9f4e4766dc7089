"""A test's live server is a forked process, as pytest-flask makes it: what does not reach its clients is refused."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap

import pytest

from tests.harness.without import WINDOWS

BEGIN = """
    import http.client, logging, multiprocessing, os, socket, time
    import flask, flask_ssemux
    from flask_ssemux import testing

    lines = []
    handler = logging.Handler()
    handler.emit = lambda record: lines.append(record.getMessage())
    logging.getLogger("flask_ssemux").addHandler(handler)

    app = flask.Flask("shop", instance_path="/nowhere")
    app.config.update(SSEMUX_BROKER="memory:", SSEMUX_ON_ERROR="raise")
    mux = flask_ssemux.SSEMux(app)
    mux.authorize("jobs")(lambda user: True)

    @app.route("/work")
    def work():
        return flask_ssemux.publish("jobs", "by a view")

    listening = socket.socket()
    listening.bind(("127.0.0.1", 0))
    port = listening.getsockname()[1]
    listening.close()

    def serve():
        app.run("127.0.0.1", port, use_reloader=False, threaded=True)

    def live_server():
        process = multiprocessing.get_context("fork").Process(target=serve, daemon=True)
        process.start()
        deadline = time.monotonic() + 20
        while True:
            try:
                socket.create_connection(("127.0.0.1", port)).close()
                return process
            except OSError:
                assert time.monotonic() < deadline, "the live server does not start"
                time.sleep(0.01)

    def get(path):
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
        connection.request("GET", path)
        return connection.getresponse()

    def publish():
        with app.app_context():
            try:
                return flask_ssemux.publish("jobs", "by a test")
            except flask_ssemux.ConfigurationError as error:
                return error
"""


def run(script, env=None):
    code = textwrap.dedent(BEGIN) + textwrap.dedent(script)
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, timeout=90,
        env={**os.environ, **(env or {})}, cwd=os.sep,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


def test_what_a_test_publishes_beside_its_live_server_is_refused():
    run(
        """
        assert "-" in publish()  # nobody serves yet
        process = live_server()
        assert "-" in publish()
        stream = get("/events?channel=jobs")
        assert stream.readline()
        error = publish()
        assert str(error) == (
            "SSEMUX_BROKER='memory:' stays in one process, and the process %d serves the application's streams, such "
            "as a live server that was forked for a test: its clients receive nothing of what this process publishes; "
            "publish there, for example by a request, or use 'sqlite:' (the default)" % process.pid
        ), error
        with app.app_context():
            assert flask_ssemux.publish("jobs", "x", on_error="log") is None
        assert str(error) in lines[-1], lines
        assert get("/work").status == 200
        while b"by a view" not in stream.readline():
            pass
        process.terminate()
        process.join()
        assert "-" in publish()
        """
    )


def test_a_test_with_streams_of_its_own_gets_a_warning():
    run(
        """
        process = live_server()
        assert get("/events?channel=jobs").readline()
        with testing.stream(app, channels=["jobs"]) as stream:
            for _ in range(3):
                assert "-" in publish()
                assert stream.next().data == "by a test"
        said = [line for line in lines if "the process %d also serves" % process.pid in line]
        assert len(said) == 1, lines
        process.kill()
        """
    )


def test_a_process_that_drains_serves_no_more():
    """As a worker that is replaced: the next one may publish before it has its first stream."""
    run(
        """
        (is_open, says_open), (is_drained, says_drained), (may_drain, lets_drain) = os.pipe(), os.pipe(), os.pipe()
        child = os.fork()
        if not child:
            with testing.stream(app) as stream:
                assert stream.hello
            os.write(says_open, b"x")
            os.read(may_drain, 1)
            app.extensions["ssemux"].worker.drain()
            os.write(says_drained, b"x")
            time.sleep(60)
            os._exit(0)
        os.read(is_open, 1)
        assert "the process %d serves" % child in str(publish())
        os.write(lets_drain, b"x")
        os.read(is_drained, 1)
        assert "-" in publish()
        os.kill(child, 9)
        """
    )


@pytest.mark.parametrize("lack", [None, WINDOWS], ids=["forked", "windows"])
def test_a_test_stream_ends_at_once_when_its_client_leaves(lack):
    """A process that was forked meanwhile has the connection open; and Windows cannot say that a client has left."""
    run(
        """
        stream = testing.stream(app, channels=["jobs"])
        assert stream.hello
        child = os.fork() if hasattr(os, "fork") else 1
        if not child:
            time.sleep(60)
            os._exit(0)
        began = time.monotonic()
        stream.close()
        assert stream.closed and time.monotonic() - began < 4, time.monotonic() - began
        if hasattr(os, "fork"):
            os.kill(child, 9)
        """,
        lack and lack.env,
    )
