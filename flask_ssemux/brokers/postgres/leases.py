"""The leases of the PostgreSQL broker. What changes them in the database is in ``sql/leases.sql``."""

from __future__ import annotations

import logging
import time
from typing import Any, Iterable

from ...errors import BrokerClosed, BrokerUnavailable
from ..contract import constants
from ..contract.leases import Leases
from ..contract.user_slots import ALL_SHARES, SHARE, SlotAnswer, UserSlots
from ..names import is_dead_process
from ..slot_writer import SlotWriter
from .store import PostgresStore
from .values import pack_integers, pack_texts

log = logging.getLogger("flask_ssemux")

#: By the number that ``take_slot`` returns.
_ANSWERS = (SlotAnswer.FULL, SlotAnswer.TAKEN, SlotAnswer.SHARED)


class PostgresLeases(Leases):
    """Counts this process's slots, and writes each change to the store, unless it is within its share.

    The count is right where the store differs: a change that cannot be written now is written when leases are renewed.
    What is written is counted while no other thread of the process changes the store.
    """

    def __init__(self, store: PostgresStore, process_name: str) -> None:
        self._store = store
        self._process_name = process_name
        self.slots = UserSlots()
        self._writer = SlotWriter(self.slots, self._write_slots)

    def ask_for_user_slot(self, key: str, limit: int) -> SlotAnswer:
        with self._store.changing() as call:
            answer, holders = self._ask_once(call, key, limit)
            dead = [name for name in holders if is_dead_process(name)]
            if dead:
                call("release_leases", pack_texts(dead), may_repeat=True)
                answer, _ = self._ask_once(call, key, limit)
            if answer is SlotAnswer.TAKEN:
                with self.slots.lock:
                    self.slots.change(key, 1)
            return answer

    def _ask_once(self, call: Any, key: str, limit: int) -> tuple[SlotAnswer, list[str]]:
        """Return the answer, and who has slots if none was free."""
        gives_up, taken = self.slots.note_written(key)
        ((code, holders),) = call(
            "take_slot", key, self._process_name, taken, limit, gives_up, constants.LEASE_SECONDS, may_repeat=True
        )
        return _ANSWERS[code], holders or []

    def release_user_slot(self, key: str) -> None:
        self._writer.release_slot(key)

    def write_user_slots(self, key: str) -> None:
        self._write_slots([key])

    # -- the share ---------------------------------------------------------

    def share_user_slots(self, limit: int) -> None:
        with self.slots.lock:
            self.slots.limit = limit
        self.renew_leases()

    def renew_leases(self) -> None:
        try:
            with self._store.changing() as call:
                self._renew(call)
        except (BrokerUnavailable, BrokerClosed) as error:
            log.debug("leases were not renewed: %s", error)

    def _renew(self, call: Any) -> None:
        """Write the numbers of all keys again that are written, and renew or begin the share."""
        slots, name, lasts = self.slots, self._process_name, constants.LEASE_SECONDS
        until = time.monotonic() + lasts
        had_share = bool(slots.share and call("extend_share", name, lasts, may_repeat=True)[0][0])
        with slots.lock:
            if not had_share:
                slots.share = 0  # it was lost: nothing is taken of it, and all numbers are written
            keys, limit = slots.list_written(), slots.limit
            numbers = [slots.taken.get(key, 0) for key in keys]
        values = pack_texts(keys), pack_integers(numbers), limit, SHARE, ALL_SHARES, lasts
        if not had_share and limit:
            self._release_dead_shares(call)
        ((share, crowded, regained),) = call("renew_leases", name, *values, may_repeat=True)
        with slots.lock:
            if not had_share:
                slots.begin_share(share, crowded, until)
            elif share:
                slots.renew_share(until)
            slots.written.difference_update(regained)

    def _release_dead_shares(self, call: Any) -> None:
        ((holders,),) = call("list_share_holders", self._process_name, may_repeat=True)
        dead = [holder for holder in holders if is_dead_process(holder)]
        if dead:
            call("release_leases", pack_texts(dead), may_repeat=True)

    # -- the oldest slot ---------------------------------------------------

    def announce_oldest_slot(self, key: str, since: float | None) -> None:
        try:
            self._store.call("set_oldest", key, self._process_name, since, may_repeat=True)
        except (BrokerUnavailable, BrokerClosed) as error:
            log.debug("the oldest slot of %s was not announced: %s", key, error)

    def find_oldest_slot_holder(self, key: str) -> str | None:
        ((holders,),) = self._store.read("list_holders", key)
        return next((holder for holder in holders if not is_dead_process(holder)), None)

    # -- writing changes ---------------------------------------------------

    def _write_slots(self, keys: Iterable[str]) -> None:
        """Write how many slots this process has. What cannot be written is written when leases are renewed, or
        expires."""
        try:
            with self._store.changing() as call:
                numbers = {key: self.slots.note_written(key)[1] for key in keys}
                values = pack_texts(numbers), pack_integers(numbers.values()), constants.LEASE_SECONDS
                call("set_slots", self._process_name, *values, may_repeat=True)
        except (BrokerUnavailable, BrokerClosed) as error:
            log.debug("leases were not written: %s", error)

    def release_all(self) -> None:
        """Give all slots back, and wait for the store. Never raises."""
        with self.slots.lock:
            is_empty = not (self.slots.taken or self.slots.share or self.slots.written)
            self.slots.forget_all()
            self.slots.begin_share(0, (), 0.0)
        if is_empty:
            return
        try:
            self._store.call("release_leases", pack_texts([self._process_name]), may_repeat=True)
        except (BrokerUnavailable, BrokerClosed) as error:
            log.debug("leases were not given back: %s", error)
