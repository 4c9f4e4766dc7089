"""The stream of a probe: it reads no channel, stores nothing, needs no user and ends by itself.

It uses the transport, the headers and the limits of every stream. A token permits it, see ``probe.py``.
"""

from __future__ import annotations

import secrets
from functools import partial
from typing import Any, Callable

from ..access.rules import ANONYMOUS
from ..hub.stream import Stream
from ..hub.stream_state import CLOSED
from ..sse import encode
from ..worker.running import RunningWorker
from .probe import EVENT, EVERY, Plan
from .stream_request import StreamRequest
from .stream_source import StreamSource, Subscription

#: Seconds that a client has to read the last frame.
END_SECONDS = 5.0


class ProbeSource(StreamSource):
    """Replaces the stream of the URL that was requested.

    :param token: of a plan.
    :param secret_key: of the application.
    """

    def __init__(self, token: str, secret_key: Any) -> None:
        self._token = token
        self._secret_key = secret_key

    def authorize(self, asked: StreamRequest) -> Subscription:
        plan = Plan.verify(self._token, self._secret_key)
        return Subscription(ANONYMOUS, (), (), on_open=partial(_start_probe, plan))


def _start_probe(plan: Plan, running: RunningWorker, stream: Stream) -> None:
    timer = running.timer
    probe = Probe(plan, stream, lambda: timer.clock(), running.hub.end_stream)
    timer.remove(stream)  # no heartbeat may interrupt the silence
    timer.add(probe, probe.first_due)


class Probe:
    """Sends a plan's frames on a stream. It replaces the stream as a member of the timer.

    :param end: ends the stream cleanly.
    """

    def __init__(
        self, plan: Plan, stream: Stream, clock: Callable[[], float], end: Callable[[Stream, str], None]
    ) -> None:
        self.timer_slot: int | None = None
        self._plan = plan
        self._stream = stream
        self._clock = clock
        self._end = end
        self._began = clock()
        self._sent = 0
        self._is_over = False
        #: Distinguishes two answers: if the same one comes twice, it comes out of a cache.
        self._run = secrets.token_hex(4)

    @property
    def first_due(self) -> float:
        """When the first frame is sent."""
        return self._began + self._next_pause()

    def run_due_work(self, now: float) -> float | None:
        """Send the next frame, and return when to call this again."""
        if self._stream.state is CLOSED:
            return None
        if self._is_over:
            self._stream.abort("its client did not take the probe's end")
            return self._stream.run_due_work(now)
        self._sent += 1
        content = {"n": self._sent, "at": round(self._clock() - self._began, 3), "run": self._run}
        self._stream.offer(encode.make_own_frame(EVENT, content))
        if self._sent <= self._plan.frames:
            return now + self._next_pause()
        self._is_over = True
        self._end(self._stream, "the probe is over")
        return now + END_SECONDS

    def _next_pause(self) -> float:
        return EVERY if self._sent < self._plan.frames else self._plan.silence
