"""Systems that lack parts of Linux: the package imports there and publishes. Streams: tests/server/test_lacks.py."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap

import pytest

from tests.harness.without import MACOS, WINDOWS

SYSTEMS, NAMES = (MACOS, WINDOWS), ("macos", "windows")


def run(lack, script, *args):
    command = [sys.executable, "-W", "error", "-c", textwrap.dedent(script), *args]
    done = subprocess.run(command, capture_output=True, timeout=30, env={**os.environ, **lack.env})
    assert (done.returncode, done.stderr) == (0, b""), done.stderr.decode()


PUBLISH = """
    import sys
    import flask_ssemux
    for count in (1, 2):
        publisher = flask_ssemux.Publisher(sys.argv[1])
        cursor = publisher.publish("jobs", {"done": count})
        assert publisher.cursor() == cursor
        publisher.close()
"""


@pytest.mark.parametrize("lack", SYSTEMS, ids=NAMES)
def test_a_publisher_needs_nothing_that_only_linux_has(lack, tmp_path):
    run(lack, PUBLISH, "sqlite:///" + str(tmp_path / "events"))


@pytest.mark.parametrize("lack", SYSTEMS, ids=NAMES)
def test_an_application_publishes_in_memory(lack):
    run(
        lack,
        """
        import flask, flask_ssemux
        app = flask.Flask("app")
        app.config["SSEMUX_BROKER"] = "memory:"
        flask_ssemux.init_app(app)
        with app.app_context():
            assert flask_ssemux.publish("jobs", "done").endswith("-1")
        """,
    )


def test_a_publisher_of_windows_reaches_redis(redis_url):
    run(WINDOWS, PUBLISH, redis_url)


@pytest.mark.parametrize("lack", SYSTEMS, ids=NAMES)
def test_all_modules_can_be_imported_that_a_system_can_use(lack):
    run(
        lack,
        """
        import importlib, pkgutil, select
        import flask_ssemux
        for module in pkgutil.walk_packages(flask_ssemux.__path__, "flask_ssemux."):
            if not module.name.endswith(("gunicorn_conf", "gunicorn_settings")):  # for gunicorn, which patches
                importlib.import_module(module.name)
        """,
    )


def test_a_process_is_not_killed_when_it_is_asked_whether_it_lives():
    """Windows' os.kill() ends a process whatever the number is: no lease may be checked by it."""
    run(
        WINDOWS,
        """
        import os
        from flask_ssemux.brokers.names import is_dead_process, make_process_name
        os.kill = None
        assert not is_dead_process(make_process_name())
        """,
    )
