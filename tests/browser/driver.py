"""Clients that run in Node: Chromium on a page (`Browser`) and the `eventsource` package (`NodeClient`).

They report while they run; `wait_for` waits for a report, and all reports so far are in `seen`: dictionaries with `who`
(polyfill, native, node, console, page), `what` (open, error, event, or a console message's type), `at` (seconds since
1970), `after` (seconds since that client was made), `name`, `data` and `id` of an event, `text` of a message.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import tempfile
import threading
import time
from pathlib import Path
from typing import Any, Callable, Dict, Sequence
from urllib.parse import urlencode

from tests.harness.packages import need, need_npm
from tests.harness.servers import ROOT

HERE = Path(__file__).resolve().parent
BUILD = ROOT / "build"
START_AND_STOP_SECONDS = 30.0

Seen = Dict[str, Any]


class Script:
    """A running Node script that prints one JSON object per line. It is a context manager and stops the script at its
    end.
    """

    def __init__(self, script: str, seconds: float, **wish: Any) -> None:
        node = need("nodejs", "node")
        self.seen: list[Seen] = []
        self._changed = threading.Condition()
        self._ended = False
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 (closed by _kill)
        self._process = subprocess.Popen(
            [node, str(HERE / script), json.dumps({"seconds": seconds, **wish})],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            start_new_session=True,
        )
        self._limit = time.monotonic() + seconds + START_AND_STOP_SECONDS
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def all(self, who: str | None = None, what: str | None = None, **more: Any) -> list[Seen]:
        """Return the reports so far with these values; keyword arguments such as `name="progress"` narrow them
        further.
        """
        wanted = {name: value for name, value in dict(who=who, what=what, **more).items() if value is not None}
        with self._changed:
            return [entry for entry in self.seen if all(entry.get(name) == value for name, value in wanted.items())]

    def wait_for(self, check: Callable[[Script], Any], timeout: float) -> Any:
        deadline = time.monotonic() + timeout
        with self._changed:
            while True:
                found = check(self)
                if found:
                    return found
                assert not self._ended, f"never came, the script is over: {self.describe()}"
                left = deadline - time.monotonic()
                assert left > 0, f"not within {timeout} s: {self.describe()}"
                self._changed.wait(left)

    def wait_all(self, who: str, what: str, count: int = 1, timeout: float = 5.0, **more: Any) -> list[Seen]:
        """Wait for at least `count` reports as in `all`."""
        return self.wait_for(
            lambda script: len(script.all(who, what, **more)) >= count and script.all(who, what, **more), timeout
        )

    def let_pass(self, seconds: float, until: Callable[[Script], Any]) -> None:
        """Wait while `until` must stay false: fail as soon as it is true, or if the script ends."""
        deadline = time.monotonic() + seconds
        with self._changed:
            while time.monotonic() < deadline:
                assert not until(self), f"it happened: {self.describe()}"
                assert not self._ended, f"the script ended too soon: {self.describe()}"
                self._changed.wait(deadline - time.monotonic())

    def finish(self) -> list[Seen]:
        """Wait until the script's time is over, and return all reports."""
        return self._wait_end()

    def stop(self) -> list[Seen]:
        """End the script gracefully (a browser makes its screenshot), and return all reports."""
        if self._process.stdin:
            self._process.stdin.close()
        return self._wait_end()

    def describe(self) -> str:
        self._errors.seek(0)
        lines = "\n".join(json.dumps(entry) for entry in self.seen)
        return f"it reported\n{lines}\nand on stderr\n{self._errors.read().decode('utf-8', 'replace')[-2000:]}"

    def _wait_end(self) -> list[Seen]:
        self._reader.join(max(0.0, self._limit - time.monotonic()))
        assert self._ended, f"the script hangs: {self.describe()}"
        assert self._process.wait(5) == 0, f"the script failed: {self.describe()}"
        return list(self.seen)

    def _read(self) -> None:
        for line in self._process.stdout:  # type: ignore[union-attr]
            with self._changed:
                self.seen.append(json.loads(line))
                self._changed.notify_all()
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def __enter__(self) -> Any:
        return self

    def __exit__(self, kind: Any, *_: Any) -> None:
        try:
            if kind is None and not self._ended:
                self.stop()
        finally:
            self._kill()

    def _kill(self) -> None:
        try:
            os.killpg(self._process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self._process.wait()
        self._reader.join(5)
        for file in (self._process.stdin, self._process.stdout, self._errors):
            if file and not file.closed:
                file.close()


class Browser(Script):
    """Chromium on the page of tests/apps/page.py, or on any page that calls `window.report`.

    `query` is the page's query. A screenshot of its final state is kept as build/<screenshot>.
    """

    def __init__(self, url: str, seconds: float, screenshot: str | None = None, **query: Any) -> None:
        need_npm("playwright-core")
        need_npm("event-source-polyfill")
        wish = {"chromium": need("chromium", "/usr/bin/chromium"), "url": f"{url}?{urlencode(query)}" if query else url}
        if screenshot:
            BUILD.mkdir(exist_ok=True)
            wish["screenshot"] = str(BUILD / screenshot)
        super().__init__("watch.js", seconds, **wish)


class NodeClient(Script):
    """Node's `eventsource` package on a stream."""

    def __init__(self, url: str, seconds: float, names: Sequence[str] = ()) -> None:
        need_npm("eventsource")
        super().__init__("listen.js", seconds, url=url, names=list(names))
