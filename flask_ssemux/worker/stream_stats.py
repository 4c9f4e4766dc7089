"""Figures about the streams of this process: their users, how long they are silent, and what waits for slow clients.

A worker may have 18,000 streams, so they are counted in slices, between which other work runs. This module changes
nothing and sends nothing; ``report.py`` writes the figures to the broker.
"""

from __future__ import annotations

import os
from bisect import bisect_left
from typing import Any, Callable, Iterable, Sequence

from ..hub.stream import Stream
from ..hub.stream_state import CLOSED
from ..sse import encode
from . import distinct

#: Bounds of the silence in seconds. The streams are counted up to each bound, and beyond the last. A heartbeat ends a
#: silence after 20 s, or up to a quarter of a second later; clients give up after 120 s.
BOUNDS = (1.0, 2.0, 5.0, 10.0, 15.0, 20.0, 21.0, 25.0, 30.0, 60.0, 90.0, 120.0)

#: Streams that are counted before other work may run: less than 1 ms of work.
TOGETHER = 1000


class StreamStats:
    """Counts streams.

    :param clock: the clock of the streams' times.
    :param yield_control: lets other work run.
    """

    def __init__(self, clock: Callable[[], float], yield_control: Callable[[], None]) -> None:
        self._clock = clock
        self._yield_control = yield_control
        self._users: set[str] = set()
        self._silence = [0] * (len(BOUNDS) + 1)
        self._sum = self._longest = 0.0
        self._frames = self._bytes = self._deepest = 0

    def count_streams(self, streams: Sequence[Stream]) -> None:
        """Count these streams."""
        for start in range(0, len(streams), TOGETHER):
            now = self._clock()
            for stream in streams[start : start + TOGETHER]:
                if stream.state is CLOSED:
                    continue
                if stream.user_id is not None:
                    self._users.add(stream.user_id)
                if stream.queue:
                    self._add_queue(*stream.queue_size)
                self._add_silence(now - stream.sent_at)
            self._yield_control()

    def count_wrapped_streams(self, times: Iterable[float]) -> None:
        """Count wrapped streams, of which only the times of the last byte are known."""
        now = self._clock()
        for at in times:
            self._add_silence(now - at)

    def get_figures(self, channels: Sequence[str]) -> dict[str, Any]:
        """Return the figures.

        :param channels: the channels that streams read. Only those that clients can name are counted.
        """
        users, named = list(self._users), self._select_named(channels)
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
                "users": distinct.make_sketch(users, self._yield_control),
                "channels": distinct.make_sketch(named, self._yield_control),
            },
        }

    def _select_named(self, channels: Sequence[str]) -> list[str]:
        found: list[str] = []
        for start in range(0, len(channels), TOGETHER):
            found += filter(encode.is_named, channels[start : start + TOGETHER])
            self._yield_control()
        return found

    def _add_queue(self, frames: int, size: int) -> None:
        self._frames += frames
        self._bytes += size
        self._deepest = max(self._deepest, frames)

    def _add_silence(self, seconds: float) -> None:
        seconds = max(0.0, seconds)
        self._silence[bisect_left(BOUNDS, seconds)] += 1
        self._sum += seconds
        self._longest = max(self._longest, seconds)


def read_memory() -> int | None:
    """Return the bytes of this process in memory, including shared pages; None if the system does not say.

    The PSS, which counts only a share of shared pages, would be better, but the kernel needs milliseconds for it.
    """
    try:
        with open("/proc/self/statm") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError):
        return None
