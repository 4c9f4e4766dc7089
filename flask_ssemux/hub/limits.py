"""How much may wait for one client, and how long each step of a stream may take. Numbers only; no stream is changed."""

from __future__ import annotations

from typing import Any, Callable, NamedTuple

#: Seconds that one write may take. A client that takes nothing for longer counts as vanished.
WRITE_TIMEOUT = 30.0

#: Seconds that a transport has to begin. A stream gets no transport if the request fails after its view: the session
#: could not be saved, or an ``after_request`` function raised.
BEGIN_TIMEOUT = 3.0

#: Seconds until a check that found no transport is repeated. A blocked event loop gave the transport no chance to run.
CHECK_AGAIN = 1.0

#: Frames that wait are joined into one write of about this many bytes.
WRITE_BYTES = 64 * 1024


class StreamLimits(NamedTuple):
    """The limits that all streams of an application share.

    :param events: the maximum number of frames in the queue.
    :param size: the maximum number of bytes in the queue.
    :param heartbeat: the longest silence, in seconds.
    :param heartbeat_frame: the frame that ends a silence.
    :param abandon: closes a stream that has no transport to do so, for the given reason. It must return at once.
    """

    events: int
    size: int
    heartbeat: float
    heartbeat_frame: bytes
    abandon: Callable[[Any, str], None] = lambda stream, reason: stream.mark_closed(reason)
