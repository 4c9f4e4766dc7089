"""All proxies at once in front of one gunicorn, each with streams that are examined later, so that the waiting is
shared.
"""

from __future__ import annotations

import ssl
import time
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.harness.client import Herd, Loop, RawStream
from tests.harness.waiting import POLL_SECONDS
from tests.proxies import apache, caddy, haproxy, nginx, squid, varnish
from tests.proxies.proxy import HEARTBEAT, NAME, Setup
from tests.server.conftest import Site

SETUPS: list[Setup] = [setup for module in (nginx, apache, haproxy, caddy, varnish, squid) for setup in module.SETUPS]

#: A browser's header; compressors look at it.
HEADERS = {"Host": NAME, "Accept-Encoding": "gzip, deflate, br"}

HELLO = b"ssemux.hello"


class Hop:
    """A running proxy, and streams through it; `seen` is its row of the table."""

    def __init__(self, setup: Setup, site: Site, pem: Path) -> None:
        self.setup = setup
        self.site = site
        self.server = setup.make(site.port, pem)
        self.tls = ssl.create_default_context(cafile=str(pem)) if setup.tls else None
        self.seen: dict[str, str] = {}

    def stream(self, path: str, last: str | None = None, **options) -> RawStream:
        headers = HEADERS if last is None else {**HEADERS, "Last-Event-ID": last}
        return RawStream(self.server.port, path, headers, tls=self.tls, **options)

    def herd(self, count: int, path: str, **options) -> Herd:
        return Herd(self.server.port, count, path, lambda i: HEADERS, tls=self.tls, **options)

    @property
    def leavers(self) -> str:
        """The channel of the clients that leave."""
        return f"room:left-{self.server.port}"

    def open_streams(self, loop: Loop) -> list[RawStream]:
        """Open the streams that are open from the beginning; the last one's client leaves later."""
        self.idle = self.stream("/events?channel=room:idle", loop=loop)
        self.silent = self.stream("/silent", loop=loop)
        self.old = self.stream("/before/events", loop=loop)
        self.leaver = self.stream(f"/events?channel={self.leavers}", loop=loop)
        return [self.idle, self.silent, self.old, self.leaver]


class Fleet:
    """By setup: a Hop, or the reason for its absence."""

    def __init__(self, site: Site, pem: Path) -> None:
        self.site = site
        self.hops: dict[Setup, Hop] = {}
        self.absent: dict[Setup, BaseException] = {}
        self.missed: dict[Setup, float] = {}
        """Seconds until the worker knew that a client had left; see `leave`."""
        self._stack = ExitStack()
        for setup in SETUPS:
            try:
                self.hops[setup] = Hop(setup, site, pem)
            except (pytest.skip.Exception, pytest.fail.Exception) as error:
                self.absent[setup] = error

    @property
    def seen(self) -> dict[Setup, dict[str, str]]:
        """The rows of the table."""
        return {setup: hop.seen for setup, hop in self.hops.items()}

    def __getitem__(self, setup: Setup) -> Hop:
        if setup in self.absent:
            raise self.absent[setup]
        return self.hops[setup]

    def __enter__(self) -> Fleet:
        with self._stack as stack:
            self._start(stack)
            self._open(stack)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_) -> None:
        self._stack.close()

    def _start(self, stack: ExitStack) -> None:
        for hop in self.hops.values():
            stack.callback(hop.server.kill)
            hop.server.launch()
        for setup, hop in list(self.hops.items()):
            try:
                hop.server.wait_ready()
            except AssertionError as error:
                self.absent[setup] = error
                del self.hops[setup]

    def _open(self, stack: ExitStack) -> None:
        loop = Loop()
        stack.callback(loop.close)
        for hop in self.hops.values():
            for stream in hop.open_streams(loop):
                stack.callback(stream.close)

    def leave(self) -> None:
        """Let one client leave behind each proxy at the same time; note when the worker notices each."""
        staying = set(self.hops)
        for hop in self.hops.values():
            hop.leaver.wait_for(HELLO, 5)
        for hop in self.hops.values():
            hop.leaver.close()
        started = time.monotonic()
        while staying and time.monotonic() - started < 4 * HEARTBEAT:
            readers = self.site.get("/readers")
            for setup in [setup for setup in staying if self.hops[setup].leavers not in readers]:
                staying.remove(setup)
                self.missed[setup] = time.monotonic() - started
            time.sleep(POLL_SECONDS)


def age(stream: RawStream) -> float:
    return time.monotonic() - stream.opened_at
