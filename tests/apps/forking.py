"""The lab application, with views that fork its worker in every way: one counts the child's open connections, one runs
a job in the child.
"""

from __future__ import annotations

import multiprocessing
import os
import socket
import subprocess
import sys
import time
from _socket import socket as RawSocket  # does not wait for any loop

import gevent.monkey
import gevent.os
from flask import jsonify, request

import flask_ssemux
from tests.apps import lab


def create_app():
    app = lab.create_app()

    @app.route("/fork")
    def fork():
        """Return how many connections to this server's clients the child has.

        The child ends when the parent says so: gevent misses the end of a process's first child if the child ends
        before gevent watches it.
        """
        ours = _connections()
        reader, writer = os.pipe()
        order, giver = os.pipe()
        child = os.fork()
        if child == 0:
            os.write(writer, b"%d" % len(ours & _sockets()))
            os.read(order, 1)
            os._exit(0)
        os.write(giver, b".")
        os.waitpid(child, 0)
        found = int(os.read(reader, 100))
        for end in (reader, writer, order, giver):
            os.close(end)
        return jsonify(sockets=found, of=len(ours))

    @app.route("/job/<way>")
    def job(way):
        """Run a job in a child that is made in the given way; the child writes its report into the instance folder."""
        report = os.path.join(app.instance_path, "report of " + way)
        port = int(request.args["port"])
        started[way] = WAYS[way](lambda: work(app, way, report, port))
        return jsonify(pid=os.getpid())

    @app.route("/outlive/<how>")
    def outlive(how):
        """Let a child continue after its view in the given way, as if its author had forgotten to end it."""
        child = os.fork()
        if child == 0:
            flask_ssemux.publish("room:1", "of a child")
            if how == "raise":
                raise RuntimeError("of a child")
        return jsonify(pid=child)

    @app.route("/nap")
    def nap():
        """Answer more slowly than the children need to start."""
        time.sleep(0.5)
        return jsonify(pid=os.getpid())

    @app.route("/stall")
    def stall():
        """Block the loop until the test says so: the connections that clients make meanwhile are accepted in one go."""
        test = RawSocket()
        test.connect(("127.0.0.1", int(request.args["port"])))
        test.recv(1)
        test.close()
        return jsonify(pid=os.getpid())

    @app.route("/child-first")
    def child_first():
        """Let only the child's greenlets run for a while, so that they do everything that they can do."""
        child = by_original(lambda: time.sleep(0.5))
        gevent.monkey.get_original("os", "waitpid")(child, 0)
        return jsonify(pid=os.getpid())

    old = "/old/ticking"
    app.add_url_rule(old, "ticking", flask_ssemux.streaming(ticking))

    return app


started = {}


def ticking():
    """An old stream whose generator does some work from time to time."""
    try:
        for number in range(1000):
            time.sleep(0.25)
            yield "data: %d of %d\n\n" % (number, os.getpid())
    finally:
        print("a generator ended in", os.getpid(), flush=True)


def work(app, way, report, port):
    """Do a job: open a file and a connection of its own, and report the progress. The job takes longer than gunicorn's
    loop, which is copied into the child with everything else, needs to see that this process is not its master's child.
    """
    third_party = socket.create_connection(("127.0.0.1", port))
    with open(report + ".part", "w") as file, app.app_context():
        file.write("begun\n")
        for done in range(3):
            flask_ssemux.publish("room:1", "%s %d" % (way, done))
            time.sleep(0.5)
        file.write("done\n")
    third_party.sendall(way.encode())
    third_party.close()
    os.rename(report + ".part", report)


def by_process(job):
    child = multiprocessing.get_context("fork").Process(target=job)
    child.start()
    return child


def by_pool(job):
    pool = multiprocessing.get_context("fork").Pool(1, initializer=job)
    pool.close()
    return pool


def by_fork(job, fork=os.fork):
    child = fork()
    if child == 0:
        try:
            job()
        finally:
            os._exit(0)
    return child


def by_fork_and_sys_exit(job):
    """Fork and end with sys.exit: gunicorn catches the SystemExit of a view."""
    child = os.fork()
    if child == 0:
        job()
        sys.exit()
    return child


def by_twice(job):
    """Fork twice: what the child has opened belongs to its own child, too."""

    def fork_again():
        reader, writer = os.pipe()

        def work():
            os.write(writer, b".")
            if os.read(reader, 1) == b".":
                job()

        by_fork(work)

    return by_fork(fork_again)


def by_preexec(job):
    return subprocess.Popen(["true"], preexec_fn=job)


def by_subprocess(job):
    """Run another program, the most usual fork of all. Nothing of the job runs in it."""
    subprocess.run(["true"], check=True)


def by_greenlet(job):
    """Fork while this request's greenlet waits for another greenlet."""
    return gevent.spawn(by_fork, job)


def by_gevent(job):
    return by_fork(job, gevent.os.fork)


def by_original(job):
    return by_fork(job, gevent.monkey.get_original("os", "fork"))


WAYS = {name[3:]: way for name, way in list(globals().items()) if name.startswith("by_")}


def _sockets():
    found = set()
    for file in os.listdir("/proc/self/fd"):
        try:
            found.add(os.readlink("/proc/self/fd/" + file))
        except OSError:
            pass
    return found


def _connections():
    """Return this process's established connections."""
    with open("/proc/net/tcp") as file:
        rows = [line.split() for line in file.readlines()[1:]]
    return {"socket:[%s]" % row[9] for row in rows if row[3] == "01"} & _sockets()
