"""The status page's routes through Flask's test client: which user gets what, and with which headers."""

from __future__ import annotations

import base64
import builtins
import gzip
import json
import re
from hmac import compare_digest
from pathlib import Path

import flask
import pytest

import flask_ssemux
from flask_ssemux.errors import BrokerUnavailable, InvalidEvent
from flask_ssemux.hub.stream_state import CLOSED
from flask_ssemux.status.feed import StatusFeed
from flask_ssemux.status.metrics import MISSING
from flask_ssemux.testing import frozen, stream
from tests.unit.test_extension import first

STATIC = Path(flask_ssemux.__file__).with_name("static")
PATHS = ["/status", "/status.css", "/status.js", "/status_parts.js", "/status.json", "/metrics", "/status/stream"]


@pytest.fixture
def mux():
    """X-User names the user, and root may see the page."""
    made = flask_ssemux.SSEMux()
    made.identify(lambda: flask.request.headers.get("X-User"))
    return made


def may_look():
    return flask.request.headers.get("X-User") == "root"


ROOT = {"headers": {"X-User": "root"}}


@pytest.fixture
def client(make_app, mux):
    mux.allow_status(may_look)
    return make_app(mux).test_client()


@pytest.mark.parametrize("path", PATHS)
def test_there_is_no_page_unless_the_application_allows_it(make_app, mux, path):
    app = make_app(mux)
    assert app.test_client().get("/events" + path).status_code == 404
    assert not [rule for rule in app.url_map.iter_rules() if "status" in rule.rule or "metrics" in rule.rule]


@pytest.mark.parametrize("path", PATHS)
def test_a_denied_request_gets_a_403(client, path):
    assert client.get("/events" + path).status_code == 403
    assert client.get("/events" + path, headers={"X-User": "ada"}).status_code == 403


def test_the_page_can_be_allowed_before_and_after_the_application_is_set_up(make_app, mux):
    app = make_app(mux)
    assert mux.allow_status(may_look) is may_look
    mux.allow_status(lambda: True)  # it replaces the previous one
    other = make_app(mux, "other")
    assert app.test_client().get("/events/status.json").status_code == 200
    assert other.test_client().get("/events/status.json").status_code == 200


def test_a_result_that_is_neither_true_nor_false_does_not_allow(make_app, mux):
    async def no():
        return False

    mux.allow_status(no)
    client = make_app(mux).test_client()
    assert [client.get("/events" + path).status_code for path in ("/status", "/status.json", "/metrics")] == [500] * 3


def test_its_stream_ends_like_other_streams(make_app, mux):
    may, asks = [True], {"SSEMUX_RECHECK": 60, "SSEMUX_BROKER": "memory:"}
    mux.allow_status(lambda: may[0])
    app = make_app(mux, **asks)
    app.secret_key = "for tests"
    with frozen(app) as clock, stream(app, "/events/status/stream", user=7) as s:
        clock.advance(70)
        assert not s.closed
        may[0] = False
        clock.advance(70)
        s.wait_closed()
    may[0] = True
    with stream(app, "/events/status/stream", user=7) as s, app.app_context():
        flask_ssemux.disconnect(7)
        s.wait_closed()
    with app.app_context():
        ticket = flask_ssemux.ticket(7)
    with stream(app, "/events/status/stream?ticket=" + ticket) as s:
        assert s.hello
    refused = app.test_client().get("/events/status/stream?ticket=" + ticket)
    assert (refused.status_code, refused.get_json()["error"]) == (401, "bad_ticket")


def test_the_function_may_abort(make_app, mux):
    mux.allow_status(lambda: flask.abort(401))
    assert make_app(mux).test_client().get("/events/status").status_code == 401


def test_the_page_is_below_the_blueprints_url(make_app, mux):
    mux.allow_status(may_look)
    client = make_app(mux, SSEMUX_URL="/api/live").test_client()
    assert client.get("/api/live/status", **ROOT).status_code == 200
    assert client.get("/events/status", **ROOT).status_code == 404


