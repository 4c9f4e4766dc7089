"""Whom we measure: how each is started, where it streams, and how it is told to publish.

A contender is a name and a command; peers get their place in ``CONTENDERS`` too. All of them
answer ``GET /ready`` and ``GET /publish?events=&rate=`` with their process's id, and stream at
``STREAM``. What is measured is not known here.
"""

from __future__ import annotations

import http.client
import json
import sys
from typing import Any, NamedTuple

from . import event
from .child import Child, free_port

#: Where every contender streams.
STREAM = "/events?channel=" + event.CHANNEL


class Contender(NamedTuple):
    """A server that can be measured.

    :param name: in the table.
    :param command: what starts it; ``{port}`` and ``{workers}`` are filled in.
    :param environ: added to the environment.
    """

    name: str
    command: tuple[str, ...]
    environ: dict[str, str] = {}  # noqa: RUF012


FLOOR = Contender("floor: sendall in a loop", (sys.executable, "-m", "benchmarks.floor", "{port}"))


def flask_ssemux(broker: str = "memory:", **options: object) -> Contender:
    """Ours under gunicorn's gevent worker.

    :param options: as ``SSEMUX_*``, in small letters.
    """
    settings = {"SSEMUX_%s" % name.upper(): str(value) for name, value in options.items()}
    command = (
        sys.executable, "-m", "gunicorn", "-c", "python:flask_ssemux.gunicorn_conf", "-k", "gevent",
        "-w", "{workers}", "--worker-connections", "100000", "-b", "127.0.0.1:{port}", "--log-level", "warning",
        "benchmarks.app:create_app()",
    )  # fmt: skip
    return Contender("flask_ssemux generator", command, {"SSEMUX_BROKER": broker, **settings})


#: Rows of ``delivery``. The handoff transport and the peers get theirs here.
CONTENDERS = [FLOOR, flask_ssemux()]


class Server:
    """A contender that runs, pinned to a core. Leaving the ``with`` kills all of it.

    :raises RuntimeError: it did not start; with the end of what it said.
    """

    def __init__(self, contender: Contender, core: int, workers: int = 1) -> None:
        self.contender = contender
        self.port = free_port()
        self.pid = 0
        command = [part.format(port=self.port, workers=workers) for part in contender.command]
        self._child = Child(contender.name, command, contender.environ, core)
        try:
            self._child.wait(self._ready, (OSError, http.client.HTTPException))
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def publish(self, events: int, rate: float) -> int:
        """Begin to publish; the id of the process that does."""
        return int(self._ask("/publish?events=%d&rate=%g" % (events, rate))["pid"])

    def close(self) -> None:
        self._child.close()

    def _ready(self) -> None:
        self.pid = int(self._ask("/ready")["pid"])

    def _ask(self, path: str) -> Any:
        asked = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
        try:
            asked.request("GET", path)
            return json.loads(asked.getresponse().read())
        finally:
            asked.close()
