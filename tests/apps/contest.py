"""Notifications of a contest's site, built like those of CTFd, in three forms: FORM is before, wrapped or moved.

before: the view `/events` of a blueprint, behind the site's own decorator, reads a queue of each client in this worker,
and yields a ping when nothing came. It answers 204 where notifications are turned off (EVENTS=off).
wrapped: the same view below ``streaming``. As `/events` is taken, SSEMUX_URL is off.
moved: a stream at the same URL, with the same guards and events; any worker may publish. Heartbeats are the pings.

The page (tests/apps/page.py) does not change. PING is the number of seconds between two pings.
"""

from __future__ import annotations

import functools
import json
import os

from flask import Blueprint, Flask, Response, abort, redirect, request, session, stream_with_context

import flask_ssemux
from tests.apps.page import page

PING = float(os.environ.get("PING", "5"))


def create_app() -> Flask:
    app = Flask(__name__, instance_path=os.environ.get("INSTANCE_PATH"))
    app.secret_key = "for tests"
    app.config.update(SSEMUX_URL=None, EVENTS=os.environ.get("EVENTS", "on"))
    app.register_blueprint(page)
    app.add_url_rule("/login", "login", login)
    publish = {"before": add_before, "wrapped": add_wrapped, "moved": add_moved}[os.environ["FORM"]](app)

    @app.route("/api/v1/notifications", methods=["POST"])
    def notify():
        publish(json.dumps({**request.get_json(), "type": "toast", "sound": True}))
        return {"success": True}

    return app


def login():
    session["user"] = request.args["user"]
    return redirect("/?" + request.query_string.decode())


def authed_only(view):
    @functools.wraps(view)
    def decorated(*args, **kwargs):
        if "user" not in session:
            abort(403)
        return view(*args, **kwargs)

    return decorated


def enabled_only(view):
    @functools.wraps(view)
    def decorated(*args, **kwargs):
        from flask import current_app

        return view(*args, **kwargs) if current_app.config["EVENTS"] == "on" else ("", 204)

    return decorated


class EventManager:
    """The queues of all clients of this worker."""

    def __init__(self) -> None:
        self.clients: dict[int, object] = {}

    def publish(self, data: str) -> None:
        for queue in list(self.clients.values()):
            queue.put("event:notification\ndata:%s\n\n" % data)

    def subscribe(self):
        from gevent import Timeout
        from gevent.queue import Queue

        queue = Queue()
        self.clients[id(queue)] = queue
        try:
            yield "event:ping\ndata:ping\n\n"
            while True:
                with Timeout(PING, False):
                    yield queue.get()
                    continue
                yield "event:ping\ndata:ping\n\n"
        finally:
            del self.clients[id(queue)]


def make_old_view(manager: EventManager):
    def subscribe():
        @stream_with_context
        def generate():
            yield from manager.subscribe()

        return Response(generate(), mimetype="text/event-stream")

    return subscribe


def add_before(app: Flask):
    manager, events = EventManager(), Blueprint("events", __name__)
    events.add_url_rule("/events", "subscribe", authed_only(enabled_only(make_old_view(manager))))
    app.register_blueprint(events)
    return manager.publish


def add_wrapped(app: Flask):
    flask_ssemux.init_app(app)
    manager, events = EventManager(), Blueprint("events", __name__)
    view = flask_ssemux.streaming(make_old_view(manager))
    events.add_url_rule("/events", "subscribe", authed_only(enabled_only(view)))
    app.register_blueprint(events)
    return manager.publish


def add_moved(app: Flask):
    app.config.update(SSEMUX_HEARTBEAT=PING, SSEMUX_CLIENT_TIMEOUT=6 * PING, SSEMUX_HEARTBEAT_EVENT="ping")
    mux, events = flask_ssemux.init_app(app), Blueprint("events", __name__)
    mux.identify(lambda: session.get("user"))
    mux.authorize("ctf")(lambda user_id: user_id is not None)
    mux.snapshot("ctf")(lambda: [("ping", "ping")])
    guards = [enabled_only, authed_only]
    mux.add_stream("/events", channels=["ctf"], blueprint=events, endpoint="subscribe", decorators=guards)
    app.register_blueprint(events)
    return lambda data: flask_ssemux.publish("ctf", data, event="notification")
