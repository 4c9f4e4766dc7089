"""The lab application, in a process that does not check whether its worker was asked to stop."""

from __future__ import annotations

from flask_ssemux.worker import running
from tests.apps import lab


def create_app():
    running.CHECK_INTERVAL = 3600.0
    return lab.create_app()