def test_the_page_loads_nothing_from_elsewhere(client):
    response = client.get("/events/status", **ROOT)
    assert response.content_type == "text/html; charset=utf-8"
    policy = response.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy and "unsafe" not in policy and "http" not in policy
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    text = response.get_data(as_text=True)
    assert "//" not in text.replace("<!doctype", "") and "style=" not in text and "onclick" not in text


@pytest.mark.parametrize("path, kind", [("/status.css", "text/css"), ("/status.js", "text/javascript")])
def test_its_files_are_cached_until_they_change(client, path, kind):
    response = client.get("/events" + path, **ROOT)
    assert (response.content_type, response.headers["Cache-Control"]) == (kind + "; charset=utf-8", "no-cache")
    headers = {**ROOT["headers"], "If-None-Match": response.headers["ETag"]}
    assert client.get("/events" + path, headers=headers).status_code == 304


def test_json(client):
    response = client.get("/events/status.json", **ROOT)
    shown = response.get_json()
    assert response.headers["Cache-Control"] == "no-store"
    assert (shown["totals"]["workers"], shown["totals"]["streams"], shown["totals"]["events"]) == (1, 0, 0)
    (worker,) = shown["workers"]
    assert worker["age"] < 5 and "sketches" not in worker
    assert shown["broker"]["is_reachable"] is True


def test_the_docs_name_all_figures(client):
    docs = (Path(__file__).resolve().parents[2] / "docs" / "status.md").read_text(encoding="utf-8")
    totals = client.get("/events/status.json", **ROOT).get_json()["totals"]
    assert {name for name in totals if "`%s`" % name not in docs} == {"workers", "channels_exact", "silence_sum"}


def test_the_password_of_the_docs(make_app, mux):
    docs = (Path(__file__).resolve().parents[2] / "docs" / "status.md").read_text(encoding="utf-8")
    code = re.findall(r"```python\n(.*?)```", docs, re.S)[1]
    app = make_app(mux, STATUS_PASSWORD="hush")
    exec(code, {"mux": mux, "app": app, "request": flask.request, "compare_digest": compare_digest})

    def status(password):
        given = base64.b64encode(b"prometheus:" + password).decode()
        return app.test_client().get("/events/metrics", headers={"Authorization": "Basic " + given}).status_code

    assert status(b"hush") in (200, 501)
    assert status(b"hash") == status(b"") == app.test_client().get("/events/metrics").status_code == 403


def test_the_page_is_small():
    sizes = {path.name: len(gzip.compress(path.read_bytes())) for path in STATIC.glob("status*")}
    assert len(sizes) == 6 and sum(sizes.values()) < 13_500, sizes


def test_published_is_counted(client):
    with client.application.app_context():
        for _ in range(3):
            flask_ssemux.publish("jobs:1", "x")
    shown = client.get("/events/status.json", **ROOT).get_json()
    assert (shown["totals"]["published"], shown["totals"]["events"]) == (3, 3)


def test_the_stream_begins_with_the_status(client):
    seen = first(client.application, "/events/status/stream", **ROOT)
    assert [event.event for event in seen.events] == ["ssemux.hello"]
    with client.get("/events/status/stream", buffered=False, **ROOT) as response:
        body = response.iter_encoded()
        assert b"event: ssemux.hello" in next(body)
        frame = next(body)
    assert frame.startswith(b'event: ssemux.status\ndata: {"at":')
    assert response.headers["X-Accel-Buffering"] == "no"


def test_the_status_is_not_collected_for_a_client_that_gets_no_stream(client, monkeypatch):
    """It takes seconds while the broker is away."""
    made, make_frame = [], StatusFeed.make_frame
    monkeypatch.setattr(StatusFeed, "make_frame", lambda feed: made.append(1) or make_frame(feed))
    assert client.head("/events/status/stream", **ROOT).status_code == 200
    client.application.extensions["ssemux"].worker.drain()
    assert client.get("/events/status/stream", **ROOT).get_data().startswith(b"retry:")
    assert not made


