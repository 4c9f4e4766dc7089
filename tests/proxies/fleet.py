"""All proxies at once in front of one gunicorn, each with three streams that are looked at later: time passes once for all."""

from __future__ import annotations

import ssl
import time
import zlib
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.harness.client import Herd, Loop, RawStream
from tests.proxies import apache, caddy, haproxy, nginx, squid, varnish
from tests.proxies.proxy import NAME, Setup
from tests.server.conftest import Site

SETUPS: list[Setup] = [
    setup for module in (nginx, apache, haproxy, caddy, varnish, squid) for setup in module.SETUPS
]

#: A browser's; compressors look at it.
HEADERS = {"Host": NAME, "Accept-Encoding": "gzip, deflate, br"}


class Hop:
    """A running proxy, and streams through it."""

    def __init__(self, setup: Setup, site: Site, pem: Path, loop: Loop) -> None:
        self.setup = setup
        self.site = site
        self.server = setup.make(site.port, pem)
        self.tls = ssl.create_default_context(cafile=str(pem)) if setup.tls else None
        self.loop = loop
        self.seen: dict[str, str] = {}

    def stream(self, path: str, last: str | None = None, **options) -> RawStream:
        headers = HEADERS if last is None else {**HEADERS, "Last-Event-ID": last}
        return RawStream(self.server.port, path, headers, tls=self.tls, **options)

    def herd(self, count: int, path: str, **options) -> Herd:
        return Herd(self.server.port, count, path, lambda i: HEADERS, tls=self.tls, **options)

    def readers(self, channel: str) -> int:
        """How many streams the worker has for it."""
        return self.site.get(f"/readers/{channel}")["count"]

    def note(self, **seen: str) -> None:
        """For the table."""
        self.seen.update(seen)

    def open_lasting(self) -> None:
        """The streams that are open from the beginning on."""
        self.idle = self.stream("/events?channel=room:idle", loop=self.loop)
        self.silent = self.stream("/silent", loop=self.loop)
        self.old = self.stream("/before/events", loop=self.loop)

    def close(self) -> None:
        for stream in (self.idle, self.silent, self.old):
            stream.close()


class Fleet:
    """By setup: a Hop, or why there is none."""

    def __init__(self, site: Site, pem: Path) -> None:
        self.site = site
        self.stack = ExitStack()
        self.hops: dict[Setup, Hop] = {}
        self.absent: dict[Setup, BaseException] = {}
        self.loop = Loop()
        self.stack.callback(self.loop.close)
        for setup in SETUPS:
            try:
                self.hops[setup] = Hop(setup, site, pem, self.loop)
            except (pytest.skip.Exception, pytest.fail.Exception) as error:
                self.absent[setup] = error

    def __enter__(self) -> Fleet:
        with self.stack:
            for hop in self.hops.values():
                self.stack.callback(hop.server.kill)
                hop.server.launch()
            for setup, hop in list(self.hops.items()):
                try:
                    hop.server.wait_ready()
                except AssertionError as error:
                    self.absent[setup] = error
                    del self.hops[setup]
            for hop in self.hops.values():
                hop.open_lasting()
                self.stack.callback(hop.close)
            self.stack = self.stack.pop_all()
        return self

    def __exit__(self, *_) -> None:
        self.stack.close()

    @property
    def seen(self) -> dict[Setup, dict[str, str]]:
        return {setup: hop.seen for setup, hop in self.hops.items()}

    def __getitem__(self, setup: Setup) -> Hop:
        if setup in self.absent:
            raise self.absent[setup]
        return self.hops[setup]


def plain_blocks(stream: RawStream) -> list[tuple[float, bytes]]:
    """When which bytes could be read, once a compressor's work is undone."""
    if stream.headers.get("content-encoding") is None:
        return stream.blocks
    assert stream.headers["content-encoding"] == "gzip", stream.headers
    unzip = zlib.decompressobj(31)
    blocks = [(at, unzip.decompress(data)) for at, data in stream.blocks]
    return [(at, data) for at, data in blocks if data]


def readable(stream: RawStream) -> bytes:
    return b"".join(data for _, data in plain_blocks(stream))


def age(stream: RawStream) -> float:
    return time.monotonic() - stream.opened_at
