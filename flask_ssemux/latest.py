"""The latest events of the channels that a process has: of each channel and key the newest.

Told once by the broker when a channel is wanted, and kept up to date by what is delivered, so that a new
subscriber costs no question. No lock of its own: the mux holds its own. No streams, no frames.
"""

from __future__ import annotations

from typing import Iterable

from .brokers import Record


class Latest:
    """By channel and key."""

    def __init__(self) -> None:
        self._kept: dict[str, dict[str, Record]] = {}

    def note(self, record: Record) -> None:
        """Keep it, if it is one of a key and newer than what is kept."""
        if record.latest is None:
            return
        keys = self._kept.setdefault(record.channel, {})
        known = keys.get(record.latest)
        if known is None or known.sequence < record.sequence:
            keys[record.latest] = record

    def of(self, channels: Iterable[str]) -> list[Record]:
        """Those of these channels, in their order."""
        found = [record for channel in channels if channel in self._kept for record in self._kept[channel].values()]
        return sorted(found)

    def forget(self, channel: str) -> None:
        self._kept.pop(channel, None)

    def forget_all(self) -> None:
        self._kept.clear()
