"""SSE clients over raw sockets that note when each byte arrived.

`RawStream` is one connection, read by a thread of its own; `Herd` is many, read by one thread. Times are
`time.monotonic()` seconds, which can be compared between the processes of a machine. Every wait is bounded, and fails
at once when the connection has ended and nothing more can arrive; its message shows what was received.
"""

from __future__ import annotations

import selectors
import socket
import ssl
import struct
import threading
import time
import zlib
from collections import deque
from typing import Any, Callable, Dict, Iterator, Sequence, Tuple, Union

from tests.harness.answer import Answer, Malformed
from tests.harness.parser import Ending, Frame, Parser

READ_BYTES = 64 * 1024
Headers = Union[Dict[str, str], Sequence[Tuple[str, str]]]


class Loop:
    """A thread that reads sockets as they become readable, and calls functions for others in between."""

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()
        self._wake_end, self._wake = socket.socketpair()
        self._wake_end.setblocking(False)
        self._selector.register(self._wake_end, selectors.EVENT_READ, self._run_asked)
        self._asked: deque[Callable[[], None]] = deque()
        self._running = True
        self._thread = threading.Thread(target=self._run, name="harness client", daemon=True)
        self._thread.start()

    def watch(self, sock: socket.socket, readable: Callable[[], None]) -> None:
        self._ask(lambda: self._selector.register(sock, selectors.EVENT_READ, readable))

    def forget(self, sock: socket.socket) -> None:
        """Stop reading `sock`; after the return nothing of it is being read."""
        self._ask(lambda: self._unregister(sock))

    def close(self) -> None:
        if self._running:
            self._ask(self._stop)
            self._thread.join(5)
            self._wake.close()

    def _ask(self, function: Callable[[], Any]) -> None:
        if threading.current_thread() is self._thread or not self._running:
            function()
            return
        done = threading.Event()
        self._asked.append(lambda: (function(), done.set()))
        self._wake.send(b"!")
        assert done.wait(10), "the client's reading thread hangs"

    def _run_asked(self) -> None:
        self._wake_end.recv(4096)
        while self._asked:
            self._asked.popleft()()

    def _unregister(self, sock: socket.socket) -> None:
        if self._running and sock.fileno() >= 0 and sock in self._selector.get_map():
            self._selector.unregister(sock)

    def _stop(self) -> None:
        self._running = False

    def _run(self) -> None:
        while self._running:
            for key, _ in self._selector.select():
                if key.fd in self._selector.get_map():  # unless a call of this very round has removed it
                    key.data()
        self._selector.close()
        self._wake_end.close()


