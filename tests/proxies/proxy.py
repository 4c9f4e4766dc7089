"""What all proxies have in common: a configuration with placeholders, a reload, and what is expected of a setup.

What is specific to a proxy is in the file of its name.
"""

from __future__ import annotations

import re
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Callable

from tests.harness.packages import need
from tests.harness.servers import ROOT, Server, listens, log_folder
from tests.harness.waiting import until

DEPLOY = ROOT / "deploy"

#: The name in the samples; the tests' certificate is for this name.
NAME = "app.example.com"
CERTIFICATE = "/etc/ssl/app.example.com.pem"
UPSTREAM = "127.0.0.1:8000"

#: The longest silence that the proxies are configured to accept, and the shorter heartbeat, in seconds.
TIMEOUT = 4.0
HEARTBEAT = 2.0


def sample(name: str, changes: dict[str, str]) -> str:
    """Return a file of deploy/ with each of these strings replaced; a string that is not there is an error."""
    text = (DEPLOY / name).read_text(encoding="utf-8")
    for old, new in changes.items():
        assert old in text, f"deploy/{name} has no {old!r} that this test could replace"
        text = text.replace(old, new)
    return text


def fill(text: str, words: dict[str, object]) -> str:
    """Replace placeholders such as LISTEN_PORT by their values."""
    for word, value in words.items():
        text = re.sub(rf"\b{word}\b", str(value), text)
    return text


def make_away_file(config: Path) -> None:
    """Run the command in a sample's first lines that makes the file with the answer for when gunicorn is away."""
    (command,) = re.findall(r"^#\s+(printf .*)$", config.read_text(encoding="utf-8"), re.M)
    subprocess.run(["sh", "-c", command], check=True)


class Proxy(Server):
    """A running proxy. `text` is its configuration; LISTEN_PORT, UPSTREAM_PORT, PEM and FOLDER in it are replaced."""

    package = ""
    program = ""
    config_name = "config"

    def __init__(self, upstream_port: int, pem: Path, text: str) -> None:
        self.program = need(self.package, self.program)
        super().__init__()
        self.folder = log_folder() / f"{self.name}-{self.port}"
        self.folder.mkdir()
        self.folder.chmod(0o777)  # some change to another user before they write
        self.config = self.folder / self.config_name
        words = {"LISTEN_PORT": self.port, "UPSTREAM_PORT": upstream_port, "PEM": pem, "FOLDER": self.folder}
        self.config.write_text(fill(text, words))

    def ready(self) -> bool:
        return listens(self.port)

    def reload(self) -> None:
        """Reload as its package's `systemctl reload` does; return when the new configuration serves."""
        raise NotImplementedError

    def replaced(self, before: list[int]) -> None:
        """Wait for a process that did not exist before."""
        until(lambda: set(self.worker_pids()) - set(before), 10, lambda: f"new workers: {before}; {self._state()}")


@dataclass(frozen=True)
class Setup:
    """A row of the table: a proxy, its configuration, and what is expected of it."""

    proxy: str
    config: str
    make: Callable[[int, Path], Server]
    tls: bool = False
    #: Whether it has a time-out for silence at all; if so, it was set to TIMEOUT.
    times_out: bool = True
    #: When the worker notices that a client has left: `at once`, or `at a write`.
    departure: str = "at once"
    #: What happens to open streams when the proxy is reloaded: they `go on`, or are `cut` and resume.
    reload: str = "go on"
    #: What happens to the old stream: it `passes`, is `held back`, …
    old: str = "passes"
    #: How many of 8 streams over one HTTP/2 connection are served at once.
    over_http2: int = 8
    #: How many of 500 streams it carries at least.
    holds: int = 500

    def __str__(self) -> str:
        return f"{self.proxy}, {self.config}"
