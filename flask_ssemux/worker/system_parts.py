"""What this system lacks of Linux, and what does not work without it: one log line, when a process begins to serve.

Where a part is missing, the code that would use it does without: see the files that are named below.
"""

from __future__ import annotations

import logging
import os
import platform
from functools import lru_cache
from importlib.util import find_spec

from ..transports.client_socket import has_poll

log = logging.getLogger("flask_ssemux")


def find_missing_parts() -> list[str]:
    """Return a sentence for each part of Linux that this system lacks; [] on Linux, macOS and BSD."""
    missing = []
    if not has_poll():  # transports/client_socket.py, transports/wait.py
        missing.append("without select.poll, a client that has left is noticed by the next heartbeat, not at once")
    if find_spec("fcntl") is None:  # brokers/sqlite/reserve.py
        missing.append("without fcntl, sequences in the SQLite file leap whenever a process opens it")
    if not hasattr(os, "fork"):  # brokers/names.py
        missing.append("without os.fork, gunicorn does not run, and what a dead process held is free after its lease")
    return missing


@lru_cache(maxsize=None)
def log_missing_parts() -> None:
    """Log what is missing, once in a process."""
    missing = find_missing_parts()
    if missing:
        log.warning(
            "%s has no tested server for streams, use it for development only: %s",
            platform.system(),
            "; ".join(missing),
        )
