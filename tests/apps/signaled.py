"""The plain application, which writes a line for each signal into the file ``signals`` of its instance folder."""

from __future__ import annotations

import json
import os
import time

from flask import Flask

import flask_ssemux
from tests.apps import plain


def create_app() -> Flask:
    app = plain.create_app()
    path = os.path.join(app.instance_path, "signals")

    def write(*values):
        with open(path, "a") as file:
            file.write(json.dumps(values) + "\n")

    @flask_ssemux.stream_opened.connect_via(app)
    def note_opened(sender, user, channels):
        write("opened", user, channels)

    @flask_ssemux.stream_closed.connect_via(app)
    def note_closed(sender, user, channels, reason):
        time.sleep(0.02)  # as a database would
        write("closed", user, reason)

    return app
