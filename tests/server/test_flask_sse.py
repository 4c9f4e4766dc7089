"""Flask-SSE's documented examples behave the same with the real package, under ``streaming``, and on the stand-in.

The examples are in tests/apps/flask_sse_examples, and are run as they are; a client sees what a page of theirs sees.
"""

from __future__ import annotations

import json
import shutil
import urllib.request
from contextlib import ExitStack

import pytest

from tests.harness.packages import need_python
from tests.harness.servers import ROOT, Gunicorn
from tests.harness.waiting import until
from tests.server.conftest import Site

EXAMPLES = ROOT / "tests" / "apps" / "flask_sse_examples"

IMPORT = "from flask_sse import sse\n"

#: What is added to, or replaced in, each example.
WRAPPED = """
import flask_ssemux

app.config["SSEMUX_URL"] = "off"
flask_ssemux.init_app(app)
app.view_functions["sse.stream"] = flask_ssemux.streaming(app.view_functions["sse.stream"])
"""
MOVED = "from flask_ssemux.flask_sse import sse\n"


#: The examples, and the numbers of their databases.
NUMBERS = {"quickstart": 7, "channels": 8}


@pytest.fixture(scope="module", params=["before", "wrapped", "moved"])
def examples(request, tmp_path_factory, shared_redis):
    """The servers of both examples by name, and what counts the subscribers of a channel of Flask-SSE."""
    need_python("flask-sse", "flask_sse")
    folder = tmp_path_factory.mktemp(request.param)
    shutil.copytree(str(EXAMPLES / "templates"), str(folder / "templates"))
    with ExitStack() as stack:
        servers = {}
        for name, number in NUMBERS.items():
            write_example(folder / (name + ".py"), request.param)
            env = {"REDIS_URL": "%s/%d" % (shared_redis.url.rpartition("/")[0], number), "PYTHONPATH": str(ROOT)}
            servers[name] = Gunicorn(name + ":app", workers=2, env=env, cwd=folder)
            servers[name].launch()
            stack.callback(servers[name].kill)
        made = {name: Site(server.wait_ready()) for name, server in servers.items()}
        made["is_moved"] = request.param == "moved"
        made["count_subscribers"] = lambda channel: shared_redis.ask("PUBSUB", "NUMSUB", channel)[1]
        yield made


def write_example(path, variant):
    source = (EXAMPLES / path.name).read_text(encoding="utf-8")
    assert source.count(IMPORT) == 1
    source = source.replace(IMPORT, MOVED) if variant == "moved" else source
    path.write_text(source + (WRAPPED if variant == "wrapped" else ""), encoding="utf-8")


def get(site, path):
    with urllib.request.urlopen("http://127.0.0.1:%d%s" % (site.port, path), timeout=10) as answer:
        return answer.read().decode()


def open_stream(examples, site, path, channel, user=None):
    """Open a stream as a page does, and return it when its server has subscribed to the channel."""
    before = examples["count_subscribers"](channel)
    stream = site.stream(path, user=user)
    if examples["is_moved"]:
        stream.wait_for(b"ssemux.hello", 5)
    else:  # Flask-SSE sends nothing, no headers either, before the first event
        until(lambda: examples["count_subscribers"](channel) > before, 5, "no subscription to %s" % channel)
    return stream


def list_seen(stream, count):
    """Return what a page has seen that listens for its own events: name, data, and no more than so many."""
    stream.wait_for(lambda it: len(list_own(it)) >= count, 5)
    return list_own(stream)


def list_own(stream):
    return [
        (event.event, json.loads(event.data) if event.data[:1] in "{[" else event.data)
        for event in stream.events()
        if not event.event.startswith("ssemux.")
    ]


def test_the_quickstart(examples):
    site = examples["quickstart"]
    assert 'new EventSource("/stream")' in get(site, "/")
    with open_stream(examples, site, "/stream", "sse") as one, open_stream(examples, site, "/stream", "sse") as two:
        assert get(site, "/hello") == "Message sent!"
        for stream in (one, two):
            assert list_seen(stream, 1) == [("greeting", {"message": "Hello!"})]
            assert (stream.status, stream.headers["content-type"].partition(";")[0]) == (200, "text/event-stream")
        get(site, "/hello")
        for stream in (one, two):
            assert list_seen(stream, 2) == [("greeting", {"message": "Hello!"})] * 2


def test_a_view_of_the_applications_own_on_messages(examples):
    """It sends nothing before the first message, so the test publishes until one arrives."""
    site = examples["quickstart"]
    with site.stream("/own") as stream:
        until(lambda: get(site, "/hello") and list_own(stream), 10, stream.describe)
        assert set(map(str, list_own(stream))) == {str(("greeting", {"message": "Hello!"}))}


def test_channels_and_access_control(examples):
    site = examples["channels"]
    assert get(site, "/") == "/sse?channel=users.social"
    social = open_stream(examples, site, "/sse?channel=users.social", "users.social")
    analytics = open_stream(examples, site, "/sse?channel=analytics", "analytics", user="admin")
    default = open_stream(examples, site, "/sse", "sse")
    # A guard asks for the first channel of a query, so the first one is what the stream has.
    both = open_stream(examples, site, "/sse?channel=users.social&channel=analytics", "users.social")
    with social, analytics, default, both:
        for times in (1, 2):
            assert get(site, "/publish") == "published"
            assert list_seen(analytics, times) == [("message", {"active_users": 100})] * times
            assert list_seen(default, times) == [("notice", "to all")] * times
            for stream in (social, both):
                assert list_seen(stream, times) == [("message", {"user": "alice", "status": "Life is good!"})] * times
        with site.stream("/sse?channel=analytics", user="alice") as refused:
            refused.wait_headers(5)
            assert refused.status == 403
