"""Notifies the application of who arrives on a channel, and who leaves it, once for all processes.

The broker's roster says what this process has to announce (``brokers/contract/presence.py``). What was announced is
confirmed afterwards: what a process could not announce is asked for again, here or in another process. No Flask.
"""

from __future__ import annotations

from itertools import islice
from typing import Mapping, Protocol, Sequence

from ..brokers import Change, Member, Presence

#: The maximum number of users in one call of the broker.
BATCH = 500


class ChangeListener(Protocol):
    """The application's side."""

    @property
    def follows_changes(self) -> bool:
        """Whether the changes of any channel are announced."""

    def get_grace(self, channel: str) -> float | None:
        """Return the grace period of a channel whose changes are announced; None for any other channel."""

    def announce_changes(self, changes: Sequence[Change]) -> None:
        """Tell the application.

        :raises BrokerUnavailable: the changes must be announced again.
        """


class RosterKeeper:
    """Puts the users of this process on the broker's rosters, and announces the changes that this process owns.

    One thread uses it.
    """

    def __init__(self, presence: Presence, listener: ChangeListener) -> None:
        self._presence = presence
        self._listener = listener
        #: Users of whom streams were announced since the last update.
        self._present: dict[Member, float] = {}
        #: Seconds until somebody may leave; None if nobody is away.
        self.next_due: float | None = None

    def note_streams(self, counts: Mapping[Member, int]) -> None:
        """Note which users have streams, as it was announced to the broker. Anonymous visitors are no members."""
        if self._listener.follows_changes:
            for member, count in counts.items():
                grace = self._listener.get_grace(member[0]) if count and member[1] else None
                if grace is not None:
                    self._present[member] = grace

    def update(self) -> None:
        """Announce all changes that this process owns.

        :raises BrokerUnavailable: some of them must be announced later.
        """
        if not self._listener.follows_changes:
            return
        changes: Sequence[Change] = ()
        is_complete = False
        while not is_complete:
            batch = dict(islice(self._present.items(), BATCH))
            changes, self.next_due = self._presence.update_roster(batch, changes)
            for member in batch:
                del self._present[member]
            if changes:
                self._listener.announce_changes(changes)
            is_complete = not changes and not self._present
