"""Other people's JavaScript for pages: the files of the npm packages of tests/package.json, and Datastar."""

from __future__ import annotations

from flask import Blueprint, send_file, send_from_directory

from tests.harness.packages import NODE_MODULES, need_from_wheel

#: npm's newest Datastar is a beta. The core in this wheel is Datastar 1.0.1.
DATASTAR = ("starhtml==0.7.0", "starhtml/static/js/datastar-core.js")

npm = Blueprint("npm", __name__)


@npm.route("/npm/<path:name>")
def send_module(name):
    """Send a file. Some modules import others without `.js`, because they are meant for bundlers."""
    return send_from_directory(str(NODE_MODULES), name if (NODE_MODULES / name).is_file() else name + ".js")


@npm.route("/datastar.js")
def send_datastar():
    return send_file(str(need_from_wheel(*DATASTAR)))
