"""Whether frames arrive when they are sent, or in lumps. No requests, no clock."""

from __future__ import annotations

from typing import Iterator

from ..http.probe import EVERY
from .examination import PROBED, Seen
from .report import FAIL, OK, SKIPPED, WARN, Advice, Check
from .words import buffered, rounded, seconds, told

#: Seconds that an event may be held back: on a slow line, and before a page seems to hang.
HELD_A_LITTLE = 2 * EVERY
HELD = 1.0

#: Frames that came within so many seconds came together; so many of them are a lump.
TOGETHER = 0.1
LUMP = 3


def flow(seen: Seen) -> Iterator[Check]:
    if not seen.hello:
        yield _of_strangers(seen)
    elif seen.flow is None:
        yield Check("flow", SKIPPED, "no timed frames: %s" % seen.why_no_probe)
    elif not seen.is_probed:
        yield _no_probe(seen)
    else:
        held, _ = _delays(seen)
        frames = len(seen.flow.events(PROBED)) if seen.flow else 0
        measured = {"frames": frames, "held": rounded(held)}
        if is_lump(seen):
            yield Check("flow", FAIL, lump_words(seen), buffered(seen), measured)
        elif held >= HELD_A_LITTLE:
            said = "frames arrive up to %s later than sent" % seconds(held)
            text = "A slow or busy line, a busy server, or a hop that collects for a moment (antivirus, compression)."
            yield Check("flow", WARN, said, (Advice(text),), measured)
        else:
            said = "%d timed frames, none late by more than %s" % (frames, seconds(held))
            yield Check("flow", OK, said, (), measured)


def _no_probe(seen: Seen) -> Check:
    flow = seen.flow
    if flow is not None and flow.status == 403:
        return Check("flow", SKIPPED, "no timed frames: 403%s" % told(flow))
    if flow is not None and flow.status not in (0, 200):
        return Check("flow", SKIPPED, "no timed frames: the probe was answered with %d" % flow.status)
    if flow is not None and not flow.times:
        said = "the probe's frames did not arrive in %g s" % seen.asked.timeout
        return Check("flow", FAIL, said, buffered(seen))
    return Check("flow", SKIPPED, "no timed frames: the server does not know the probe")


def _delays(seen: Seen) -> tuple[float, int]:
    """Seconds that a frame of the probe was late, at most, and how many came together at most.

    Late by the server's own account of when it sent them, counted from the first moment that both know of: the
    request, for what comes before the first byte is held back as well.
    """
    flow = seen.flow
    frames = flow.events(PROBED) if flow else []
    if flow is None or not frames:
        return 0.0, 0
    asked = flow.asked_at or 0.0
    late = [frame.at - asked - float(frame.json().get("at", 0)) for frame in frames]
    ats = [frame.at for frame in frames]
    return max(late), max(sum(0 <= other - at <= TOGETHER for other in ats) for at in ats)


def is_lump(seen: Seen) -> bool:
    held, together = _delays(seen)
    return held >= HELD and together >= LUMP


def lump_words(seen: Seen) -> str:
    held, together = _delays(seen)
    frames = len(seen.flow.events(PROBED)) if seen.flow else 0
    return "of %d timed frames %d came together, the first %s late" % (frames, together, seconds(held))


def _of_strangers(seen: Seen) -> Check:
    """Without a word of when a frame was sent: frames that come together after a silence were kept for that long."""
    main = seen.main
    lumps = [
        (before, sum(0 <= frame.at - at <= TOGETHER for frame in main.frames))
        for before, at in zip(main.silences(), main.times[1:])
        if before >= HELD
    ]
    lumps = [(silence, count) for silence, count in lumps if count >= LUMP]
    measured = {"frames": len(main.frames), "lumps": len(lumps)}
    if lumps:
        silence, count = max(lumps)
        said = "in lumps: %d frames together after %s of nothing, %d times" % (count, seconds(silence), len(lumps))
        return Check("flow", FAIL, said, buffered(seen), measured)
    said = "%d frames in %g s, one by one, as far as can be told from outside" % (len(main.frames), seen.asked.timeout)
    return Check("flow", OK, said, (), measured)
