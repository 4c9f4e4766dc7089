"""The plan of a probe: a stream that says when each of its frames was sent, for ``flask ssemux doctor``.

The doctor signs a plan with the application's SECRET_KEY. The result is a token, which any URL of a stream accepts for
two minutes. What a probe sends, and when, is defined here; ``probe_source.py`` sends it, and the doctor judges it.
"""

from __future__ import annotations

import secrets
from typing import Any, NamedTuple

from ..errors import Forbidden

#: The query parameter that holds the token.
PARAMETER = "ssemux_probe"

#: The event name of a timed frame, after ``ssemux.``.
EVENT = "probe"

#: Seconds for which a token is valid.
TOKEN_SECONDS = 120

#: Seconds between two timed frames.
EVERY = 0.3

#: The maximum number of frames, and of seconds of silence, in one probe.
FRAMES = 20
SILENCE = 120.0


class Plan(NamedTuple):
    """What a probe sends: timed frames, then possibly nothing for a while, then one last frame."""

    frames: int = 0
    silence: float = 0.0

    def sign(self, secret_key: Any) -> str:
        """Return a token that permits this probe. No two tokens are equal, so that no cache knows the URL."""
        return _make_signer(secret_key).dumps([self.frames, self.silence, secrets.token_hex(4)])  # type: ignore[no-any-return]

    @classmethod
    def verify(cls, token: str, secret_key: Any) -> Plan:
        """Return the plan that a token permits.

        :raises Forbidden: the token was not made with this key, or is too old.
        """
        if not secret_key:
            raise Forbidden("there are no probes here: the application has no SECRET_KEY")
        from itsdangerous import BadSignature, SignatureExpired

        try:
            frames, silence, _ = _make_signer(secret_key).loads(token, max_age=TOKEN_SECONDS)
        except SignatureExpired:
            raise Forbidden("the probe's token is over %d s old; are the clocks right?" % TOKEN_SECONDS) from None
        except BadSignature:
            raise Forbidden(
                "the probe's token was not made with this application's SECRET_KEY: run `flask ssemux doctor` with it"
            ) from None
        return cls(min(int(frames), FRAMES), min(float(silence), SILENCE))


def _make_signer(secret_key: Any) -> Any:
    from itsdangerous import URLSafeTimedSerializer  # part of Flask, which the doctor does without

    return URLSafeTimedSerializer(secret_key, salt="flask_ssemux.probe")
