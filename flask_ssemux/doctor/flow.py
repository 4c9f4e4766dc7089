"""Checks whether frames arrive when they are sent, or several of them together, later. Makes no requests."""

from __future__ import annotations

from typing import Iterator

from ..http.probe import EVERY
from .examination import PROBED, Seen
from .report import FAIL, OK, SKIPPED, WARN, Advice, Check
from .words import advise_on_buffering, format_seconds, read_message, round_seconds

#: Seconds by which a frame may be late: on a slow line, and before a page seems to hang.
HELD_A_LITTLE = 2 * EVERY
HELD = 1.0

#: Frames that arrive within this many seconds arrived together; this many frames together are a burst.
TOGETHER = 0.1
BURST = 3


def check_flow(seen: Seen) -> Iterator[Check]:
    if not seen.hello:
        yield _check_other_stream(seen)
    elif seen.flow is None:
        yield Check("flow", SKIPPED, "no timed frames: %s" % seen.why_no_probe)
    elif not seen.is_probed:
        yield _explain_missing_probe(seen)
    else:
        yield _check_probe(seen)


def _check_probe(seen: Seen) -> Check:
    held, _ = _measure_delays(seen)
    frames = len(seen.flow.events(PROBED)) if seen.flow else 0
    measured = {"frames": frames, "held": round_seconds(held)}
    if is_burst(seen):
        return Check("flow", FAIL, describe_burst(seen), advise_on_buffering(seen), measured)
    if held >= HELD_A_LITTLE:
        said = "frames arrive up to %s after they were sent" % format_seconds(held)
        text = "The line or the server is busy, or a hop collects data for a moment (antivirus, compression)."
        return Check("flow", WARN, said, (Advice(text),), measured)
    said = "%d timed frames, none late by more than %s" % (frames, format_seconds(held))
    return Check("flow", OK, said, (), measured)


def _explain_missing_probe(seen: Seen) -> Check:
    flow = seen.flow
    if flow is not None and flow.status == 403:
        return Check("flow", SKIPPED, "no timed frames: 403%s" % read_message(flow))
    if flow is not None and flow.status not in (0, 200):
        return Check("flow", SKIPPED, "no timed frames: the probe was answered with %d" % flow.status)
    if flow is not None and not flow.times:
        said = "the probe's frames did not arrive in %g s" % seen.asked.timeout
        return Check("flow", FAIL, said, advise_on_buffering(seen))
    return Check("flow", SKIPPED, "no timed frames: the server does not support the probe")


def _measure_delays(seen: Seen) -> tuple[float, int]:
    """Return the longest delay of a frame of the probe in seconds, and how many frames arrived together at most.

    Each frame says how long after the request the server sent it. The delay is the difference to the time of its
    arrival, also counted from the request, because frames may be held back before the first byte too.
    """
    flow = seen.flow
    frames = flow.events(PROBED) if flow else []
    if flow is None or not frames:
        return 0.0, 0
    asked = flow.asked_at or 0.0
    late = [frame.at - asked - float(frame.json().get("at", 0)) for frame in frames]
    ats = [frame.at for frame in frames]
    return max(late), max(sum(0 <= other - at <= TOGETHER for other in ats) for at in ats)


def is_burst(seen: Seen) -> bool:
    held, together = _measure_delays(seen)
    return held >= HELD and together >= BURST


def describe_burst(seen: Seen) -> str:
    held, together = _measure_delays(seen)
    frames = len(seen.flow.events(PROBED)) if seen.flow else 0
    return "%d of %d timed frames arrived together, the first one %s late" % (together, frames, format_seconds(held))


def _check_other_stream(seen: Seen) -> Check:
    """Check a stream that does not say when frames were sent: frames that arrive together after a silence were held."""
    main = seen.main
    bursts = [
        (before, sum(0 <= frame.at - at <= TOGETHER for frame in main.frames))
        for before, at in zip(main.silences(), main.times[1:])
        if before >= HELD
    ]
    bursts = [(silence, count) for silence, count in bursts if count >= BURST]
    measured = {"frames": len(main.frames), "lumps": len(bursts)}
    if bursts:
        silence, count = max(bursts)
        said = "%d frames arrived together after %s of silence (%d such bursts)" % (
            count,
            format_seconds(silence),
            len(bursts),
        )
        return Check("flow", FAIL, said, advise_on_buffering(seen), measured)
    said = "%d frames in %g s, and none that arrived together after a silence" % (len(main.frames), seen.asked.timeout)
    return Check("flow", OK, said, (), measured)
