"""Checks whether a stream survives the longest silence that it may have. Makes no requests."""

from __future__ import annotations

from typing import Iterator

from ..http.probe import SILENCE
from .advice import IDLE
from .call import SEVERED, Call
from .examination import PROBED, Seen
from .report import FAIL, OK, WARN, Advice, Check
from .words import advise_on, advise_on_buffering, format_seconds, round_seconds

#: Seconds of silence after which common hops cut a stream: HAProxy's samples 30, Heroku 55, nginx and AWS ALB 60.
LONG_SILENCE = 30.0


def check_silence(seen: Seen) -> Iterator[Check]:
    if not seen.hello:
        yield _check_other_stream(seen)
        return
    main, quiet = seen.main, seen.quiet
    heartbeat = seen.heartbeat
    for call in (main, quiet):
        if call is not None and call.ended == SEVERED and not call.events(PROBED):
            yield _explain_cut(seen, call, heartbeat)
            return
    survived = max(main.silences() + (quiet.silences() if quiet and quiet.events(PROBED) else []), default=0.0)
    measured = {"heartbeat": heartbeat, "survived": round_seconds(survived), "cut_after": None}
    if main.is_over:
        said = "the server ended the stream: %s" % (main.frames[-1].comment or "it gave no reason")
        text = (
            "The server stops or restarts, or SSEMUX_LIFETIME is short. Otherwise a hop ends responses that it "
            "considers finished."
        )
        yield Check("silence", WARN, said, (Advice(text),), measured)
    elif quiet is not None and not quiet.events(PROBED):
        said = "a frame that was sent after %g s of silence never arrived" % heartbeat
        yield Check("silence", FAIL, said, advise_on_buffering(seen), measured)
    elif len(main.times) < 2:
        said = "no heartbeat in %g s; the stream promises one every %g s" % (heartbeat * 1.25, heartbeat)
        text = "A hop holds it back, or the server's event loop is blocked (a database driver in C, long computing)."
        yield Check("silence", FAIL, said, (Advice(text), *advise_on_buffering(seen)), measured)
    else:
        said = "the stream survived %s of silence, and the heartbeat arrived" % format_seconds(survived)
        if heartbeat > SILENCE:
            said += "; the longest possible silence, %g s, was not tested" % heartbeat
        yield Check("silence", OK, said, (), measured)


def _explain_cut(seen: Seen, call: Call, heartbeat: float) -> Check:
    cut = call.silences()[-1] if call.silences() else call.seconds_to(call.ended_at) or 0.0
    measured = {"heartbeat": heartbeat, "survived": 0.0, "cut_after": round_seconds(cut)}
    said = "cut off after %s of silence, before the heartbeat (%g s)" % (format_seconds(cut), heartbeat)
    text = "Or in the application, less than half of what the hop allows:"
    own = Advice(text, ("SSEMUX_HEARTBEAT = %g" % max(0.1, float("%.1g" % (cut / 2))),))
    return Check("silence", FAIL, said, (*advise_on(seen, IDLE, max(1, 3 * heartbeat)), own), measured)


def _check_other_stream(seen: Seen) -> Check:
    main = seen.main
    longest = max(main.silences(), default=0.0)
    measured = {"heartbeat": None, "survived": round_seconds(longest), "cut_after": None}
    if main.ended == SEVERED:
        cut = main.silences()[-1]
        said = "cut off after %s of silence" % format_seconds(cut)
        measured["cut_after"] = round_seconds(cut)
        return Check("silence", FAIL, said, advise_on(seen, IDLE, 60), measured)
    if main.is_over:
        return Check("silence", WARN, "the stream ended by itself", (), measured)
    if longest >= LONG_SILENCE or len(main.times) < 2:
        text = "Many hops cut a stream after 30 to 60 s: send a heartbeat at least every 20 s. For an old view:"
        said = "silent for %s" % format_seconds(longest)
        return Check("silence", WARN, said, (Advice(text, ("@flask_ssemux.streaming",)),), measured)
    said = "never silent for more than %s, and not cut off in %g s" % (format_seconds(longest), seen.asked.timeout)
    return Check("silence", OK, said, (), measured)
