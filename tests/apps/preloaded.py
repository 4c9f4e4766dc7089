"""The lab, built when this module is imported, which already publishes: in gunicorn's master under --preload."""

from __future__ import annotations

import flask_ssemux
from tests.apps import lab

app = lab.create_app()
with app.app_context():
    flask_ssemux.publish("room:0", "from the master")
