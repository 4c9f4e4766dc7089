"""A client that resumes as browsers do, but without their pause."""

from __future__ import annotations

import threading

from tests.harness.waiting import POLL_SECONDS
from tests.proxies.fleet import Hop


class Follower(threading.Thread):
    """`got` is the data of all events named `n`, over all its connections; `connected` is their number."""

    def __init__(self, hop: Hop, channel: str) -> None:
        super().__init__(daemon=True)
        self.got: list[str] = []
        self.connected = 0
        self._hop = hop
        self._path = f"/events?channel={channel}"
        self._last: str | None = None
        self._over = threading.Event()

    def run(self) -> None:
        while not self._over.wait(POLL_SECONDS):
            try:
                self._follow()
            except OSError:
                pass  # the proxy is not running

    def _follow(self) -> None:
        with self._hop.stream(self._path, self._last) as stream:
            known, ended = 0, None
            while not ended and not self._over.wait(POLL_SECONDS):
                ended = stream.ended  # before checking for the last time
                events = stream.events()
                self.connected += bool(events) and not known
                self.got += [event.data for event in events[known:] if event.event == "n"]
                self._last = stream.last_event_id or self._last
                known = len(events)

    def stop(self) -> None:
        self._over.set()
        self.join(10)
