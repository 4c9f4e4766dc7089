"""An HTTP/1.x answer that is decoded as its bytes arrive. It does no I/O and uses no clock."""

from __future__ import annotations

from typing import Any


class Malformed(Exception):
    """The server violated HTTP."""


class Answer:
    """Feed it the bytes from the socket; it returns the bytes of the body at once, however small a part of a chunk they
    are.
    """

    def __init__(self) -> None:
        self.version: str | None = None
        self.status: int | None = None
        self.raw_headers: list[tuple[str, str]] = []
        self.headers: dict[str, Any] | None = None
        self.framing: str | None = None
        """How the body ends: `chunked`, `length` or `close`."""
        self.complete = False
        self.surplus = b""
        """What came after the end."""
        self._buffer = bytearray()
        self._left = 0
        self._step = self._head

    def feed(self, data: bytes) -> bytes:
        self._buffer += data
        body = bytearray()
        while self._step(body):
            pass
        return bytes(body)

    def end_of_connection(self) -> bool:
        """Return whether the answer is complete; call it when the peer has closed the connection."""
        if self.framing == "close":
            self.complete = True
        return self.complete

    def _line(self) -> str | None:
        end = self._buffer.find(b"\r\n")
        if end < 0:
            return None
        line = self._buffer[:end].decode("latin-1")
        del self._buffer[: end + 2]
        return line

    def _head(self, body: bytearray) -> bool:
        if b"\r\n\r\n" not in self._buffer:
            return False
        version, status, *_ = (self._line() or "").split(" ", 2)
        if not version.startswith("HTTP/1.") or not status.isdigit():
            raise Malformed(f"not an HTTP/1.x status line: {version} {status}")
        self.version, self.status = version[5:], int(status)
        self._read_headers()
        self._choose_framing()
        return True

    def _read_headers(self) -> None:
        headers: dict[str, Any] = {}
        for line in iter(self._line, ""):
            name, _, value = (part.strip() for part in (line or "").partition(":"))
            self.raw_headers.append((name, value))
            key = name.lower()
            if key == "set-cookie":
                headers.setdefault(key, []).append(value)
            else:
                headers[key] = f"{headers[key]}, {value}" if key in headers else value
        self.headers = headers

    def _choose_framing(self) -> None:
        headers = self.headers or {}
        if self.status in (204, 304):
            self.framing, self._left, self._step = "length", 0, self._sized
        elif headers.get("transfer-encoding", "").lower() == "chunked":
            self.framing, self._step = "chunked", self._chunk_size
        elif "content-length" in headers:
            self.framing, self._left, self._step = "length", int(headers["content-length"]), self._sized
        else:
            self.framing, self._step = "close", self._unsized

    def _move(self, body: bytearray) -> None:
        piece = self._buffer[: self._left]
        body += piece
        self._left -= len(piece)
        del self._buffer[: len(piece)]

    def _chunk_size(self, body: bytearray) -> bool:
        line = self._line()
        if line is None:
            return False
        try:
            self._left = int(line.split(";")[0], 16)
        except ValueError:
            raise Malformed(f"not a chunk's size: {line!r}") from None
        self._step = self._chunk if self._left else self._trailer
        return True

    def _chunk(self, body: bytearray) -> bool:
        self._move(body)
        if self._left or len(self._buffer) < 2:
            return False
        if self._buffer[:2] != b"\r\n":
            raise Malformed(f"a chunk is followed by {bytes(self._buffer[:8])!r}")
        del self._buffer[:2]
        self._step = self._chunk_size
        return True

    def _trailer(self, body: bytearray) -> bool:
        line = self._line()
        if line == "":
            self._step = self._after
            self.complete = True
        return line is not None

    def _sized(self, body: bytearray) -> bool:
        self._move(body)
        if self._left:
            return False
        self._step = self._after
        self.complete = True
        return True

    def _unsized(self, body: bytearray) -> bool:
        self._left = len(self._buffer)
        self._move(body)
        return False

    def _after(self, body: bytearray) -> bool:
        self.surplus += bytes(self._buffer)
        self._buffer.clear()
        return False
