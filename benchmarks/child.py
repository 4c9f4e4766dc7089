"""A process that a benchmark starts: with a scratch folder, pinned, and killed at the end with all that it started.

Nothing about what it does; ``servers.py`` and ``redis_server.py`` know that.
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

#: Seconds in which a child has to be ready.
START = 20.0

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


class Child:
    """A command that runs in a folder of its own. Leaving the ``with`` kills its group and removes the folder.

    :param name: in messages.
    :param command: what is started.
    :param environ: added to the environment; ``BENCH_FOLDER`` is the folder.
    :param core: where it runs; None leaves that to the kernel.
    """

    def __init__(
        self, name: str, command: Sequence[str], environ: dict[str, str] | None = None, core: int | None = None
    ) -> None:
        self.name = name
        self.folder = tempfile.mkdtemp(prefix="ssemux-bench-")
        self._said = open(os.path.join(self.folder, "log"), "w+b")  # noqa: SIM115
        self._process = subprocess.Popen(
            command, env={**os.environ, **(environ or {}), "BENCH_FOLDER": self.folder, "PYTHONPATH": ROOT},
            cwd=self.folder, stdin=subprocess.DEVNULL, stdout=self._said, stderr=self._said, start_new_session=True,
            preexec_fn=process.pinned(core),
        )  # fmt: skip
        self.pid = self._process.pid

    def __enter__(self) -> Child:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def wait(self, is_ready: Callable[[], object], errors: tuple[type[BaseException], ...]) -> None:
        """Ask until the answer is no such error.

        :raises RuntimeError: it did not start in ``START`` seconds; with the end of what it said.
        """
        deadline = time.monotonic() + START
        while True:
            try:
                is_ready()
                return
            except errors as error:
                if self._process.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError("%s did not start: %s\n%s" % (self.name, error, self.tail())) from None
            time.sleep(0.05)

    def tail(self) -> str:
        """The end of what it said."""
        self._said.seek(0)
        return self._said.read().decode("utf-8", "replace")[-2000:]

    def close(self) -> None:
        try:
            os.killpg(self.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self._process.wait()
        self._said.close()
        shutil.rmtree(self.folder, ignore_errors=True)


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])
