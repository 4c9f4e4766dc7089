"""The files of the npm packages of tests/package.json, for pages in browsers."""

from __future__ import annotations

from flask import Blueprint, send_from_directory

from tests.harness.packages import NODE_MODULES

npm = Blueprint("npm", __name__)


@npm.route("/npm/<path:name>")
def send_file(name):
    """Send a file. Some modules import others without `.js`, because they are meant for bundlers."""
    return send_from_directory(str(NODE_MODULES), name if (NODE_MODULES / name).is_file() else name + ".js")
