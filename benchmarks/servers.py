"""Whom we measure: how each is started, where it streams, and how it is told to publish.

A contender is a name and a command; peers get their place in ``CONTENDERS`` too. All of them
answer ``GET /ready`` and ``GET /publish?events=&rate=`` with their process's id, and stream at
``STREAM``. What is measured is not known here.
"""

from __future__ import annotations

import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from typing import Any, NamedTuple

from . import event, process

#: Where every contender streams.
STREAM = "/events?channel=" + event.CHANNEL

#: Seconds in which a server has to answer its first request.
START = 20.0

_ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


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
        self.port = _free_port()
        self._folder = tempfile.mkdtemp(prefix="ssemux-bench-")
        self._said = open(os.path.join(self._folder, "log"), "w+b")  # noqa: SIM115
        self._child = subprocess.Popen(
            [part.format(port=self.port, workers=workers) for part in contender.command],
            env={**os.environ, **contender.environ, "BENCH_FOLDER": self._folder, "PYTHONPATH": _ROOT},
            cwd=self._folder, stdout=self._said, stderr=self._said, start_new_session=True,
            preexec_fn=process.pinned(core),
        )  # fmt: skip
        try:
            self.pid = self._wait_ready()
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
        try:
            os.killpg(self._child.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self._child.wait()
        self._said.close()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _wait_ready(self) -> int:
        deadline = time.monotonic() + START
        while True:
            try:
                return int(self._ask("/ready")["pid"])
            except (OSError, http.client.HTTPException) as error:
                if self._child.poll() is not None or time.monotonic() > deadline:
                    said = (self.contender.name, error, self._tail())
                    raise RuntimeError("%s did not start: %s\n%s" % said) from None
            time.sleep(0.05)

    def _ask(self, path: str) -> Any:
        asked = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
        try:
            asked.request("GET", path)
            return json.loads(asked.getresponse().read())
        finally:
            asked.close()

    def _tail(self) -> str:
        self._said.seek(0)
        return self._said.read().decode("utf-8", "replace")[-2000:]


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])
