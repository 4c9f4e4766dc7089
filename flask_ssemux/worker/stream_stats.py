"""What the streams of this process are like at this moment: whose, how silent, how far behind.

Counted in slices: a worker may have 18,000 of them, and others have their turn in between. Figures only; who is
told is not known here, and nothing is changed.
"""

from __future__ import annotations

import os
from bisect import bisect_left
from typing import Any, Callable, Iterable, Sequence

from ..hub.stream import CLOSED, Stream
from ..sse import encode
from . import distinct

#: Seconds of silence: how many streams had their last byte up to so long ago is counted for each, and beyond the last.
#: 20 s are promised, and a quarter more may pass until the heart's next look; clients bear 120 s.
BOUNDS = (1.0, 2.0, 5.0, 10.0, 15.0, 20.0, 21.0, 25.0, 30.0, 60.0, 90.0, 120.0)

#: Streams between two moments in which others may run: under 1 ms of work.
TOGETHER = 1000


class StreamStats:
    """Counts streams.

    :param clock: the one that the streams' times are of.
    :param breathe: lets others run.
    """

    def __init__(self, clock: Callable[[], float], breathe: Callable[[], None]) -> None:
        self._clock = clock
        self._breathe = breathe
        self._users: set[str] = set()
        self._silence = [0] * (len(BOUNDS) + 1)
        self._sum = self._longest = 0.0
        self._frames = self._bytes = self._deepest = 0

    def streams(self, streams: Sequence[Stream]) -> None:
        """Count these."""
        for start in range(0, len(streams), TOGETHER):
            now = self._clock()
            for stream in streams[start : start + TOGETHER]:
                if stream.state is CLOSED:
                    continue
                if stream.user_id is not None:
                    self._users.add(stream.user_id)
                if stream.queue:
                    self._queue(*stream.queue_size)
                self._silent(now - stream.sent_at)
            self._breathe()

    def others(self, times: Iterable[float]) -> None:
        """Count streams of which only the time of the last byte is known: old generators'."""
        now = self._clock()
        for at in times:
            self._silent(now - at)

    def figures(self, channels: Sequence[str]) -> dict[str, Any]:
        """What was counted.

        :param channels: those that are read; counted are those that clients name.
        """
        users, named = list(self._users), self._named(channels)
        return {
            "users": len(users),
            "channels": len(named),
            "queued": self._frames,
            "queued_bytes": self._bytes,
            "deepest": self._deepest,
            "silence": self._silence,
            "silence_sum": round(self._sum, 3),
            "longest_silence": round(self._longest, 3),
            "sketches": {
                "users": distinct.sketch(users, self._breathe),
                "channels": distinct.sketch(named, self._breathe),
            },
        }

    def _named(self, channels: Sequence[str]) -> list[str]:
        found: list[str] = []
        for start in range(0, len(channels), TOGETHER):
            found += filter(encode.is_named, channels[start : start + TOGETHER])
            self._breathe()
        return found

    def _queue(self, frames: int, size: int) -> None:
        self._frames += frames
        self._bytes += size
        self._deepest = max(self._deepest, frames)

    def _silent(self, seconds: float) -> None:
        seconds = max(0.0, seconds)
        self._silence[bisect_left(BOUNDS, seconds)] += 1
        self._sum += seconds
        self._longest = max(self._longest, seconds)


def memory() -> int | None:
    """Bytes of this process in memory, those included that it shares; None where the system does not say.

    Its share of shared pages (PSS) would be the better figure; the kernel walks all pages for it, for milliseconds.
    """
    try:
        with open("/proc/self/statm") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError):
        return None
