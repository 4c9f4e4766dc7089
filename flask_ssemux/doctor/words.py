"""What the checks share: times in words, an answer's own words, and the advice for a stream's hop. No judgement."""

from __future__ import annotations

import json
from urllib.parse import urlsplit

from .advice import BUFFERED, IGNORED, NGINX, advice, hop_of
from .call import Call
from .examination import Seen
from .report import Advice


def told(call: Call) -> str:
    """What the answer's JSON says of itself."""
    try:
        return ": %s" % json.loads(call.body.decode("utf-8"))["message"]
    except (ValueError, TypeError, KeyError):
        return ""


def buffered(seen: Seen) -> tuple[Advice, ...]:
    """What mends it where the stream is held back. Our own streams ask nginx not to."""
    is_ours = seen.hello is not None or seen.is_probed
    return fix(seen, IGNORED if is_ours and hop_of(seen.headers) == NGINX else BUFFERED)


def fix(seen: Seen, trouble: str, seconds: float = 0) -> tuple[Advice, ...]:
    """What mends a trouble at the hop that this stream comes through."""
    return advice(trouble, hop_of(seen.headers), urlsplit(seen.url).path, seconds)


def state(call: Call) -> str:
    """How far a stream came that did not open."""
    if call.status and call.status != 200:
        return "answered with %d%s" % (call.status, told(call))
    if call.frames and call.frames[0].comment:
        return call.frames[0].comment
    if call.is_over:
        return "closed (%s)" % (call.error or "without an answer")
    return "no first byte in time"


def seconds(value: float | None) -> str:
    if value is None:
        return "never"
    return "%.0f ms" % (value * 1000) if value < 1 else "%.1f s" % value


def rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)
