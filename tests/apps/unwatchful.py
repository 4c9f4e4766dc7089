"""The lab, in a process that does not look whether its worker was told to stop."""

from __future__ import annotations

from flask_ssemux import lifecycle
from tests.apps import lab


def create_app():
    lifecycle.LEAVING = 3600.0
    return lab.create_app()
