"""The lab, with a view that forks its worker and says what its child has open."""

from __future__ import annotations

import os

from flask import jsonify

from tests.apps import lab


def create_app():
    app = lab.create_app()

    @app.route("/fork")
    def fork():
        """How many connections to this server's clients the child has."""
        ours = _connections()
        reader, writer = os.pipe()
        child = os.fork()
        if child == 0:
            os.write(writer, b"%d" % len(ours & _sockets()))
            os._exit(0)
        os.waitpid(child, 0)
        found = int(os.read(reader, 100))
        os.close(reader)
        os.close(writer)
        # The one that asks is gunicorn's still, and a fork in the middle of a request has it.
        return jsonify(sockets=found - 1, of=len(ours))

    return app


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
