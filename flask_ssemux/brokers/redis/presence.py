"""The presence of the Redis broker."""

from __future__ import annotations

import logging
from typing import Collection, Mapping

from ...errors import BrokerClosed, BrokerUnavailable
from ..contract.presence import (
    CLAIM_SECONDS,
    MAX_CHANGES,
    Change,
    Member,
    Presence,
    RosterChanges,
    StreamCounts,
    add_up_streams,
)
from . import scripts
from .store import RedisStore

log = logging.getLogger("flask_ssemux")


class RedisPresence(Presence):
    def __init__(self, store: RedisStore, process_name: str) -> None:
        self._store = store
        self._process_name = process_name
        self._has_announced = False

    def announce_presence(self, counts: StreamCounts, seconds: float, replace_all: bool = False) -> bool:
        self._has_announced = True
        values = [value for (channel, user), count in counts.items() for value in (channel, user, count)]
        answer = self._store.call(
            scripts.ANNOUNCE_PRESENCE, self._process_name, int(seconds * 1000), int(replace_all),
            self._store.make_token(), *values,
        )  # fmt: skip
        return bool(answer[2])

    def get_presence(self, channel: str) -> dict[str, int]:
        rows = iter(self._store.read(scripts.GET_PRESENCE, channel)[2])
        return add_up_streams(
            (process_name.decode("utf-8"), user.decode("utf-8"), int(count))
            for process_name, user, count in zip(rows, rows, rows)
        )

    def update_roster(self, present: Mapping[Member, float], announced: Collection[Change] = ()) -> RosterChanges:
        done = [value for change in announced for value in change]
        members = [value for member, grace in present.items() for value in (*member, int(grace * 1000))]
        answer = self._store.call(
            scripts.UPDATE_ROSTER, self._process_name, int(CLAIM_SECONDS * 1000), MAX_CHANGES, len(announced), *done,
            *members,
        )  # fmt: skip
        words = iter(word.decode("utf-8") for word in answer[3])
        due = answer[2].decode("ascii")
        return RosterChanges([Change(*row) for row in zip(words, words, words)], int(due) / 1000 if due else None)

    def get_roster(self, channel: str) -> list[str]:
        return [user.decode("utf-8") for user in self._store.read(scripts.GET_ROSTER, channel)[2]]

    def remove_all(self) -> None:
        """Remove what this process announced. Never raises: what cannot be removed now, expires."""
        if self._has_announced:
            try:
                self.announce_presence({}, 0.0, replace_all=True)
            except (BrokerUnavailable, BrokerClosed) as error:
                log.debug("presence was not removed: %s", error)
