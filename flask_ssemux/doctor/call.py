"""One request, as a browser would send it, and what came of it, with times. No judgement of either.

The standard library's client, in a thread, so that it runs wherever ``flask`` does. Times are ``time.monotonic()``.
"""

from __future__ import annotations

import errno
import http.client
import socket
import ssl
import threading
import time
import zlib
from typing import Any, Callable, Mapping, NamedTuple, Tuple
from urllib.parse import urlsplit

from .frames import MOST, Frame, Frames

#: How an answer ended.
CLEAN, SEVERED = "clean", "severed"

#: What a browser says when it opens a stream; but no "br", which the standard library cannot read.
AS_A_BROWSER = {
    "Accept": "text/event-stream",
    "Accept-Encoding": "gzip, deflate",
    "Cache-Control": "no-cache",
    "User-Agent": "flask-ssemux-doctor",
}


#: A host and its port.
Address = Tuple[str, int]


class Caller(NamedTuple):
    """What all requests of a run have in common.

    :param headers: that the user adds.
    :param timeout: seconds that a connection may take.
    :param context: for TLS.
    :param detours: where to connect to instead, by the URL's host and port.
    """

    headers: Mapping[str, str]
    timeout: float
    context: ssl.SSLContext
    detours: Mapping[Address, Address] = {}  # noqa: RUF012

    def connect(self, url: str, context: ssl.SSLContext | None = None) -> socket.socket:
        """To the URL's host, and through TLS if it says so.

        :param context: instead of its own.
        :raises OSError: it cannot be reached, or not be trusted.
        """
        address = address_of(url)
        plain = socket.create_connection(self.detours.get(address, address), self.timeout)
        if urlsplit(url).scheme != "https":
            return plain
        try:
            return (context or self.context).wrap_socket(plain, server_hostname=address[0])
        except socket.timeout:  # as of servers that wait for the end of a line
            plain.close()
            raise ssl.SSLError(errno.ETIMEDOUT, "the handshake did not end in time") from None
        except BaseException:
            plain.close()
            raise

    def call(self, url: str, method: str = "GET", **headers: str) -> Call:
        """Begin a request.

        :param headers: by their names with ``_`` for ``-``.
        """
        added = {name.replace("_", "-"): value for name, value in headers.items()}
        return Call(url, method, {**AS_A_BROWSER, **self.headers, **added}, self.connect)


