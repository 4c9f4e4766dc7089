"""The presence of the PostgreSQL broker. What changes it in the database is in ``sql/presence.sql``."""

from __future__ import annotations

import logging
from typing import Collection, Mapping

from ...errors import BrokerClosed, BrokerUnavailable
from ..contract.presence import (
    CLAIM_SECONDS,
    MAX_CHANGES,
    MAX_GRACE,
    Change,
    Member,
    Presence,
    RosterChanges,
    StreamCounts,
    add_up_streams,
)
from ..names import is_dead_process
from .store import PostgresStore
from .values import pack_integers, pack_seconds, pack_texts

log = logging.getLogger("flask_ssemux")


class PostgresPresence(Presence):
    def __init__(self, store: PostgresStore, process_name: str) -> None:
        self._store = store
        self._process_name = process_name
        self._has_announced = False

    def announce_presence(self, counts: StreamCounts, seconds: float, replace_all: bool = False) -> bool:
        self._has_announced = True
        channels, users = [channel for channel, _ in counts], [user for _, user in counts]
        with self._store.changing() as call:
            ((was_there, others),) = call(
                "announce_presence", self._process_name, seconds, replace_all, pack_texts(channels), pack_texts(users),
                pack_integers(counts.values()),
            )  # fmt: skip
            dead = [name for name in others if is_dead_process(name)]
            if dead:
                call("remove_presence", pack_texts(dead), may_repeat=True)
        return bool(was_there)

    def get_presence(self, channel: str) -> dict[str, int]:
        return add_up_streams(self._store.read("get_presence", channel))  # type: ignore[arg-type]

    def update_roster(self, present: Mapping[Member, float], announced: Collection[Change] = ()) -> RosterChanges:
        changes = [pack_texts(part) for part in zip(*announced)] or [pack_texts(())] * 3
        members = [pack_texts(part) for part in zip(*present)] or [pack_texts(())] * 2
        *rows, (_, due, _) = self._store.call(
            "update_roster", self._process_name, CLAIM_SECONDS, MAX_GRACE, MAX_CHANGES, *changes, *members,
            pack_seconds(present.values()), may_repeat=True,
        )  # fmt: skip
        return RosterChanges([Change(*row) for row in rows], None if due is None else max(0.0, float(due)))

    def get_roster(self, channel: str) -> list[str]:
        return [user for (user,) in self._store.read("get_roster", channel)]

    def remove_all(self) -> None:
        """Remove what this process announced. Never raises: what cannot be removed now, expires."""
        if self._has_announced:
            try:
                self._store.call("remove_presence", pack_texts([self._process_name]), may_repeat=True)
            except (BrokerUnavailable, BrokerClosed) as error:
                log.debug("presence was not removed: %s", error)
