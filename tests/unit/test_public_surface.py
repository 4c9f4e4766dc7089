"""The names, signatures and errors that an application imports, and what is needed to import them."""

from __future__ import annotations

import ast
import gc
import inspect
import os
import subprocess
import sys
import weakref
from pathlib import Path

import flask
import pytest

import flask_ssemux
from flask_ssemux import Publisher, SSEMux, errors, testing
from flask_ssemux.errors import ApplicationError, ConfigurationError, EventTooLarge
from flask_ssemux.testing import open_stream
from tests.harness.servers import ROOT
from tests.harness.waiting import until
from tests.unit.test_extension import refusal

# -- names -------------------------------------------------------------------


def test_all_names_can_be_imported_and_are_listed():
    assert flask_ssemux.__all__ == sorted(flask_ssemux.__all__)
    assert set(flask_ssemux.__all__) <= set(dir(flask_ssemux))
    assert all(getattr(flask_ssemux, name).__doc__ for name in flask_ssemux.__all__)
    star: dict = {}
    exec("from flask_ssemux import *", star)
    assert set(flask_ssemux.__all__) <= set(star)


def test_type_checkers_find_the_same_names_in_the_same_modules():
    tree = ast.parse(Path(flask_ssemux.__file__).read_text(encoding="utf-8"))
    (block,) = [node for node in tree.body if isinstance(node, ast.If) and isinstance(node.test, ast.Name)]
    found = {alias.name: statement.module for statement in block.body for alias in statement.names}
    lazy = [name for name in flask_ssemux.__all__ if not hasattr(errors, name)]
    assert found == {name: flask_ssemux._MODULES.get(name, ".functions")[1:] for name in lazy}


def test_a_name_that_does_not_exist():
    message = "module 'flask_ssemux' has no attribute 'publsh'"
    assert refusal(AttributeError, lambda: flask_ssemux.publsh) == message


#: Errors that are answered to clients. The application's code never sees them.
ANSWERS = {"ClientError", "BadRequest", "QueryTooLong", "Unauthorized", "BadTicket", "Forbidden"}


def test_every_error_that_reaches_users_is_a_public_name():
    found = {name for name, value in vars(errors).items() if inspect.isclass(value) and issubclass(value, Exception)}
    assert found >= ANSWERS
    assert found - ANSWERS == {name for name in flask_ssemux.__all__ if hasattr(errors, name)}
    assert all(getattr(flask_ssemux, name) is getattr(errors, name) for name in found - ANSWERS)


def test_a_publisher_shows_only_its_purpose(tmp_path):
    with Publisher("sqlite:///%s" % (tmp_path / "events.sqlite3")) as publisher:
        shown = {name for name in dir(publisher) if not name.startswith("_")}
    assert shown == {
        "publish", "send_to_user", "broadcast", "publish_many", "publish_many_on_commit", "publish_on_commit",
        "send_to_user_on_commit", "broadcast_on_commit",
        "cursor", "disconnect", "revoke", "start_run", "cancel_run", "max_event_bytes", "close",
    }  # fmt: skip


# -- signatures --------------------------------------------------------------

PUBLISHING = {
    "publish": "(channel, data, event=None, *, latest=False, on_error=None, session=None)",
    "send_to_user": "(user_id, data, event=None, *, latest=False, on_error=None, session=None)",
    "broadcast": "(data, event=None, *, latest=False, on_error=None, session=None)",
    "publish_many": "(events, *, on_error=None)",
    "publish_on_commit": "(session, channel, data, event=None, *, latest=False)",
    "send_to_user_on_commit": "(session, user_id, data, event=None, *, latest=False)",
    "broadcast_on_commit": "(session, data, event=None, *, latest=False)",
    "publish_many_on_commit": "(session, events)",
    "cursor": "()",
    "disconnect": "(user_id=None, *, channel=None, stop=False, reason='disconnected')",
    "revoke": "(user_id, channel, *, reason='revoked')",
}
OF_AN_APPLICATION = {"presence": "(channel)", "ticket": "(user_id, *, channels=None, expires=60)"}


