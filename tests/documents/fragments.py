"""Runs the Python of the pages that is a part of an application: the application around it is made here.

A block that makes its own `app` or `mux` gets none from here. The blocks of one page share their names, so that a page
may use what it showed before.
"""

from __future__ import annotations

import re
import sys
import types
from contextlib import ExitStack
from hmac import compare_digest
from typing import Any

from flask import Blueprint, Flask, Response, request, session
from flask.views import MethodView

import flask_ssemux
from flask_ssemux import testing
from tests.harness.document import Block

SECRET = "a secret of the tests, 32 bytes long"
MAKES_MUX = re.compile(r"SSEMux\(app\)|init_app\(app\)|register_blueprint\(sse\b")

#: Names that pages use without showing where they come from, as in an application that a reader has.
NAMES = {
    "flask_ssemux": flask_ssemux,
    "Response": Response,
    "MethodView": MethodView,
    "request": request,
    "session": session,
    "compare_digest": compare_digest,
}


class Anything:
    """Takes the place of an object of the reader's: its attributes, calls and items are again anything, and true."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return Anything()

    def __call__(self, *arguments: Any, **more: Any) -> Any:
        return arguments[0] if arguments and callable(arguments[0]) else Anything()

    def __getitem__(self, key: Any) -> Any:
        return Anything()

    def __eq__(self, other: Any) -> bool:
        return True

    def __hash__(self) -> int:
        return 0


def poll_the_database():
    yield "data: 1\n\n"


def make_blueprint(app):
    """Return a blueprint of somebody else's, with a stream."""
    theirs = Blueprint("theirs", __name__)
    theirs.add_url_rule("/theirs", "stream", lambda: Response(poll_the_database(), mimetype="text/event-stream"))
    return theirs


class Page:
    """The application in which the blocks of a page run, and the names that they share."""

    def __init__(self, stack: ExitStack, monkeypatch) -> None:
        self._stack, self._monkeypatch = stack, monkeypatch
        self.names: dict[str, Any] = {}

    def run(self, found: Block) -> None:
        """Run a block as it stands on the page; its lines are those of the page in a traceback."""
        if not self.names or MAKES_MUX.search(found.source):
            self._make_names(has_mux=not MAKES_MUX.search(found.source))
        code = compile("\n" * found.line + found.source, "docs/" + found.document, "exec")
        if found.file_name and MAKES_MUX.search(found.source):
            module: dict[str, Any] = {"__name__": found.file_name[:-3]}
            exec(code, module)
            self._stack.callback(testing.close, module["app"])
        else:
            with self.names["app"].app_context():
                exec(code, self.names)

    def _make_names(self, has_mux: bool) -> None:
        app = Flask("shop")
        app.config.update(SSEMUX_BROKER="memory:", SECRET_KEY=SECRET, TESTING=True)
        self.names = {**NAMES, "__name__": "shop", "app": app, "poll_the_database": poll_the_database}
        self.names.update(jobs_stream=poll_the_database, their_blueprint=make_blueprint(app), user_id=7)
        self.names.update({name: Anything() for name in ("limiter", "Job", "current_user", "is_accountant")})
        if has_mux:
            self.names["mux"] = flask_ssemux.init_app(app)
        self._stack.callback(self._close, app)
        self._add_modules(app)

    def _close(self, app: Flask) -> None:
        if "ssemux" in app.extensions:
            testing.close(app)

    def _add_modules(self, app: Flask) -> None:
        """Let pages import the application, and the parts of it that they do not show."""
        for name, attributes in (("shop", {"app": app}), ("jobs", {"poll_the_database": poll_the_database})):
            module = types.ModuleType(name)
            vars(module).update(attributes)
            self._monkeypatch.setitem(sys.modules, name, module)
