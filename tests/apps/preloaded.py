"""The lab application, created when this module is imported, which also publishes: with --preload, in gunicorn's
master.
"""

from __future__ import annotations

import flask_ssemux
from tests.apps import lab

app = lab.create_app()
with app.app_context():
    flask_ssemux.publish("room:0", "from the master")
