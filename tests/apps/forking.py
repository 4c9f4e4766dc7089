"""The lab, with views that fork its worker in all ways: one says what its child has open, one has it do a job."""

from __future__ import annotations

import multiprocessing
import os
import socket
import subprocess
import sys
import time
from _socket import socket as RawSocket  # waits for no loop

import gevent.monkey
import gevent.os
from flask import jsonify, request

import flask_ssemux
from tests.apps import lab


def create_app():
    app = lab.create_app()

    @app.route("/fork")
    def fork():
        """How many connections to this server's clients the child has.

        It ends when it is told to: gevent misses the end of a process's first child if it comes before gevent watches.
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
        """Have a child do a job, in one of these ways; its report comes to be in the instance folder."""
        report = os.path.join(app.instance_path, "report of " + way)
        port = int(request.args["port"])
        started[way] = WAYS[way](lambda: work(app, way, report, port))
        return jsonify(pid=os.getpid())

    @app.route("/outlive/<how>")
    def outlive(how):
        """Have a child go on after its view, in one of these ways, as one does whose author forgot to end it."""
        child = os.fork()
        if child == 0:
            flask_ssemux.publish("room:1", "of a child")
            if how == "raise":
                raise RuntimeError("of a child")
        return jsonify(pid=child)

    @app.route("/nap")
    def nap():
        """A page that takes longer than the children need to begin."""
        time.sleep(0.5)
        return jsonify(pid=os.getpid())

    @app.route("/stall")
    def stall():
        """The loop stands still until the test says so: whoever connects meanwhile is taken in one go."""
        test = RawSocket()
        test.connect(("127.0.0.1", int(request.args["port"])))
        test.recv(1)
        test.close()
        return jsonify(pid=os.getpid())

    @app.route("/child-first")
    def child_first():
        """Only a child's greenlets can run for a while: what they may do, they do."""
        child = by_original(lambda: time.sleep(0.5))
        gevent.monkey.get_original("os", "waitpid")(child, 0)
        return jsonify(pid=os.getpid())

    old = "/old/ticking"
    app.add_url_rule(old, "ticking", flask_ssemux.streaming(ticking))

    return app


started = {}


def ticking():
    """An old stream whose generator works now and then."""
    try:
        for number in range(1000):
            time.sleep(0.25)
            yield "data: %d of %d\n\n" % (number, os.getpid())
    finally:
        print("a generator ended in", os.getpid(), flush=True)


def work(app, way, report, port):
    """What a job does: it opens a file and a connection of its own, and tells how far it is. It takes longer than
    gunicorn's loop, copied with all others, needs to see that this process is not its master's child."""
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
    """gunicorn catches the SystemExit of a view."""
    child = os.fork()
    if child == 0:
        job()
        sys.exit()
    return child


def by_twice(job):
    """A child forks in turn, and what it has opened is its child's, too."""

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
    """Nothing of the job: a program that is started, as the most usual fork of all."""
    subprocess.run(["true"], check=True)


def by_greenlet(job):
    """A fork while this request's greenlet waits for another one's."""
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
    """This process's established connections."""
    with open("/proc/net/tcp") as file:
        rows = [line.split() for line in file.readlines()[1:]]
    return {"socket:[%s]" % row[9] for row in rows if row[3] == "01"} & _sockets()
