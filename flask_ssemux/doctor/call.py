"""Sends one request as a browser would, and records the response with times. Nothing is judged here.

The standard library's HTTP client runs in a thread, so it works wherever ``flask`` does. Times are
``time.monotonic()``.
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

#: How a response ended.
CLEAN, SEVERED = "clean", "severed"

#: The headers of a browser that opens a stream, without "br", which the standard library cannot decompress.
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

    :param headers: headers that the user adds.
    :param timeout: seconds that connecting may take.
    :param context: the TLS context.
    :param detours: other addresses to connect to, by the URL's host and port.
    """

    headers: Mapping[str, str]
    timeout: float
    context: ssl.SSLContext
    detours: Mapping[Address, Address] = {}  # noqa: RUF012

    def connect(self, url: str, context: ssl.SSLContext | None = None) -> socket.socket:
        """Connect to the URL's host, with TLS for https.

        :param context: a TLS context to use instead of the caller's.
        :raises OSError: the host cannot be reached, or its certificate is not trusted.
        """
        address = get_address(url)
        plain = socket.create_connection(self.detours.get(address, address), self.timeout)
        if urlsplit(url).scheme != "https":
            return plain
        try:
            return (context or self.context).wrap_socket(plain, server_hostname=address[0])
        except socket.timeout:  # for example a server that waits for the end of a line
            plain.close()
            raise ssl.SSLError(errno.ETIMEDOUT, "the handshake did not end in time") from None
        except BaseException:
            plain.close()
            raise

    def call(self, url: str, method: str = "GET", **headers: str) -> Call:
        """Begin a request.

        :param headers: the headers' names are written with ``_`` instead of ``-``.
        """
        added = {name.replace("_", "-"): value for name, value in headers.items()}
        return Call(url, method, {**AS_A_BROWSER, **self.headers, **added}, self.connect)


class Call:
    """A request that is under way, or over because the server ended it. After ``close`` nothing more is recorded."""

    def __init__(
        self, url: str, method: str, headers: Mapping[str, str], connect: Callable[[str], socket.socket]
    ) -> None:
        self.url = url
        #: When the request was sent (after connecting), when the headers arrived, when the server ended the response.
        self.asked_at: float | None = None
        self.headers_at: float | None = None
        self.ended_at: float | None = None
        self.connect_seconds: float | None = None
        self.status = 0
        self.version = 0
        #: The response's headers, by lower-case names.
        self.headers: dict[str, str] = {}
        #: When parts of the body arrived. If there are too many, the last entry is the newest part.
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
        """Whether a browser would read the response as a stream."""
        essence = self.headers.get("content-type", "").partition(";")[0].strip().lower()
        return self.status == 200 and essence == "text/event-stream"

    def events(self, name: str) -> list[Frame]:
        return [frame for frame in self.frames if frame.event == name]

    def seconds_to(self, at: float | None) -> float | None:
        """Return the seconds from the request to this time."""
        return None if at is None or self.asked_at is None else at - self.asked_at

    @property
    def seconds_to_headers(self) -> float | None:
        return self.seconds_to(self.headers_at)

    @property
    def seconds_to_first_byte(self) -> float | None:
        return self.seconds_to(self.times[0]) if self.times else None

    def silences(self) -> list[float]:
        """Return the pauses between parts of the body, in seconds. The last one is up to the end of the response."""
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
        """Wait for the thread after ``close``, for at most a second: it may still be looking up a host name."""
        self._thread.join(1)

    # ----------------------------------------------------------------------

    def _run(self) -> None:
        error: Exception | None = None
        try:
            self._read(self._ask())
        except (OSError, http.client.HTTPException, ValueError, AttributeError, zlib.error) as found:
            # AttributeError: a TLS connection that was closed meanwhile.
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
        connection = http.client.HTTPConnection(*get_address(url))
        connection.default_port = 443 if parts.scheme == "https" else 80  # the Host header omits the default port
        connection.sock = self._socket = connect(url)
        self._socket.settimeout(None)  # the caller limits the time, and closes the connection
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


def get_address(url: str) -> Address:
    parts = urlsplit(url)
    return parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)


def negotiate_protocol(url: str, caller: Caller) -> str | None:
    """Return "h2" or "http/1.1" as the server chooses for a browser (ALPN); None if it does not, or without TLS."""
    if urlsplit(url).scheme != "https":
        return None
    offering = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    offering.check_hostname, offering.verify_mode = False, ssl.CERT_NONE  # no data is sent or read
    offering.set_alpn_protocols(["h2", "http/1.1"])
    try:
        with caller.connect(url, offering) as secured:
            return secured.selected_alpn_protocol()  # type: ignore[attr-defined, no-any-return]
    except OSError:
        return None


def make_context(insecure: bool, ca: str | None) -> ssl.SSLContext:
    """Return a TLS context.

    :param insecure: accept any certificate.
    :param ca: a file with certificates to trust in addition to the system's.
    """
    context = ssl.create_default_context()
    if ca:
        context.load_verify_locations(ca)
    if insecure:
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_alpn_protocols(["http/1.1"])
    return context
