"""The lab, in a process that does not look whether its worker was told to stop."""

from __future__ import annotations

from flask_ssemux.worker import worker
from tests.apps import lab


def create_app():
    worker.LEAVING = 3600.0
    return lab.create_app()
