"""Counts how a request for a stream moves through the files of the package: which function calls which, in order.

Counts only; no time is measured. What the application's own functions do, and other packages, is left out. Each call of
a function whose file is not its caller's is a change of file. ``tests/unit/test_route.py`` keeps their number small.
"""

from __future__ import annotations

import os
import sys
import tempfile
from types import FrameType
from typing import Any, NamedTuple

from flask import Flask

import flask_ssemux
from flask_ssemux import testing

_PACKAGE = os.path.dirname(flask_ssemux.__file__) + os.sep

#: The function during which calls are counted, from the request to the open stream.
_BEGIN = "serve_stream"

#: Requests before the one that is recorded, so that everything that is made once exists.
WARM_UP = 3


class Hop(NamedTuple):
    """One change of file: the function that calls, and the one that is called, each as ``file:function``."""

    caller: str
    called: str


class Route(NamedTuple):
    """The way of one request.

    :param hops: each change of file, in order.
    :param files: the files whose functions are called.
    :param calls: all calls, also those within a file.
    :param depth: the most functions of the package that wait for each other.
    """

    hops: list[Hop]
    files: list[str]
    calls: int
    depth: int


def record_route(broker: str, url: str = "/events?channel=jobs:1") -> Route:
    """Return the way of a request with a user and one named channel, which a rule allows."""
    with tempfile.TemporaryDirectory() as folder:
        app = _make_app(broker, folder)
        client = app.test_client()
        try:
            for _ in range(WARM_UP):
                client.get(url, buffered=False).close()
            recorder = _Recorder()
            sys.setprofile(recorder.note)
            try:
                response = client.get(url, buffered=False)
            finally:
                sys.setprofile(None)
            response.close()
        finally:
            testing.close(app)
    return Route(recorder.hops, sorted(recorder.files), recorder.calls, recorder.depth)


def measure_route(broker: str) -> str:
    """Return each change of file in order, and the sums."""
    route = record_route(broker)
    lines = ["%3d  %s -> %s" % (number, *hop) for number, hop in enumerate(route.hops, 1)]
    sums = "%s: %d changes of file, %d files, %d calls, depth %d"
    return "\n".join([*lines, "", sums % (broker, len(route.hops), len(route.files), route.calls, route.depth)])


def _make_app(broker: str, folder: str) -> Flask:
    app = Flask(__name__, instance_path=folder)
    app.config["SSEMUX_BROKER"] = broker
    mux = flask_ssemux.SSEMux(app)
    mux.identify(lambda: "ann")
    mux.authorize("jobs:<job_id>")(lambda user_id, job_id: True)
    return app


class _Recorder:
    """A profile function, which Python calls at each call of a function."""

    def __init__(self) -> None:
        self.hops: list[Hop] = []
        self.files: set[str] = set()
        self.calls = self.depth = 0

    def note(self, frame: FrameType, event: str, _: Any) -> None:
        if event != "call" or _find_file(frame) is None:
            return
        callers = _list_callers(frame)
        if not any(caller.f_code.co_name == _BEGIN for caller in callers):
            return
        self.calls += 1
        self.depth = max(self.depth, len(callers) + 1)
        self.files.add(str(_find_file(frame)))
        if _find_file(callers[0]) != _find_file(frame):
            self.hops.append(Hop(_name(callers[0]), _name(frame)))


def _list_callers(frame: FrameType) -> list[FrameType]:
    """Return the functions of the package that wait for this one, the nearest first."""
    found = []
    caller = frame.f_back
    while caller is not None:
        if _find_file(caller) is not None:
            found.append(caller)
        caller = caller.f_back
    return found


def _find_file(frame: FrameType) -> str | None:
    path = frame.f_code.co_filename
    return path[len(_PACKAGE) :] if path.startswith(_PACKAGE) else None


def _name(frame: FrameType) -> str:
    return "%s:%s" % (_find_file(frame), frame.f_code.co_name)