class RawStream:
    """One HTTP/1.x request and the answer as it arrives. The constructor sends the request.

    With `tls` it uses TLS, with the Host header's name as the server name.
    """

    def __init__(
        self,
        port: int,
        path: str = "/events",
        headers: Headers | None = None,
        version: str = "1.1",
        host: str = "127.0.0.1",
        *,
        method: str = "GET",
        rcvbuf: int | None = None,
        mss: int | None = None,
        timeout: float = 5.0,
        tls: ssl.SSLContext | None = None,
        loop: Loop | None = None,
    ) -> None:
        self.path = path
        self.headers_at: float | None = None
        self.first_byte_at: float | None = None
        """When the first byte of the body came."""
        self.ended: str | None = None
        """`clean` (the answer is whole), `severed` (it was cut off) or `closed` (by us before it ended)."""
        self.ended_at: float | None = None
        self.eof_at: float | None = None
        """When the server closed the connection, which after a clean end it need not do."""
        self.error: BaseException | None = None
        self._answer = Answer()
        self._gunzip: Any = None
        self._parser = Parser()
        self._parsed = 0
        self._blocks: list[tuple[float, bytes]] = []
        self._body = bytearray()
        self._changed = threading.Condition()
        self._over = False
        self._paused = False
        self._own_loop = loop is None
        self._loop = loop or Loop()
        self.opened_at = time.monotonic()
        try:
            self._socket = self._connect(host, port, rcvbuf, mss, timeout)
            if tls is not None:
                self._socket = tls.wrap_socket(self._socket, server_hostname=dict(headers or {}).get("Host", host))
            self._socket.sendall(self._request(method, version, f"{host}:{port}", headers))
        except BaseException:
            self._close_loop()
            raise
        self._socket.setblocking(False)
        self._loop.watch(self._socket, self._readable)

    # What has been received so far.

    @property
    def status(self) -> int | None:
        return self._answer.status

    @property
    def headers(self) -> dict[str, Any]:
        """The answer's headers by lower-case name; `set-cookie` is a list."""
        return self._answer.headers or {}

    @property
    def raw_headers(self) -> list[tuple[str, str]]:
        return self._answer.raw_headers

    @property
    def framing(self) -> str | None:
        """How the server marks the end of the body: `chunked`, `length` or `close`."""
        return self._answer.framing

    @property
    def blocks(self) -> list[tuple[float, bytes]]:
        """The parts of the body with their times, without chunk framing and compression (gzip)."""
        with self._changed:
            return list(self._blocks)

    @property
    def body(self) -> bytes:
        with self._changed:
            return bytes(self._body)

    def frames(self) -> list[Frame]:
        """All frames, including those that a browser would not show (comments, `retry`)."""
        return list(self._parse().frames)

    def ending(self) -> Ending:
        """The `retry` and the comments after the last frame."""
        return self._parse().ending

    @property
    def retry(self) -> int | None:
        """The newest `retry`, as a browser knows it."""
        return self._parse().retry

    def events(self, name: str | None = None) -> list[Frame]:
        """The events that a client would receive; with `name`, those of that name."""
        return [frame for frame in self._parse().events if name is None or frame.event == name]

    def comments(self) -> list[str]:
        return list(self._parse().comments)

    @property
    def last_event_id(self) -> str:
        """What a client would send as Last-Event-ID if it reconnected now."""
        return self._parse().last_event_id

    def longest_silence(self, until: float | None = None, since: float | None = None) -> float:
        """The longest time without a byte of the body, from `since` (the request) until `until` (now, or the end)."""
        with self._changed:
            if until is None:
                until = self.ended_at or time.monotonic()
            since = self.opened_at if since is None else since
            times = [since, *(at for at, _ in self._blocks if since <= at <= until), until]
        return max(after - before for before, after in zip(times, times[1:]))

    def describe(self) -> str:
        with self._changed:
            tail = bytes(self._body[-400:])
            times = [round(at - self.opened_at, 3) for at, _ in self._blocks[-12:]]
            return (
                f"{self.path}: status {self.status}, headers {self.headers}, {len(self._body)} bytes of body in "
                f"{len(self._blocks)} blocks, the last at {times} s, ended: {self.ended}"
                f"{f' ({self.error!r})' if self.error else ''}, {time.monotonic() - self.opened_at:.3f} s since the "
                f"request; the body ends with {tail!r}"
            )

    # Waiting.

    def wait_for(self, what: bytes | Callable[[RawStream], Any], timeout: float) -> Any:
        """Wait until these bytes are in the body, or until `what(stream)` is true; return the result."""
        check = what if callable(what) else (lambda stream: what in stream._body)
        return self._wait(check, timeout, getattr(what, "__name__", None) or repr(what))

    def wait_headers(self, timeout: float) -> dict[str, Any]:
        self._wait(lambda stream: stream.headers_at, timeout, "the headers")
        return self.headers

    def wait_events(self, count: int, timeout: float, name: str | None = None) -> list[Frame]:
        """The first `count` events (with `name`, of that name) as soon as they have arrived."""

        def enough(stream: RawStream) -> bool:
            return len(stream.events(name)) >= count

        self._wait(enough, timeout, f"{count} events{f' named {name}' if name else ''}")
        return self.events(name)[:count]

    def wait_end(self, timeout: float) -> str:
        """Wait until the connection has ended; return how, as in `ended`."""
        self._wait(lambda stream: stream.ended, timeout, "the end")
        return self.ended or ""

    def _wait(self, check: Callable[[RawStream], Any], timeout: float, what: str) -> Any:
        deadline = time.monotonic() + timeout
        with self._changed:
            while True:
                found = check(self)
                if found:
                    return found
                assert not self._over, f"never came, the connection is over: {what}; {self.describe()}"
                left = deadline - time.monotonic()
                assert left > 0, f"not within {timeout} s: {what}; {self.describe()}"
                self._changed.wait(left)

    # Misbehaving and leaving.

    def pause(self) -> None:
        """Stop reading, as a slow client does. A small `rcvbuf` fills up soon, and so does, with a small `mss`, the
        server kernel's buffer, whose size depends on it: with loopback's 64 KB it is megabytes.
        """
        if not self._paused:
            self._paused = True
            self._loop.forget(self._socket)

    def resume(self) -> None:
        if self._paused:
            self._paused = False
            if not self._over:
                self._loop.watch(self._socket, self._readable)

    def close(self, reset: bool = False) -> None:
        """Close the connection; with `reset` by RST, as the kernel of a killed client does."""
        self._loop.forget(self._socket)
        if reset and self._socket.fileno() >= 0:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._socket.close()
        self._finish("closed")
        self._close_loop()

    def __enter__(self) -> RawStream:
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<RawStream {self.describe()}>"

    # Private parts.

    @staticmethod
    def _connect(host: str, port: int, rcvbuf: int | None, mss: int | None, timeout: float) -> socket.socket:
        sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
        try:
            if rcvbuf is not None:  # before connecting, because it decides the window that is offered
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, rcvbuf)
            if mss is not None:
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, mss)
            sock.settimeout(timeout)
            sock.connect((host, port))
        except BaseException:
            sock.close()
            raise
        return sock

    def _request(self, method: str, version: str, host: str, headers: Headers | None) -> bytes:
        given = list(headers.items()) if isinstance(headers, dict) else list(headers or ())
        lines = [f"{method} {self.path} HTTP/{version}"]
        names = {name.lower() for name, _ in given}
        defaults = [("Host", host), ("Accept", "text/event-stream")]
        lines += [f"{name}: {value}" for name, value in defaults if name.lower() not in names]
        lines += [f"{name}: {value}" for name, value in given]
        return ("\r\n".join(lines) + "\r\n\r\n").encode("utf-8")

    def _readable(self) -> None:
        try:
            data = self._socket.recv(READ_BYTES)
            # The TLS layer may have read more than it returned; the socket is then not readable any more.
            while isinstance(self._socket, ssl.SSLSocket) and self._socket.pending():
                data += self._socket.recv(READ_BYTES)
        except (BlockingIOError, ssl.SSLWantReadError):
            return
        except OSError as error:
            self._lost(error)
            return
        if data:
            self._received(data, time.monotonic())
        else:
            self._lost(None)

    def _received(self, data: bytes, now: float) -> None:
        try:
            body = self._plain(self._answer.feed(data))
        except (Malformed, ValueError, zlib.error) as error:
            self._lost(error)
            return
        with self._changed:
            if self.headers_at is None and self._answer.headers is not None:
                self.headers_at = now
            if body:
                self.first_byte_at = self.first_byte_at or now
                self._blocks.append((now, body))
                self._body += body
            if self._answer.complete and self.ended is None:
                self.ended, self.ended_at = "clean", now
            self._changed.notify_all()

    def _plain(self, body: bytes) -> bytes:
        if self.headers.get("content-encoding") != "gzip":
            return body
        if self._gunzip is None:
            self._gunzip = zlib.decompressobj(zlib.MAX_WBITS | 16)
        return self._gunzip.decompress(body)

    def _lost(self, error: BaseException | None) -> None:
        self._loop.forget(self._socket)
        self.error = error
        self.eof_at = time.monotonic()
        self._finish("clean" if error is None and self._answer.end_of_connection() else "severed")

    def _finish(self, how: str) -> None:
        with self._changed:
            self._over = True
            if self.ended is None:
                self.ended, self.ended_at = how, time.monotonic()
            self._changed.notify_all()

    def _parse(self) -> Parser:
        with self._changed:
            for at, body in self._blocks[self._parsed :]:
                self._parser.feed(body, at)
            self._parsed = len(self._blocks)
            return self._parser

    def _close_loop(self) -> None:
        if self._own_loop:
            self._loop.close()


