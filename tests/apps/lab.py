"""The plain application, with measurements from inside for the tests, and old streams below ``streaming``.

Old streams write a line to the log when their ``finally`` runs.
"""

from __future__ import annotations

import gc
import os
import re
import sys
import threading
import time

from flask import Flask, Response, jsonify, redirect, request, session, stream_with_context

import flask_ssemux
from flask_ssemux.transports.select import count_handed_over
from tests.apps import plain


def create_app() -> Flask:
    app = plain.create_app()
    app.secret_key = "for tests"
    worker = app.extensions["ssemux"].worker

    @app.route("/figures")
    def figures():
        gc.collect()
        return jsonify(
            pid=os.getpid(),
            streams=len(worker.running().hub),
            wrapped=len(worker.running().streams.list_wrapped()),
            reads=reads(worker.broker),
            handed=count_handed_over(),
            memory=memory(),
            files=len(os.listdir("/proc/self/fd")),
            threads=threading.active_count(),
            held=worker.broker.get_figures()["held"],
        )

    @app.route("/burst", methods=["POST"])
    def burst():
        """Publish `count` events in a row, without a pause, from inside this worker."""
        count = int(request.args["count"])
        size = int(request.args.get("size", 0))
        for number in range(count):
            flask_ssemux.publish("room:1", {"n": number, "pad": "x" * size}, event="n")
        return jsonify(count=count)

    @app.route("/block")
    def block():
        """Block the loop as an unpatched driver does; with `how=search`, block the whole interpreter."""
        (search if request.args.get("how") == "search" else wait_unpatched)(float(request.args["seconds"]))
        return jsonify(pid=os.getpid())

    @app.route("/typed")
    def typed():
        """Send a frame, with the `type` of the query."""
        return Response("data: 1\n\n", content_type=request.args["type"])

    @app.route("/exit")
    def leave():
        """Raise SystemExit in the worker's main greenlet, as gunicorn's loop does when its master is gone."""
        from gevent import get_hub

        hub = get_hub()
        hub.loop.run_callback(hub.parent.throw, SystemExit(0))
        return jsonify(pid=os.getpid())

    for view in (sleeper, poller, cookies, context, raising, pieces, fast, bare, tupled, not_a_stream, elsewhere):
        app.add_url_rule("/old/" + view.__name__, view.__name__, flask_ssemux.streaming(view))
    return app


def wait_unpatched(seconds):
    from gevent.monkey import get_original

    get_original("time", "sleep")(seconds)


def search(seconds):
    """Make one call of C code that lets no other thread run, for at least that long."""
    letters, took = 16, 0.0
    while took < seconds:
        began = time.monotonic()
        re.match("(a+)+$", "a" * letters + "b")
        took = time.monotonic() - began
        letters += 1 if took > 0.05 else 2


def memory():
    """Return this process's own memory in KB, with its share of shared pages."""
    with open("/proc/self/smaps_rollup") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("Pss:"))


def reads(broker):
    """Return how often the broker was asked for history since the first call of this function."""
    if not hasattr(broker, "reads"):
        broker.reads, read = 0, broker.history.read_events

        def counted(*question):
            broker.reads += 1
            return read(*question)

        broker.history.read_events = counted
    return broker.reads


def stream(generator, **options):
    return Response(generator, mimetype="text/event-stream", **options)


def log(word):
    print(word, file=sys.stderr, flush=True)


def sleeper():
    """Send one event, then sleep for the requested time."""

    def generate():
        try:
            yield "data: first\n\n"
            time.sleep(float(request_seconds))
            yield "data: second\n\n"
        finally:
            log("sleeper: finally")

    request_seconds = request.args.get("seconds", 60)
    return stream(generate())


def poller():
    """Poll often, yield seldom, and clean up on GeneratorExit as old code does."""
    every, polls = float(request.args.get("every", 0.05)), int(request.args.get("polls", 1000000))

    def generate():
        try:
            for number in range(10**9):
                if number % polls == 0:
                    yield b"data: %d\n\n" % number
                time.sleep(every)
        except GeneratorExit:
            log("poller: GeneratorExit")
            raise

    return stream(generate())


def cookies():
    session["seen"] = "yes"
    response = stream(iter(["data: 1\n\n"]), status=201, headers={"X-Old": "kept", "Cache-Control": "private"})
    response.set_cookie("flavour", "oat")
    response.call_on_close(lambda: log("cookies: on close"))
    return response


def context():
    def generate():
        for _ in range(3):
            yield "data: %s\n\n" % request.args["word"]
            time.sleep(0.3)
        session.get("seen")

    return stream(stream_with_context(generate()))


def raising():
    def generate():
        yield "data: before\n\n"
        raise RuntimeError("the old bug")

    return stream(generate())


def pieces():
    """Yield lines, not events, and sleep within one."""

    def generate():
        yield "event: slow\n"
        time.sleep(1.2)
        yield "data: a"
        time.sleep(1.2)
        yield "b\n"
        yield "\n"
        time.sleep(1.2)
        yield "data: next\n\n"

    return stream(generate())


def fast():
    """Send as fast as the client reads, and count the events."""

    def generate():
        number = 0
        try:
            while True:
                number += 1
                yield "data: %s\n\n" % ("x" * 10000)
        finally:
            log("fast: made %d" % number)

    return stream(generate())


def bare():
    return (text for text in ["data: 1\n\n"])


def tupled():
    return (text for text in ["data: 1\n\n"]), 202, {"X-Old": "kept"}


def not_a_stream():
    return jsonify(error="log in first"), 403


def elsewhere():
    return redirect("/ping")
