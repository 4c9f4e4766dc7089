"""Reads gunicorn's settings as gunicorn does: from a configuration file, GUNICORN_CMD_ARGS, and the defaults.

A separate process (``python -m``) reads them, because the file is a program: it may patch modules, or exit.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any, Mapping

#: The settings that matter for streams.
WANTED = (
    "workers", "threads", "worker_connections", "timeout", "graceful_timeout", "keepalive", "max_requests",
    "max_requests_jitter", "preload_app", "certfile", "http_protocols", "user",
)  # fmt: skip

#: The file that gunicorn reads by default from the folder where it is started.
DEFAULT_FILE = "gunicorn.conf.py"

#: The beginning of the line with the result: the file may print other lines.
MARK = "ssemux-settings: "

#: Seconds that reading the file may take.
SECONDS = 30


class Unreadable(Exception):
    """gunicorn would not start with this configuration; the message is gunicorn's."""


def read_settings(path: str | None) -> Mapping[str, Any]:
    """Return the settings, with the name of ``worker_class``, and ``patched``: whether the file patches with gevent.

    :param path: the file; None means the one that gunicorn chooses.
    :raises Unreadable: the configuration cannot be read.
    """
    command = [sys.executable, "-m", __name__] + (["-c", path] if path else [])
    where = os.pathsep.join([os.getcwd()] + sys.path)
    try:
        done = subprocess.run(
            command,
            env={**os.environ, "PYTHONPATH": where},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=SECONDS,
        )
    except subprocess.TimeoutExpired:
        raise Unreadable("reading it took longer than %d s" % SECONDS) from None
    for line in done.stdout.decode("utf-8", "replace").splitlines():
        if line.startswith(MARK):
            found: Mapping[str, Any] = json.loads(line[len(MARK) :])
            return found
    said = done.stderr.decode("utf-8", "replace").strip().splitlines()
    raise Unreadable(said[-1] if said else "gunicorn exited with %d" % done.returncode)


def _print_settings() -> None:
    from gunicorn.app.base import Application

    class Reader(Application):  # type: ignore[misc]
        def init(self, parser: Any, opts: Any, args: Any) -> None:
            """Add no settings to those of the file and the environment."""

        def load(self) -> None:
            """Load no application."""

    settings = Reader("gunicorn").cfg
    told = {name: getattr(settings, name) for name in WANTED if name in settings.settings}
    told["worker_class"] = settings.worker_class_str
    patched = sys.modules.get("gevent.monkey")
    told["patched"] = bool(patched and patched.is_module_patched("threading"))
    print("\n" + MARK + json.dumps(told, default=str))


if __name__ == "__main__":
    _print_settings()
