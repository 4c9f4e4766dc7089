"""The probe of a stream: a stream that says when each of its frames was sent, for ``flask ssemux doctor``.

It goes the way of every stream (transport, headers, limits), reads no channel, stores nothing, needs no user and
ends by itself. Whoever has the application's SECRET_KEY may ask for it, as the doctor does, by a token that is good
for two minutes. What is sent when is decided here; what it means is the doctor's.
"""

from __future__ import annotations

import secrets
from typing import Any, Callable, NamedTuple

from itsdangerous import BadSignature, SignatureExpired, URLSafeTimedSerializer

from ..errors import Forbidden
from ..hub.stream import Stream
from ..hub.stream_state import CLOSED
from ..sse import encode

#: The query parameter that holds the token.
PARAMETER = "ssemux_probe"

#: The event's name, after ``ssemux.``, of a timed frame.
EVENT = "probe"

#: Seconds that a token is good for.
TOKEN_SECONDS = 120

#: Seconds between two frames; frames of one probe; seconds of silence: at most.
EVERY = 0.3
FRAMES = 20
SILENCE = 120.0

#: Seconds that a client has to take the end.
END = 5.0


class Plan(NamedTuple):
    """What a probe sends: timed frames, then perhaps nothing for a while, then one last frame."""

    frames: int = 0
    silence: float = 0.0

    def token(self, secret_key: Any) -> str:
        """What lets the bearer have it. No two are the same, so that no cache knows the URL."""
        return _signer(secret_key).dumps([self.frames, self.silence, secrets.token_hex(4)])  # type: ignore[no-any-return]

    @classmethod
    def of(cls, token: str, secret_key: Any) -> Plan:
        """What the bearer may have.

        :raises Forbidden: the token is not made with this key, or is too old.
        """
        if not secret_key:
            raise Forbidden("there are no probes here: the application has no SECRET_KEY")
        try:
            frames, silence, _ = _signer(secret_key).loads(token, max_age=TOKEN_SECONDS)
        except SignatureExpired:
            raise Forbidden("the probe's token is over %d s old; are the clocks right?" % TOKEN_SECONDS) from None
        except BadSignature:
            raise Forbidden(
                "the probe's token was not made with this application's SECRET_KEY: run `flask ssemux doctor` with it"
            ) from None
        return cls(min(int(frames), FRAMES), min(float(silence), SILENCE))


class Probe:
    """Sends a plan on a stream, by the heart's looks, which are then the only ones at this stream.

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
        #: Tells two answers apart; the same one twice came out of a cache.
        self._run = secrets.token_hex(4)

    @property
    def due(self) -> float:
        """When the first frame goes out."""
        return self._began + self._pause()

    def run_due_work(self, now: float) -> float | None:
        if self._stream.state is CLOSED:
            return None
        if self._is_over:
            self._stream.abort("its client did not take the probe's end")
            return self._stream.run_due_work(now)
        self._sent += 1
        told = {"n": self._sent, "at": round(self._clock() - self._began, 3), "run": self._run}
        self._stream.offer(encode.own_frame(EVENT, told))
        if self._sent <= self._plan.frames:
            return now + self._pause()
        self._is_over = True
        self._end(self._stream, "the probe is over")
        return now + END

    def _pause(self) -> float:
        return EVERY if self._sent < self._plan.frames else self._plan.silence


def _signer(secret_key: Any) -> URLSafeTimedSerializer:
    return URLSafeTimedSerializer(secret_key, salt="flask_ssemux.probe")
