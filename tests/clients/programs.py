"""The clients of other packages, run by ``read.mjs``, ``read.py`` and ``go/main.go``, and what they report.

One process runs all clients of a language: to start one for each client would take longer than the tests.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

from tests.harness.packages import missing, need, need_npm
from tests.harness.servers import ROOT
from tests.harness.waiting import until

HERE = Path(__file__).parent

#: Debian's folder of Go packages, and the one that is used.
GO_PATH = "/usr/share/gocode"
GO_PACKAGE = GO_PATH + "/src/github.com/donovanhide/eventsource"

NPM_PACKAGES = ["eventsource", "eventsource2", "eventsource-parser", "event-source-polyfill"]
NPM_PACKAGES += ["@microsoft/fetch-event-source"]


class Client(NamedTuple):
    """A client of another package.

    :param name: as its package index has it.
    :param kind: "npm", "PyPI" or "Go".
    :param minds_empty_lines: whether it reports an empty message for an empty line without data before it.
    :param minds_fields: whether it reports an error for a field that the standard does not have.
    :param posts: whether it can use other methods than GET.
    :param minds_chunks: whether it takes the end of a chunked response for an empty line: it reads the bytes with their
        framing.
    :param lost: how many events it loses at most if its connection is cut at each byte of an event in turn. A client
        that notes the ``id`` when it reads the line loses the event that is cut before its last byte.
    """

    name: str
    kind: str
    minds_empty_lines: bool = False
    minds_fields: bool = False
    posts: bool = False
    minds_chunks: bool = False
    lost: int = 0


CLIENTS = [
    Client("eventsource 2", "npm", lost=1),
    Client("eventsource 3", "npm"),
    Client("event-source-polyfill", "npm"),
    Client("@microsoft/fetch-event-source", "npm", minds_empty_lines=True, posts=True, lost=1),
    Client("eventsource-parser", "npm", minds_fields=True, posts=True),
    Client("eventsource-parser, its stream", "npm", minds_fields=True, posts=True),
    Client("httpx-sse", "PyPI", minds_empty_lines=True, posts=True),
    Client("sseclient-py", "PyPI", posts=True),
    Client("sseclient", "PyPI", minds_empty_lines=True, minds_chunks=True),
    Client("aiohttp-sse-client", "PyPI", posts=True),
    Client("donovanhide/eventsource", "Go"),
]

#: The client of flask_ssemux, and a copy of it that a page bundled before channels could be in comments.
OURS = [Client("ssemux.js", "npm"), Client("ssemux.js, an old copy", "npm")]

#: It reconnects after a second at the earliest.
SLOW = "event-source-polyfill"


class Reader:
    """A client that reads a URL, and the lines that it has reported."""

    def __init__(self, client: Client, url: str, method: str = "GET") -> None:
        self.client, self.url, self.method = client, url, method
        self.lines: list[dict] = []

    def __str__(self) -> str:
        return "%s, %s: %s" % (self.client.name, self.method, self.lines[-20:])

    @property
    def events(self) -> list[tuple[str, str]]:
        """The application's events with their data."""
        return [(line["event"], line["data"]) for line in self._messages if line["data"] and not _is_own(line)]

    @property
    def own_events(self) -> list[dict]:
        return [line for line in self._messages if _is_own(line)]

    @property
    def empty_messages(self) -> list[dict]:
        return [line for line in self._messages if not line["data"]]

    @property
    def errors(self) -> list[str]:
        return [line["error"] for line in self.lines if "error" in line]

    @property
    def has_opened(self) -> bool:
        return bool(self.own_events) or {"opened": True} in self.lines

    @property
    def _messages(self) -> list[dict]:
        return [line for line in self.lines if "data" in line]


def _is_own(line: dict) -> bool:
    return line["event"].startswith("ssemux.")


class Programs:
    """The processes that run these clients; a context manager."""

    def __init__(self, readers: list[Reader], folder: Path) -> None:
        self.readers = readers
        self._folder = folder
        self._logs: list[Path] = []

    def __enter__(self) -> Programs:
        with ExitStack() as stack:
            for kind in sorted({reader.client.kind for reader in self.readers}):
                stack.callback(self._start(kind))
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def wait_all(self, check, what: str, seconds: float = 40.0) -> None:
        """Wait until the check holds for each client."""

        def tell() -> str:
            late = [str(reader) for reader in self.readers if not check(reader)]
            return "\n".join([what, *late, *(log.read_text(errors="replace")[-2000:] for log in self._logs)])

        until(lambda: all(map(check, self.readers)), seconds, tell)

    def _start(self, kind: str):
        """Start the process of a language, and return the function that ends it."""
        tasks = [
            {"task": number, "client": reader.client.name, "url": reader.url, "method": reader.method}
            for number, reader in enumerate(self.readers)
            if reader.client.kind == kind
        ]
        self._logs.append(self._folder / (kind + ".log"))
        with self._logs[-1].open("wb") as log:
            process = subprocess.Popen(
                [*_find_program(kind, self._folder), json.dumps(tasks)],
                stdout=subprocess.PIPE,
                stderr=log,
                cwd=str(ROOT),
            )
        reading = threading.Thread(target=self._read, args=(process.stdout,), daemon=True)
        reading.start()

        def end() -> None:
            process.kill()
            process.wait()
            reading.join()

        return end

    def _read(self, output) -> None:
        with output:
            for text in output:
                line = json.loads(text)
                self.readers[line.pop("task")].lines.append(line)


def _find_program(kind: str, folder: Path) -> list[str]:
    if kind == "PyPI":
        return [sys.executable, "-W", "ignore", str(HERE / "read.py")]
    if kind == "Go":
        return [_build_go_client(folder)]
    for package in NPM_PACKAGES:
        need_npm(package)
    return [need("nodejs", "node"), "--no-warnings", str(HERE / "read.mjs")]


def _build_go_client(folder: Path) -> str:
    if not Path(GO_PACKAGE).exists():
        missing("%s is missing: apt-get install golang-github-donovanhide-eventsource-dev" % GO_PACKAGE)
    env = {**os.environ, "GO111MODULE": "off", "GOPATH": GO_PATH, "GOCACHE": str(folder / "go-cache")}
    made = str(folder / "go-client")
    go = need("golang-go", "go")
    subprocess.run([go, "build", "-o", made, str(HERE / "go" / "main.go")], check=True, env=env, timeout=60)
    return made
