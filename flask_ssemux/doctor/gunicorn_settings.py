"""gunicorn's settings as gunicorn itself reads them: a configuration file, GUNICORN_CMD_ARGS, the defaults.

Read in a process of their own (``python -m``), for such a file is a program: it may patch what is imported, or exit.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any, Mapping

#: Settings that matter to streams.
WANTED = (
    "workers", "threads", "worker_connections", "timeout", "graceful_timeout", "keepalive", "max_requests",
    "max_requests_jitter", "preload_app", "certfile", "http_protocols",
)  # fmt: skip

#: The file that gunicorn takes by itself from the folder where it is started.
DEFAULT_FILE = "gunicorn.conf.py"

#: What begins the line of the answer: the file may print as well.
MARK = "ssemux-settings: "

SECONDS = 30


class Unreadable(Exception):
    """gunicorn would not start with it; the message is what it said."""


def read(path: str | None) -> Mapping[str, Any]:
    """The settings, with ``worker_class`` by its name, and ``patched``: whether gevent patched as the file was read.

    :param path: the file; None is gunicorn's own choice.
    :raises Unreadable: it cannot be read.
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
        raise Unreadable("it is still being read after %d s" % SECONDS) from None
    for line in done.stdout.decode("utf-8", "replace").splitlines():
        if line.startswith(MARK):
            found: Mapping[str, Any] = json.loads(line[len(MARK) :])
            return found
    said = done.stderr.decode("utf-8", "replace").strip().splitlines()
    raise Unreadable(said[-1] if said else "it ended with %d" % done.returncode)


def _print() -> None:
    from gunicorn.app.base import Application

    class Reader(Application):  # type: ignore[misc]
        def init(self, parser: Any, opts: Any, args: Any) -> None:
            """No settings besides the file's and the environment's."""

        def load(self) -> None:
            """No application."""

    settings = Reader("gunicorn").cfg
    told = {name: getattr(settings, name) for name in WANTED if name in settings.settings}
    told["worker_class"] = settings.worker_class_str
    patched = sys.modules.get("gevent.monkey")
    told["patched"] = bool(patched and patched.is_module_patched("threading"))
    print("\n" + MARK + json.dumps(told, default=str))


if __name__ == "__main__":
    _print()
