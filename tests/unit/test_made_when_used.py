"""An application that exists before gevent patches the process, as with gunicorn's ``preload_app``."""

from __future__ import annotations

import subprocess
import sys

from flask_ssemux.util.made_when_used import MadeWhenUsed, forget

#: gunicorn's master makes the application and publishes; a worker is forked, patches, and serves several requests at
#: once while everything takes long. A greenlet that waits for a lock of native threads stops the worker for good.
PRELOADED = """
import os, signal, sqlite3, sys, tempfile
import gevent.monkey  # gunicorn's master imports its worker class
import flask, flask_ssemux

app = flask.Flask("preloaded", instance_path=tempfile.mkdtemp())
mux = flask_ssemux.SSEMux(app)
mux.authorize("room")(lambda user: True)

has_signals = getattr(flask.signals, "signals_available", True)
if hasattr(app, "ensure_sync"):
    @mux.snapshot("room")
    async def snapshot():
        import asyncio
        await asyncio.sleep(0.05)
        return [("first", 1)]
else:
    mux.snapshot("room")(lambda: [("first", 1)])

mux.publish("room", "of the master")
path = app.instance_path + "/ssemux.sqlite3"
publisher = flask_ssemux.Publisher("sqlite:///" + path)
publisher.publish("room", "of the master's publisher")
worker = os.fork()
if worker:
    sys.exit(os.waitpid(worker, 0)[1] != 0)

gevent.monkey.patch_all()
gevent.get_hub()
signal.alarm(20)
import time

closed, started = [], []
if has_signals:
    flask_ssemux.stream_closed.connect(lambda app, **values: closed.append(values["reason"]), weak=False)
state = app.extensions["ssemux"]
register, start = state.worker.broker.reports.register_application, state.worker._running._make
state.worker.broker.reports.register_application = lambda *values: (time.sleep(0.05), register(*values))[1]
state.worker._running._make = lambda: (started.append(1), time.sleep(0.05), start())[-1]

def read(number):
    with app.test_client() as client:
        body = client.get("/events?poll=now&channel=room").get_data()
        run = mux.start_run(iter("ab"))
        return b"event: first" in body and run.wait(10) == "done" and b"ssemux.run" in client.get(run.url).get_data()

jobs = [gevent.spawn(read, number) for number in range(5)]
gevent.joinall(jobs)
state.worker.signals.wait_until_sent(10)
other = sqlite3.connect(path, isolation_level=None)
other.execute("BEGIN IMMEDIATE")
gevent.spawn_later(0.1, other.execute, "COMMIT")
jobs += [gevent.spawn(lambda: bool(publisher.publish("room", "of a worker"))) for number in range(2)]
gevent.joinall(jobs)
assert [job.value for job in jobs] == [True] * 7 and len(started) == 1
assert len(closed) == 10 * has_signals, closed
os._exit(0)
"""


def test_an_application_that_was_made_before_gevent_patched_the_process():
    done = subprocess.run([sys.executable, "-c", PRELOADED], timeout=60, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


class Locked:
    lock = MadeWhenUsed(lambda locked: object())


def test_an_attribute_is_made_once_for_each_object_and_again_when_it_was_forgotten():
    first, second = Locked(), Locked()
    made = first.lock
    assert first.lock is made and second.lock is not made
    forget(first, "lock", "never made")
    assert first.lock is not made
