"""Whether a stream survives the longest silence that it may have. No requests, no clock."""

from __future__ import annotations

from typing import Iterator

from ..http.probe import SILENCE
from .advice import IDLE
from .call import SEVERED, Call
from .examination import PROBED, Seen
from .report import FAIL, OK, WARN, Advice, Check
from .words import buffered, fix, rounded, seconds

#: Seconds of silence after which common hops cut a stream: HAProxy's samples 30, Heroku 55, nginx and AWS ALB 60.
LONG_SILENCE = 30.0


def silence(seen: Seen) -> Iterator[Check]:
    if not seen.hello:
        yield _of_strangers(seen)
        return
    main, quiet = seen.main, seen.quiet
    heartbeat = seen.heartbeat
    for call in (main, quiet):
        if call is not None and call.ended == SEVERED and not call.events(PROBED):
            yield _cut(seen, call, heartbeat)
            return
    survived = max(main.silences() + (quiet.silences() if quiet and quiet.events(PROBED) else []), default=0.0)
    measured = {"heartbeat": heartbeat, "survived": rounded(survived), "cut_after": None}
    if main.is_over:
        said = "the server ended the stream: %s" % (main.frames[-1].comment or "without a word")
        text = "It stops or restarts, or SSEMUX_LIFETIME is short; otherwise a hop ends what it takes for finished."
        yield Check("silence", WARN, said, (Advice(text),), measured)
    elif quiet is not None and not quiet.events(PROBED):
        yield Check("silence", FAIL, "a frame after %g s of silence never came" % heartbeat, buffered(seen), measured)
    elif len(main.times) < 2:
        said = "no heartbeat in %g s, which is more than the %g s that the stream promises" % (
            heartbeat * 1.25,
            heartbeat,
        )
        text = "A hop holds it back, or the server's loop is blocked (a C database driver, heavy computing)."
        yield Check("silence", FAIL, said, (Advice(text),) + buffered(seen), measured)
    else:
        said = "%s of silence survived, and the heartbeat came" % seconds(survived)
        if heartbeat > SILENCE:
            said += "; the longest there may be, %g s, was not waited for" % heartbeat
        yield Check("silence", OK, said, (), measured)


def _cut(seen: Seen, call: Call, heartbeat: float) -> Check:
    cut = call.silences()[-1] if call.silences() else call.seconds_to(call.ended_at) or 0.0
    measured = {"heartbeat": heartbeat, "survived": 0.0, "cut_after": rounded(cut)}
    said = "cut off after %s of silence, before the heartbeat (%g s)" % (seconds(cut), heartbeat)
    text = "Or in the application, under half of what the hop allows:"
    own = Advice(text, ("SSEMUX_HEARTBEAT = %g" % max(0.1, float("%.1g" % (cut / 2))),))
    return Check("silence", FAIL, said, fix(seen, IDLE, max(1, 3 * heartbeat)) + (own,), measured)


def _of_strangers(seen: Seen) -> Check:
    main = seen.main
    longest = max(main.silences(), default=0.0)
    measured = {"heartbeat": None, "survived": rounded(longest), "cut_after": None}
    if main.ended == SEVERED:
        cut = main.silences()[-1]
        said = "cut off after %s of silence" % seconds(cut)
        measured["cut_after"] = rounded(cut)
        return Check("silence", FAIL, said, fix(seen, IDLE, 60), measured)
    if main.is_over:
        return Check("silence", WARN, "the stream ended by itself", (), measured)
    if longest >= LONG_SILENCE or len(main.times) < 2:
        text = "Many hops cut a stream after 30 to 60 s: send a heartbeat at least every 20 s. For an old view:"
        said = "silent for %s" % seconds(longest)
        return Check("silence", WARN, said, (Advice(text, ("@flask_ssemux.streaming",)),), measured)
    said = "never silent for more than %s, and not cut off in %g s" % (seconds(longest), seen.asked.timeout)
    return Check("silence", OK, said, (), measured)