class Call:
    """A request that is under way, or over: the server ended it. Until then, ``close`` takes nothing more."""

    def __init__(
        self, url: str, method: str, headers: Mapping[str, str], connect: Callable[[str], socket.socket]
    ) -> None:
        self.url = url
        #: When the request went out (the connection stands by then), its answer's headers came, the server ended it.
        self.asked_at: float | None = None
        self.headers_at: float | None = None
        self.ended_at: float | None = None
        self.connect_seconds: float | None = None
        self.status = 0
        self.version = 0
        #: By lower-case names.
        self.headers: dict[str, str] = {}
        #: When bytes of the body came: at first, and last.
        self.times: list[float] = []
        self.body = b""
        self.ended = ""
        self.error: Exception | None = None
        self._frames = Frames()
        self._unpack: Callable[[bytes], bytes] = bytes
        self._socket: Any = None
        self._closed_at: float | None = None
        self._arguments = (url, method, headers, connect)
        self._thread = threading.Thread(target=self._run, name="ssemux-doctor", daemon=True)
        self._thread.start()

    @property
    def frames(self) -> list[Frame]:
        return self._frames.all

    @property
    def is_over(self) -> bool:
        return self.ended_at is not None

    @property
    def is_stream(self) -> bool:
        return self.status == 200 and self.headers.get("content-type", "").startswith("text/event-stream")

    def events(self, name: str) -> list[Frame]:
        return [frame for frame in self.frames if frame.event == name]

    def seconds_to(self, at: float | None) -> float | None:
        """From the request to then."""
        return None if at is None or self.asked_at is None else at - self.asked_at

    @property
    def seconds_to_headers(self) -> float | None:
        return self.seconds_to(self.headers_at)

    @property
    def seconds_to_first_byte(self) -> float | None:
        return self.seconds_to(self.times[0]) if self.times else None

    def silences(self) -> list[float]:
        """Seconds without a byte of the body, from its first; the last is up to its end, or ours."""
        times = self.times + [self.ended_at or self._closed_at or time.monotonic()] if self.times else []
        return [after - before for before, after in zip(times, times[1:])]

    def close(self) -> None:
        self._closed_at = self._closed_at or time.monotonic()
        try:
            if self._socket is not None:
                self._socket.shutdown(socket.SHUT_RDWR)  # wakes the thread that reads it
        except OSError:
            pass

    def join(self) -> None:
        """After ``close``: until nothing of it is left, but not for long; a name may still be looked up."""
        self._thread.join(1)

    # ----------------------------------------------------------------------

    def _run(self) -> None:
        error: Exception | None = None
        try:
            self._read(self._ask())
        except (OSError, http.client.HTTPException, ValueError, AttributeError, zlib.error) as found:
            # The last but one: a TLS connection that was closed meanwhile.
            error = found
        if self._socket is not None:
            self._socket.close()
        if self._closed_at is None:
            self.error = error
            self.ended = SEVERED if error else CLEAN
            self.ended_at = time.monotonic()

    def _ask(self) -> http.client.HTTPResponse:
        url, method, headers, connect = self._arguments
        began = time.monotonic()
        parts = urlsplit(url)
        connection = http.client.HTTPConnection(*address_of(url))
        connection.default_port = 443 if parts.scheme == "https" else 80  # which the Host header leaves out
        connection.sock = self._socket = connect(url)
        self._socket.settimeout(None)  # whoever waits says how long, and closes
        self.connect_seconds = time.monotonic() - began
        if self._closed_at:
            raise ConnectionAbortedError
        path = parts.path or "/"
        self.asked_at = time.monotonic()
        connection.request(method, "%s?%s" % (path, parts.query) if parts.query else path, headers=dict(headers))
        return connection.getresponse()

    def _read(self, response: http.client.HTTPResponse) -> None:
        self.status, self.version = response.status, response.version
        for name, value in response.getheaders():
            known = self.headers.get(name.lower())
            self.headers[name.lower()] = value if known is None else "%s, %s" % (known, value)
        if self.headers.get("content-encoding") in ("gzip", "deflate"):
            self._unpack = zlib.decompressobj(zlib.MAX_WBITS | 32).decompress
        self.headers_at = time.monotonic()
        with response:
            data = response.read1(65536)
            while data:
                now = time.monotonic()
                if len(self.times) == MOST:
                    self.times.pop()
                self.times.append(now)
                text = self._unpack(data)
                if not self.is_stream:
                    self.body = (self.body + text)[:2000]
                self._frames.feed(text, now)
                data = response.read1(65536)


def address_of(url: str) -> Address:
    parts = urlsplit(url)
    return parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)


def protocol_of(url: str, caller: Caller) -> str | None:
    """What the server chooses of HTTP/2 and HTTP/1.1 for a browser (ALPN); None if it says nothing, or without TLS."""
    if urlsplit(url).scheme != "https":
        return None
    offering = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    offering.check_hostname, offering.verify_mode = False, ssl.CERT_NONE  # nothing is sent or read on it
    offering.set_alpn_protocols(["h2", "http/1.1"])
    try:
        with caller.connect(url, offering) as secured:
            return secured.selected_alpn_protocol()  # type: ignore[attr-defined, no-any-return]
    except OSError:
        return None


def make_context(insecure: bool, ca: str | None) -> ssl.SSLContext:
    """For TLS.

    :param insecure: take any certificate.
    :param ca: a file with certificates to trust besides the system's.
    """
    context = ssl.create_default_context()
    if ca:
        context.load_verify_locations(ca)
    if insecure:
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_alpn_protocols(["http/1.1"])
    return context
