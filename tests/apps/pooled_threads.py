"""The lab application, with views that compute in threads of the operating system, such as those of gevent's thread
pool, and publish there.
"""

from __future__ import annotations

import gevent
import gevent.threadpool
from flask import jsonify, request
from gevent.monkey import get_original

import flask_ssemux
from tests.apps import lab


def create_app():
    app = lab.create_app()
    service = app.extensions["ssemux"]

    def compute(name):
        """Report the progress, with every call that the extension has for it."""
        with app.app_context():
            for done in range(10):
                sum(number * number for number in range(20000))
                flask_ssemux.publish("room:1", "%s %d" % (name, done))
            flask_ssemux.send_to_user("ann", "%s sent" % name)
            flask_ssemux.broadcast("%s broadcast" % name)
            flask_ssemux.disconnect("nobody")
            flask_ssemux.revoke("nobody", "room:1")
            service.worker.broker.reports.read_reports()
            return flask_ssemux.cursor()

    @app.route("/compute/<how>/<name>")
    def report(how, name):
        return jsonify(cursor=WAYS[how](compute, name))

    @app.route("/compute/blocked")
    def blocked():
        """Block the loop for the given time while a thread publishes."""
        found = []

        def publish():
            try:
                with app.app_context():
                    found.append(flask_ssemux.publish("room:1", "late"))
            except flask_ssemux.BrokerUnavailable as error:
                found.append(str(error))

        get_original("_thread", "start_new_thread")(publish, ())
        get_original("time", "sleep")(float(request.args["seconds"]))
        while not found:
            gevent.sleep(0.01)
        return jsonify(found=found[0])

    return app


def by_pool(work, *args):
    return gevent.get_hub().threadpool.apply(work, args)


def by_executor(work, *args):
    with gevent.threadpool.ThreadPoolExecutor(1) as executor:
        return executor.submit(work, *args).result()


def by_thread(work, *args):
    done = []
    get_original("_thread", "start_new_thread")(lambda: done.append(work(*args)), ())
    while not done:
        gevent.sleep(0.005)
    return done[0]


WAYS = {"pool": by_pool, "executor": by_executor, "thread": by_thread}
