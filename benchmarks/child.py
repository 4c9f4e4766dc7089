"""A process that a benchmark starts, with a temporary folder and pinned to a core.

At the end it is killed together with all processes that it started. ``servers.py`` and ``redis_server.py`` know what it
runs.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from typing import Callable, Sequence

from . import process

#: Seconds within which a child must be ready.
START = 20.0

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


class Child:
    """A command that runs in a folder of its own. Leaving the ``with`` kills its group and removes the folder.

    :param name: the name in messages.
    :param command: the command to run.
    :param environ: variables to add to the environment; ``BENCH_FOLDER`` is the folder.
    :param core: the core to run on; None leaves that to the kernel.
    """

    def __init__(
        self, name: str, command: Sequence[str], environ: dict[str, str] | None = None, core: int | None = None
    ) -> None:
        self.name = name
        self.folder = tempfile.mkdtemp(prefix="ssemux-bench-")
        self._log = open(os.path.join(self.folder, "log"), "w+b")  # noqa: SIM115
        self._process = subprocess.Popen(
            command, env={**os.environ, **(environ or {}), "BENCH_FOLDER": self.folder, "PYTHONPATH": ROOT},
            cwd=self.folder, stdin=subprocess.DEVNULL, stdout=self._log, stderr=self._log, start_new_session=True,
            preexec_fn=process.pin_child(core),
        )  # fmt: skip
        self.pid = self._process.pid

    def __enter__(self) -> Child:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def wait(self, is_ready: Callable[[], object], errors: tuple[type[BaseException], ...]) -> None:
        """Call ``is_ready`` until it raises none of these errors.

        :raises RuntimeError: the process did not start within ``START`` seconds; the message has the end of its output.
        """
        deadline = time.monotonic() + START
        while True:
            try:
                is_ready()
                return
            except errors as error:
                if self._process.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError("%s did not start: %s\n%s" % (self.name, error, self.read_tail())) from None
            time.sleep(0.05)

    def read_tail(self) -> str:
        """Return the end of the process's output."""
        self._log.seek(0)
        return self._log.read().decode("utf-8", "replace")[-2000:]

    def close(self) -> None:
        try:
            os.killpg(self.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self._process.wait()
        self._log.close()
        shutil.rmtree(self.folder, ignore_errors=True)


def find_free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])
