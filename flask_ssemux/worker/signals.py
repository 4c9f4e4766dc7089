"""The signals of blinker that the extension sends, and how their receivers are called.

A receiver is a function of the application. Whatever it does, streams and the hub go on: its errors are logged; and
except for ``stream_opened``, whose receivers are called in the request of the stream, one thread (or greenlet) calls
the receivers, one after another. While a signal has no receiver, it costs one check. No signal decides anything here.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from typing import Any, Callable

from flask import Flask
from flask.signals import Namespace  # type: ignore[attr-defined]  # blinker's; Flask before 2.3 has one without blinker

from ..hub.stream import Stream
from ..hub.stream_state import CLOSED
from ..util.made_when_used import MadeWhenUsed, forget
from ..util.supervise import Loop, attempt

_signals = Namespace()

stream_opened = _signals.signal(
    "stream-opened",
    "A stream was opened. Sent in its request, with user (a str, or None for an anonymous visitor) and channels.",
)
stream_closed = _signals.signal(
    "stream-closed",
    "A stream has ended. Sent in an application context, with user and channels as for stream_opened, and reason.",
)
user_joined = _signals.signal(
    "user-joined",
    "A user has arrived on a channel of track_presence(..., events=...). Sent in one of all processes, in an "
    "application context, with user (a str) and channel.",
)
user_left = _signals.signal("user-left", "A user has left such a channel. Sent as user_joined.")


def has_receivers(signal: Any) -> bool:
    """Return whether a signal has receivers. Without blinker it never has."""
    return bool(getattr(signal, "receivers", None))


class SignalSender:
    """Sends the signals of one application in this process.

    :param app: the sender that receivers see.
    """

    _lock = MadeWhenUsed(lambda sender: threading.Lock())
    _loop = MadeWhenUsed(
        lambda sender: Loop("ssemux-signals", sender._lock, lambda: bool(sender._waiting), sender._send_first)
    )

    def __init__(self, app: Flask) -> None:
        self._app = app
        self.disown()

    def disown(self) -> None:
        """In a forked child: what waits is the parent's."""
        forget(self, "_lock", "_loop")
        self._waiting: deque[tuple[Any, dict[str, Any]]] = deque()
        #: The open streams for which ``stream_opened`` was sent, or would have been if it had receivers.
        self._opened: set[Stream] = set()

    def __len__(self) -> int:
        """Return how many signals wait, including the one that is being sent."""
        return len(self._waiting)

    # -- streams -----------------------------------------------------------

    @property
    def follows_streams(self) -> bool:
        """Whether any receiver wants to know about streams."""
        return has_receivers(stream_opened) or has_receivers(stream_closed)

    def announce_opened(self, stream: Stream) -> None:
        """Call the receivers of ``stream_opened`` in the current request; ``announce_closed`` follows."""
        _call_receivers(stream_opened, self._app, {"user": stream.user_id, "channels": stream.channels})
        self._opened.add(stream)
        if stream.state is CLOSED:  # it ended meanwhile
            self.announce_closed(stream)

    def announce_closed(self, stream: Stream) -> None:
        """Have the receivers of ``stream_closed`` called, if the stream was announced. Further calls do nothing."""
        if stream in self._opened:
            try:
                self._opened.remove(stream)
            except KeyError:  # of two calls at the same time, one announces it
                return
            self.send_later(stream_closed, user=stream.user_id, channels=stream.channels, reason=stream.reason)

    # -- in the background ---------------------------------------------------

    def send_later(self, signal: Any, **values: Any) -> None:
        """Have the receivers called in the background, after those of the signals that wait."""
        if has_receivers(signal):
            self._waiting.append((signal, values))
            with self._lock:
                self._loop.start()

    def wait_until_sent(self, seconds: float) -> None:
        """Return when all receivers were called, and after so many seconds at the latest."""
        deadline = time.monotonic() + seconds
        while self._waiting and time.monotonic() < deadline:
            time.sleep(0.0005)

    def _send_first(self) -> None:
        signal, values = self._waiting[0]
        try:
            with self._app.app_context():
                _call_receivers(signal, self._app, values)
        finally:
            self._waiting.popleft()


def _call_receivers(signal: Any, app: Flask, values: dict[str, Any]) -> None:
    """Call all receivers, also if one of them raises: its error is logged."""
    if not has_receivers(signal) or getattr(signal, "is_muted", False):
        return
    ensure_sync: Callable[[Any], Any] = getattr(app, "ensure_sync", lambda function: function)
    for receiver in list(signal.receivers_for(app)):
        failure = "a receiver of %s failed" % signal.name.replace("-", "_")
        attempt(failure, lambda receiver=receiver: ensure_sync(receiver)(app, **values))
