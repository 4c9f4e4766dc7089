"""A client without rules: it sends the bytes that it is given, and reads the answer. It judges nothing."""

from __future__ import annotations

import re
import socket
import time
from typing import Callable, NamedTuple, Optional, Tuple

from tests.harness.answer import Answer, Malformed

#: The maximum seconds that a server may take for an answer.
PATIENCE = 10.0

#: What no answer may contain.
NEVER = rb"\0never\0"

Begun = Optional[Tuple[bytes, Callable[[], None]]]


class Reply(NamedTuple):
    """What a server answered.

    :param status: None if it closed the connection without an answer.
    :param body: what there was of it; of a stream the beginning.
    :param surplus: bytes after the answer's end: a second answer.
    """

    status: int | None
    headers: dict
    body: bytes
    surplus: bytes


def send(port: int, request: bytes, until: bytes = NEVER, patience: float = PATIENCE, begun: Begun = None) -> Reply:
    """Send a request, and read until the answer is complete, the connection is closed, or ``until`` is in the body.

    :param until: a regular expression.
    :param begun: bytes of the body, and the function that is called when they have arrived.
    """
    answer, body, surplus = Answer(), b"", b""
    deadline = time.monotonic() + patience
    with socket.create_connection(("127.0.0.1", port), 5) as connection:
        try:
            connection.sendall(request)
        except OSError:
            pass  # it was cut off before its end; there may be an answer
        while not answer.complete and not re.search(until, body):
            connection.settimeout(max(0.01, deadline - time.monotonic()))
            try:
                data = connection.recv(65536)
            except ConnectionError:
                break
            except socket.timeout:
                raise AssertionError("no answer in %g s to %r; so far %r" % (patience, request[:200], body)) from None
            if not data:
                answer.end_of_connection()
                break
            try:
                body += answer.feed(data)
                if answer.status == 100:  # the real answer follows
                    rest, answer = answer.surplus + body, Answer()
                    body = answer.feed(rest)
                if begun and begun[0] in body:
                    begun[1]()
                    begun = None
            except Malformed:
                if data.startswith(b"HTTP/"):  # of a version that was requested and is not supported: gunicorn 20
                    return Reply(int(data.split()[1]), {}, data, b"")
                raise AssertionError("not an HTTP answer to %r: %r" % (request[:200], data[:400])) from None
        surplus = answer.surplus
    return Reply(answer.status, answer.headers or {}, body, surplus)
