"""The presence of the memory broker: this process's streams, until it has announced nothing for too long."""

from __future__ import annotations

import time
from typing import Collection, Mapping

from ..contract.presence import (
    CLAIM_SECONDS,
    JOIN,
    LEAVE,
    MAX_CHANGES,
    Change,
    Member,
    Presence,
    RosterChanges,
    StreamCounts,
)
from .store import MemoryStore


class Entry:
    """A user on a roster. There is only one process, so it owns all changes.

    :param grace: seconds.
    """

    def __init__(self, grace: float) -> None:
        self.grace = grace
        #: When the user leaves, if they stay away; or when a leave that was not announced is returned again.
        self.due: float | None = None
        #: The kind of the change that was not announced yet.
        self.change: str | None = JOIN


class MemoryPresence(Presence):
    def __init__(self, store: MemoryStore) -> None:
        self._store = store
        self._counts: dict[Member, int] = {}
        self._expires_at = 0.0
        self._roster: dict[Member, Entry] = {}

    def announce_presence(self, counts: StreamCounts, seconds: float, replace_all: bool = False) -> bool:
        with self._store.changed:
            self._store.check_open()
            before, was_there = self._counts, time.monotonic() < self._expires_at
            kept = {} if replace_all or not was_there else before
            self._expires_at = time.monotonic() + seconds
            self._counts = {key: count for key, count in {**kept, **counts}.items() if count}
            self._note_absence([key for key in before if key not in self._counts])
            return was_there

    def get_presence(self, channel: str) -> dict[str, int]:
        with self._store.changed:
            self._store.check_open()
            if time.monotonic() >= self._expires_at:
                return {}
            return {user: count for (name, user), count in self._counts.items() if name == channel}

    def update_roster(self, present: Mapping[Member, float], announced: Collection[Change] = ()) -> RosterChanges:
        with self._store.changed:
            self._store.check_open()
            now = time.monotonic()
            for change in announced:
                self._end_change(change)
            for member, grace in present.items():
                self._put_on_roster(member, grace)
            for member, entry in self._roster.items():
                if entry.due is not None and entry.due <= now:
                    self._check_absent_member(member, entry, now)
            changes = [Change(entry.change, *member) for member, entry in self._roster.items() if entry.change]
            due = min((entry.due for entry in self._roster.values() if entry.due is not None), default=None)
            return RosterChanges(changes[:MAX_CHANGES], None if due is None else max(0.0, due - now))

    def get_roster(self, channel: str) -> list[str]:
        with self._store.changed:
            self._store.check_open()
            entries = self._roster.items()
            return [user for (name, user), entry in entries if name == channel and entry.change != LEAVE]

    # -- with the store's lock held ----------------------------------------

    def _note_absence(self, members: Collection[Member]) -> None:
        for member in members:
            entry = self._roster.get(member)
            if entry is not None and entry.change != LEAVE:
                entry.due = time.monotonic() + entry.grace

    def _end_change(self, change: Change) -> None:
        member = (change.channel, change.user)
        entry = self._roster.get(member)
        if entry is None or entry.change != change.kind:
            return
        if change.kind == JOIN:
            entry.change = None
        elif member in self._counts:  # the user is back
            self._roster[member] = Entry(entry.grace)
        else:
            del self._roster[member]

    def _put_on_roster(self, member: Member, grace: float) -> None:
        entry = self._roster.setdefault(member, Entry(grace))
        entry.grace = grace
        if entry.change != LEAVE:
            entry.due = None

    def _check_absent_member(self, member: Member, entry: Entry, now: float) -> None:
        if member in self._counts and entry.change != LEAVE:
            entry.due = None
        else:
            entry.change, entry.due = LEAVE, now + CLAIM_SECONDS
