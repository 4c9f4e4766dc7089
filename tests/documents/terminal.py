"""What a reader of a page does: types its commands into a shell, and compares what is printed with what the page shows.

No test and no page is here.
"""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from tests.harness.servers import Server
from tests.harness.waiting import until

#: What differs from run to run: times of gunicorn's log, ids of events, numbers and versions, the machine's name. Three
#: dots stand for what the page leaves out.
VARIABLE = re.compile(r"\[[\d:+ -]{20,}\]|\b[a-z0-9]{8}-\d+\b|\bon vm\b|\.\.\.|…|\d+(?:\.\d+)*|\s+")


def pattern(line: str) -> re.Pattern[str]:
    """Return what matches a line that a page shows, whatever its variable parts are."""
    parts = []
    for text, variable in re.findall(r"(.*?)(%s|$)" % VARIABLE.pattern, line):
        parts += [re.escape(text), _any(variable)]
    return re.compile("".join(parts))


def _any(variable: str) -> str:
    if not variable.strip():
        return r"\s+" if variable else ""
    if variable.startswith("["):
        return r"\[[\d:+ -]+\]"
    if variable == "on vm":
        return r"on \S+"
    if variable in ("...", "…"):
        return ".*"
    return r"\b[a-z0-9]{8}-\d+\b" if "-" in variable else r"\d+(?:\.\d+)*"


def shows(printed: str, page: str) -> bool:
    """Return whether all lines of a page's block were printed, in this order; other lines may stand between them."""
    lines = iter(printed.splitlines())
    wanted = [pattern(line.strip()) for line in page.splitlines() if line.strip()]
    return all(any(want.fullmatch(line.strip()) for line in lines) for want in wanted)


class Terminal:
    """A shell of a user, in which one command is typed after the other. A context manager."""

    def __init__(self, folder: Path, env: dict[str, str]) -> None:
        self._folder, self._env = folder, env
        self._printed = tempfile.NamedTemporaryFile("r+", errors="replace")  # noqa: SIM115 (closed by __exit__)

    def __enter__(self) -> Terminal:
        self._shell = subprocess.Popen(
            ["bash"],
            cwd=str(self._folder),
            env=self._env,
            stdin=subprocess.PIPE,
            stdout=self._printed,
            stderr=self._printed,
            universal_newlines=True,
            start_new_session=True,
        )
        return self

    def type(self, line: str, timeout: float = 40.0) -> str:
        """Type a line, and return what it printed."""
        before = len(self._read())
        self._shell.stdin.write(line + "\necho; echo typed: $?\n")
        self._shell.stdin.flush()
        until(lambda: "\ntyped: " in self._read()[before:], timeout, lambda: "%s printed %r" % (line, self._read()))
        return self._read()[before:].split("\ntyped: ")[0]

    def _read(self) -> str:
        return Path(self._printed.name).read_text(errors="replace")

    def __exit__(self, *_: Any) -> None:
        os.killpg(self._shell.pid, signal.SIGKILL)
        self._shell.wait()
        self._shell.stdin.close()
        self._printed.close()


class Foreground(Server):
    """A command that goes on until Ctrl-C, in a terminal of its own; `page` is what shows that it is ready."""

    name = "typed"

    def __init__(self, line: str, page: str, folder: Path, env: dict[str, str]) -> None:
        super().__init__(env, folder)
        self._line, self._page = line, page

    def command(self) -> list[str]:
        return shlex.split(self._line)

    def ready(self) -> bool:
        return shows(self.log, self._page)

    def press_ctrl_c(self) -> None:
        """Send SIGINT to all processes, as a terminal does, and wait until the first one has ended."""
        os.killpg(self.pid, signal.SIGINT)
        self.wait(10)
