"""Functions that the checks share: times as text, a response's own message, and the advice for a stream's hop.

Nothing is judged here.
"""

from __future__ import annotations

import json
from urllib.parse import urlsplit

from .advice import BUFFERED, IGNORED, NGINX, find_advice, find_hop
from .call import Call
from .examination import Seen
from .report import Advice


def read_message(call: Call) -> str:
    """Return the message in a JSON error response, with a colon before it, or "" if there is none."""
    try:
        return ": %s" % json.loads(call.body.decode("utf-8"))["message"]
    except (ValueError, TypeError, KeyError):
        return ""


def advise_on_buffering(seen: Seen) -> tuple[Advice, ...]:
    """Return what to do about a hop that buffers the stream. flask_ssemux's streams already ask nginx not to."""
    is_ours = seen.hello is not None or seen.is_probed
    return advise_on(seen, IGNORED if is_ours and find_hop(seen.headers) == NGINX else BUFFERED)


def advise_on(seen: Seen, trouble: str, seconds: float = 0) -> tuple[Advice, ...]:
    """Return what to do about a trouble at the hop that this stream passes."""
    return find_advice(trouble, find_hop(seen.headers), urlsplit(seen.url).path, seconds)


def describe_state(call: Call) -> str:
    """Say how far a stream came that did not open."""
    if call.status and call.status != 200:
        return "answered with %d%s" % (call.status, read_message(call))
    if call.frames and call.frames[0].comment:
        return call.frames[0].comment
    if call.is_over:
        return "closed (%s)" % (call.error or "without a response")
    return "no first byte in time"


def format_seconds(value: float | None) -> str:
    if value is None:
        return "never"
    return "%.0f ms" % (value * 1000) if value < 1 else "%.1f s" % value


def round_seconds(value: float | None) -> float | None:
    return None if value is None else round(value, 4)