def signature(function):
    found = inspect.signature(function)
    plain = [one.replace(annotation=one.empty) for one in found.parameters.values()]
    return str(found.replace(parameters=plain, return_annotation=found.empty))


@pytest.mark.parametrize(
    "owner", [flask_ssemux, SSEMux(), Publisher("redis://nowhere")], ids=["module", "SSEMux", "Publisher"]
)
def test_options_are_keyword_only_and_the_same_everywhere(owner):
    wanted = PUBLISHING if isinstance(owner, Publisher) else {**PUBLISHING, **OF_AN_APPLICATION}
    assert {name: signature(getattr(owner, name)) for name in wanted} == wanted


@pytest.mark.parametrize(
    "function, wanted",
    [
        (Publisher, "(url=None, *, max_event_bytes=None, namespace=None, dumps=None, on_error=None)"),
        (SSEMux, "(app=None)"),
        (
            lambda: SSEMux().add_stream,
            "(url, channels=None, *, feed=None, endpoint=None, personal=False, public=False, decorators=(), "
            "blueprint=None)",
        ),
        (lambda: SSEMux().feed, "(pattern, *, linger=5.0)"),
        (lambda: SSEMux().authorize, "(pattern)"),
        (lambda: testing.OpenStream.expect, "(self, event, data=ANY, *, timeout=1.0)"),
    ],
    ids=["Publisher", "SSEMux", "add_stream", "feed", "authorize", "expect"],
)
def test_other_signatures(function, wanted):
    function = function if inspect.isclass(function) else function()
    assert signature(function).replace(repr(open_stream.ASK), "ANY") == wanted


def test_what_was_positional_by_mistake_is_refused(make_app):
    with make_app().app_context():
        for call in (
            lambda: flask_ssemux.publish("jobs", 1, "progress", True),
            lambda: SSEMux().broadcast(1, "deploy", True),
            lambda: flask_ssemux.disconnect(7, None, True),
        ):
            with pytest.raises(TypeError):
                call()


# -- SSEMux ------------------------------------------------------------------


def test_events_are_counted_once_whichever_object_publishes_them(make_app):
    mux = SSEMux()
    app = make_app(mux)
    with app.app_context():
        mux.publish("jobs", 1)
        mux.broadcast(2)
        flask_ssemux.publish("jobs", 3)
        assert app.extensions["ssemux"].worker.running().reporter.get_figures()["published"] == 3


def test_identify_twice_is_refused():
    mux = SSEMux()

    @mux.identify
    def find_user():
        return None

    assert refusal(ApplicationError, mux.identify, lambda: 7) == (
        "identify has a function already, %s.test_identify_twice_is_refused.<locals>.find_user: an application "
        "identifies users in one place; remove one of the two" % __name__
    )


def use_application(app, mux):
    with testing.stream(app, "/jobs/stream") as stream, app.app_context():
        mux.publish("jobs", 7)
        assert stream.next().data == "7"
    testing.close(app)


@pytest.mark.parametrize("use", [lambda app, mux: None, use_application], ids=["built", "used"])
def test_applications_are_not_kept_alive_by_a_shared_ssemux(bare_app, use):
    mux = SSEMux()
    mux.authorize("jobs")(lambda user_id: True)
    mux.allow_status(lambda: True)
    mux.add_stream("/jobs/stream", ["jobs"])

    def make_and_use(number):
        app = bare_app("shop%d" % number, SSEMUX_BROKER="memory:")
        mux.init_app(app)
        use(app, mux)
        return weakref.ref(app)

    made = [make_and_use(number) for number in range(5)]

    def is_gone():  # the thread of a used one ends within a moment
        gc.collect()
        return [reference() for reference in made] == [None] * 5

    until(is_gone, 5, "applications live on")


def test_a_stream_that_is_added_later_reaches_all_living_applications(make_app):
    mux = SSEMux()
    apps = [make_app(mux, "one"), make_app(mux, "two")]
    mux.add_stream("/news", ["news"], public=True)
    assert [app.test_client().head("/news").status_code for app in apps] == [200, 200]


