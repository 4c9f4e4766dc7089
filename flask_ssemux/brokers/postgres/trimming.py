"""When this process trims the history: every so many appends, bytes or seconds. ``sql/trim.sql`` says what."""

from __future__ import annotations

import logging
import threading
import time
from typing import Iterable

from ...errors import BrokerClosed, BrokerUnavailable
from ...util.threads import try_acquire
from ..contract import constants
from .store import PostgresStore
from .values import pack_texts

log = logging.getLogger("flask_ssemux")

#: A round of trimming comes after so many seconds, appends or bytes, whichever is first.
TRIM_SECONDS = 1.0
TRIM_APPENDS = 500
TRIM_BYTES = 4 * 1024 * 1024

#: Seconds between two rounds, of any processes.
PAUSE = 0.5

#: Events that one step of a round deletes at most, and channels over the limit of events that one round trims.
BATCH = 5000
CHANNELS = 100

#: Bytes that are kept for delivery at least, however small the limit of the history is.
LIVE_BYTES_LEAST = 1024 * 1024

#: Floors that are kept of channels without events; if there are more, the lower half is deleted.
FLOORS = 100_000

#: Seconds between two counts of these floors, and between two rounds of the extension's own channels.
FLOORS_SECONDS = 60.0


class Trimming:
    """Counts what this process appends. No two of its rounds run at a time."""

    def __init__(self, store: PostgresStore) -> None:
        self._store = store
        self._turn = threading.Lock()
        self._appended = self._size = 0
        self._trimmed_at = self._long_at = 0.0
        #: Channels that went over the limit of events, and since when (monotonic time).
        self._over: dict[str, float] = {}

    def note_appended(self, events: int, size: int, over: Iterable[str] | None) -> None:
        """Note what was appended, and trim one round if one is due. It does not raise: the events are stored already.

        :param over: the channels that went over the limit of events.
        """
        now = time.monotonic()
        self._appended += events
        self._size += size
        for channel in over or ():
            self._over.setdefault(channel, now)
        is_due = self._appended >= TRIM_APPENDS or self._size >= TRIM_BYTES or now - self._trimmed_at >= TRIM_SECONDS
        if is_due and try_acquire(self._turn):
            try:
                self._trim(now)
            except (BrokerUnavailable, BrokerClosed) as error:
                log.debug("old events were not trimmed: %s", error)
            finally:
                self._turn.release()

    def _trim(self, now: float) -> None:
        self._appended, self._size, self._trimmed_at = 0, 0, now
        is_long = now - self._long_at >= FLOORS_SECONDS
        waiting = [name for name, since in list(self._over.items()) if now - since >= constants.LIVE_SECONDS][:CHANNELS]
        for name in waiting:
            del self._over[name]
        rows = self._store.call(
            "trim_events", pack_texts(waiting), is_long, BATCH, constants.LIVE_SECONDS, constants.LIVE_EVENTS,
            constants.LIVE_BYTES, LIVE_BYTES_LEAST, constants.OWN_SECONDS, FLOORS, PAUSE, may_repeat=True,
        )  # fmt: skip
        self._long_at = now if is_long else self._long_at
        self._over.update(dict.fromkeys(rows[0][0] or (), now))