class Herd:
    """Many streams in this process, read by one thread. It is a sequence of RawStreams.

    `port` and `path` may be functions of the client's number, as `headers_of` is.
    """

    def __init__(
        self,
        port: int | Callable[[int], int],
        count: int,
        path: str | Callable[[int], str] = "/events",
        headers_of: Callable[[int], Headers] = lambda i: {},
        **options: Any,
    ) -> None:
        self.clients: list[RawStream] = []
        self._loop = Loop()
        try:
            for i in range(count):
                where = port(i) if callable(port) else port
                what = path(i) if callable(path) else path
                self.clients.append(RawStream(where, what, headers_of(i), loop=self._loop, **options))
        except BaseException:
            self.close()
            raise

    def wait_all(self, what: bytes | Callable[[RawStream], Any], timeout: float) -> None:
        """Wait for it at every client, with one time limit for all."""
        deadline = time.monotonic() + timeout
        for i, client in enumerate(self.clients):
            try:
                client.wait_for(what, max(0.0, deadline - time.monotonic()))
            except AssertionError as error:
                raise AssertionError(f"client {i} of {len(self)}, {timeout} s for all: {error}") from None

    def longest_silence(self, until: float | None = None, since: float | None = None) -> float:
        return max(client.longest_silence(until, since) for client in self.clients)

    def close(self) -> None:
        for client in self.clients:
            client.close()
        self._loop.close()

    def __len__(self) -> int:
        return len(self.clients)

    def __getitem__(self, i: int) -> RawStream:
        return self.clients[i]

    def __iter__(self) -> Iterator[RawStream]:
        return iter(self.clients)

    def __enter__(self) -> Herd:
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()