def test_a_client_that_left_during_the_opening_is_sent_nothing(client):
    """The thread that sends the status stops for it, too."""
    worker = client.application.extensions["ssemux"].worker
    feed = StatusFeed(worker)
    permit = worker.running().admission.admit(None)
    stream = permit.stream = worker.running().hub.open_stream((), None, on_closed=feed.remove_stream)
    stream.mark_closed("its client left")
    feed.add_stream(stream, b": status\n\n")
    assert stream.state is CLOSED
    assert not feed._streams and not feed._loop.is_running


def test_a_refusal_of_the_stream_is_not_buffered_either(client):
    response = client.get("/events/status/stream")
    assert (response.status_code, response.headers["X-Accel-Buffering"]) == (403, "no")


def test_metrics(client):
    pytest.importorskip("prometheus_client")
    response = client.get("/events/metrics", **ROOT)
    assert response.content_type.startswith("text/plain; version=0.0.4")
    assert "\nssemux_workers 1.0\n" in response.get_data(as_text=True)


def test_metrics_without_the_package(client, monkeypatch):
    def load(name, *rest):
        if name.startswith("prometheus_client"):
            raise ImportError(name)
        return real(name, *rest)

    real = builtins.__import__
    monkeypatch.setattr(builtins, "__import__", load)
    response = client.get("/events/metrics", **ROOT)
    assert (response.status_code, response.get_data(as_text=True)) == (501, MISSING + "\n")
    assert "pip install 'flask_ssemux[metrics]'" in MISSING


def test_a_broker_that_is_unavailable(make_app, mux, tmp_path):
    (tmp_path / "file").write_text("x")
    mux.allow_status(may_look)
    app = make_app(mux, SSEMUX_BROKER="sqlite:///%s/file/x" % tmp_path)
    response = app.test_client().get("/events/status.json", **ROOT)
    shown = response.get_json()
    assert response.status_code == 200
    assert (shown["broker"]["is_reachable"], shown["totals"]["workers"], shown["totals"]["events"]) == (False, 1, None)
    assert shown["broker"]["trouble"].startswith("the SQLite store ")


def test_the_json_has_an_hour_of_each_worker_and_no_more(client, monkeypatch):
    reporter = client.application.extensions["ssemux"].worker.running().reporter
    start = 1_800_000_000
    with client.application.app_context():
        flask_ssemux.publish("jobs:1", "x")
        with pytest.raises(InvalidEvent):
            flask_ssemux.publish("jobs:1", "x", event="")
        assert flask_ssemux.publish_many([("jobs:1", "x", "")], on_error="log") is None
    for at in range(start, start + 2 * 3600, 5):
        monkeypatch.setattr("flask_ssemux.worker.report.time.time", lambda at=at: at)
        reporter._report()
    shown = client.get("/events/status.json", **ROOT).get_json()
    (worker,) = shown["workers"]
    assert (shown["totals"]["publish_failed"], shown["totals"]["errors"]) == (2, 2)
    assert (len(worker["past"]), worker["past"][-1]) == (120, [at, 0, 0, 1, 2])
    assert (len(worker["hour"]), worker["hour"][-1]) == (61, [at - 55, 0, 0, 1, 2, 1])
    assert len(json.dumps([worker["past"], worker["hour"]])) < 10_000


def test_an_hour_is_kept_while_the_broker_is_away(client, monkeypatch):
    running = client.application.extensions["ssemux"].worker.running()

    def refuse():
        raise BrokerUnavailable("away")

    monkeypatch.setattr(running.broker.history, "get_newest_cursor", refuse)
    running.reporter._report()
    assert running.reporter.get_figures()["hour"][-1][5] is None