# -- Publisher ---------------------------------------------------------------


@pytest.fixture
def url(tmp_path):
    return "sqlite:///%s" % (tmp_path / "events.sqlite3")


def test_a_publisher_reads_the_limit_of_an_event_from_the_environment(url, monkeypatch):
    monkeypatch.setenv("SSEMUX_MAX_EVENT_BYTES", "100")
    with Publisher(url) as small, Publisher(url, max_event_bytes=1000) as larger:
        assert "has at most 100 bytes" in refusal(EventTooLarge, small.publish, "jobs", "x" * 100)
        larger.publish("jobs", "x" * 100)


def test_an_impossible_limit(url, monkeypatch):
    monkeypatch.setenv("SSEMUX_MAX_EVENT_BYTES", "many")
    assert refusal(ConfigurationError, Publisher, url) == (
        "SSEMUX_MAX_EVENT_BYTES='many': must be bytes from 64 to 536870912, and at most half of SSEMUX_QUEUE_BYTES"
    )


# -- without Flask, gevent and gunicorn --------------------------------------

#: Only the named ones of the modules that pip installs can be imported.
BARE = """
import sys

class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {"flask", "werkzeug", "jinja2", "click", "itsdangerous", "markupsafe", "blinker",
                                      "gevent", "greenlet", "gunicorn", "packaging", "zope"}:
            raise ModuleNotFoundError("No module named %r" % name, name=name)

sys.meta_path.insert(0, Missing())
import flask_ssemux
"""


def run_bare(code, *args, **env):
    done = subprocess.run(
        [sys.executable, "-c", BARE + code, *args],
        capture_output=True, text=True, timeout=30, cwd=ROOT, env={**os.environ, **env},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("store", ["sqlite", "redis"])
def test_a_process_without_flask_gevent_and_gunicorn_publishes(make_app, url, store, request):
    broker = url if store == "sqlite" else request.getfixturevalue("shared_redis").url + "?prefix=bare"
    code = """if True:
        with flask_ssemux.Publisher() as publisher:
            print(publisher.publish("jobs", {"done": 7}, event="progress"), publisher.cursor())
            publisher.disconnect(7)
        try:
            flask_ssemux.Publisher("sqlite:").publish("jobs", 1)
        except flask_ssemux.ConfigurationError:
            pass
        assert not {"flask", "gevent", "gunicorn"} & set(sys.modules)
    """
    app = make_app(SSEMUX_BROKER=broker)
    with testing.stream(app) as stream:
        cursor, newest = run_bare(code, SSEMUX_BROKER=broker).split()
    with app.app_context():
        assert cursor == newest
        assert flask_ssemux.cursor().rpartition("-")[0] == cursor.rpartition("-")[0]
    assert stream.status == 200


def test_an_application_without_flask_gets_an_error_that_names_it():
    code = """if True:
        for name in ("SSEMux", "publish"):
            try:
                getattr(flask_ssemux, name)
            except ImportError as error:
                print(error)
    """
    assert run_bare(code).splitlines() == [
        "flask_ssemux.%s needs flask, which is not installed: pip install flask_ssemux installs all that a web "
        "application needs; in a process without Flask use flask_ssemux.Publisher(url)" % name
        for name in ("SSEMux", "publish")
    ]


def test_a_process_that_only_publishes_loads_no_part_of_an_application(url):
    code = "import sys, flask_ssemux; flask_ssemux.Publisher(sys.argv[1]).publish('jobs', 1); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code, url], capture_output=True, text=True, timeout=30, check=True)
    loaded = set(done.stdout.split())
    assert not {"flask", "gevent", "gunicorn", "flask_ssemux.extension", "flask_ssemux.hub.hub"} & loaded


def test_an_application_finds_everything_as_before(bare_app):
    app = bare_app(SSEMUX_BROKER="memory:")
    mux = flask_ssemux.init_app(app)
    assert type(mux) is flask_ssemux.SSEMux and isinstance(app, flask.Flask)
    testing.close(app)
