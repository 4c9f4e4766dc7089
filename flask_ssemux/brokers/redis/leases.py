"""The leases of the Redis broker. Nothing about events."""

from __future__ import annotations

import itertools
import logging
import time
from collections import Counter
from typing import Any, Callable, Iterable, Sequence

from ...errors import BrokerClosed, BrokerUnavailable
from ...util.log_throttle import LogThrottle
from ..contract import constants
from ..contract.leases import Leases
from ..contract.user_slots import ALL_SHARES, SHARE, SlotAnswer, UserSlots
from ..names import is_dead_process
from ..slot_writer import SlotWriter
from . import scripts
from .refusal import is_unwritable
from .scripts import Script
from .store import RedisStore

log = logging.getLogger("flask_ssemux")

#: Keys in one command.
KEYS = 500

#: Seconds that a lease lasts, as scripts take them.
LASTS = int(constants.LEASE_SECONDS)


class RedisLeases(Leases):
    """Counts this process's slots, and writes each change to the store, unless it is within its share.

    A slot is counted here before the store is asked, and calls are queued in the order in which slots were counted: so
    many callers may ask at a time. While the store takes no writes, slots are granted by what this process knows.
    """

    def __init__(self, store: RedisStore, process_name: str) -> None:
        self._store = store
        self._process_name = process_name
        self.slots = UserSlots()
        self._asking: Counter[str] = Counter()
        self._writer = SlotWriter(self.slots, self._write_slots)
        #: Keys that are being shared again, and that nothing was written of meanwhile.
        self._regaining: set[str] = set()
        self._throttle = LogThrottle()

    def ask_for_user_slot(self, key: str, limit: int) -> SlotAnswer:
        answer, holders = self._ask_once(key, limit)
        dead = [name for name in holders if is_dead_process(name)]
        for name in dead:
            self._store.call(scripts.SHARE_SLOTS, name, 0, SHARE, ALL_SHARES, LASTS)
            self._store.call(scripts.SET_SLOTS, name, 0, LASTS, key, 0)
        return self._ask_once(key, limit)[0] if dead else answer

    def release_user_slot(self, key: str) -> None:
        self._writer.release_slot(key)

    def write_user_slots(self, key: str) -> None:
        self._write_slots([key])

    def release_all(self) -> None:
        """Give all slots back, and wait for the store."""
        slots = self.slots
        with slots.lock:
            self._writer.waiting.update(slots.list_written())
            had_share = slots.share
            slots.forget_all()
            self._begin_share(0, ())
        if had_share:
            self._share_slots(0)
        self._write_slots(self._writer.waiting)

    # -- the share ---------------------------------------------------------

    def share_user_slots(self, limit: int) -> None:
        with self.slots.lock:
            self.slots.limit = limit
        self.renew_leases()

    def renew_leases(self) -> None:
        slots = self.slots
        if slots.share and not self._share_slots(""):
            with slots.lock:
                self._begin_share(0, ())  # it was lost: nothing is taken of it, and all numbers are written
        with slots.lock:
            keys = slots.list_written()
        self._write_slots(keys)
        if slots.share:
            self._regain_slots()
        elif slots.limit:
            self._share_slots(slots.limit)

    def _share_slots(self, limit: int | str) -> int:
        """Begin, renew or give up the share, as the script's ``limit`` says. Return the share; 0 also if the store does
        not answer."""
        until = time.monotonic() + constants.LEASE_SECONDS
        try:
            values = self._process_name, limit, SHARE, ALL_SHARES, LASTS
            share, crowded = self._store.call(scripts.SHARE_SLOTS, *values)[2:]
        except (BrokerUnavailable, BrokerClosed) as error:
            log.debug("a share of the user slots was not written: %s", error)
            return 0 if limit else self.slots.share
        with self.slots.lock:
            if limit == "":
                self.slots.renew_share(until)
            elif limit:
                self._begin_share(share, [key.decode("utf-8") for key in crowded], until)
        return int(share)

    def _begin_share(self, share: int, crowded: Iterable[str], until: float = 0.0) -> None:
        """With the lock held."""
        self.slots.begin_share(share, {*crowded, *self._writer.waiting} if share else (), until)

    def _regain_slots(self) -> None:
        """Share the keys again of which no slot is taken here, and few elsewhere."""
        slots = self.slots
        with slots.lock:
            keys = [key for key in slots.written if not slots.taken.get(key) and key not in self._writer.waiting]
            self._regaining = set(keys)
        for start in range(0, len(keys), KEYS):
            values = self._process_name, slots.share, slots.limit, LASTS, *keys[start : start + KEYS]
            try:
                found = self._store.call(scripts.REGAIN_SLOTS, *values)[2]
            except (BrokerUnavailable, BrokerClosed) as error:
                log.debug("user slots were not shared again: %s", error)
                return
            with slots.lock:
                slots.written -= self._regaining.intersection(key.decode("utf-8") for key in found)

    # -- the oldest slot ---------------------------------------------------

    def announce_oldest_slot(self, key: str, since: float | None) -> None:
        try:
            text = "" if since is None else "%.6f" % since
            self._store.call(scripts.ANNOUNCE_OLDEST, key, self._process_name, text)
        except (BrokerUnavailable, BrokerClosed) as error:
            log.debug("the oldest slot of %s was not announced: %s", key, error)

    def find_oldest_slot_holder(self, key: str) -> str | None:
        holders = [holder.decode("utf-8") for holder in self._store.read(scripts.LIST_HOLDERS, key)[2]]
        return next((holder for holder in holders if not is_dead_process(holder)), None)

    # -- asking for a slot -------------------------------------------------

    def _ask_once(self, key: str, limit: int) -> tuple[SlotAnswer, list[str]]:
        """Return the answer, and the processes that hold slots if none was free."""
        slots, answer = self.slots, SlotAnswer.FULL
        with slots.lock:
            slots.change(key, 1)
            self._asking[key] += 1
            taken = slots.taken[key]
            try:
                values = (key, self._process_name, taken, slots.total, limit, LASTS)
                wait_for_answer = self._submit_write(scripts.TAKE_SLOT, [key], values)
            except BaseException:
                self._note_answer(key, False)
                raise
        try:
            code, holders = wait_for_answer()[2:]
            answer = _ANSWERS[code]
            return answer, [name.decode("utf-8") for name in holders]
        except BrokerUnavailable as error:
            if not is_unwritable(error):
                raise
            answer = SlotAnswer.TAKEN if taken <= limit else SlotAnswer.FULL
            self._log_unwritable(error)
            return answer, []
        finally:
            with slots.lock:
                must_write = self._note_answer(key, answer is SlotAnswer.TAKEN)
            if must_write:
                self._writer.write_soon(key)

    def _note_answer(self, key: str, is_taken: bool) -> bool:
        """Return whether the store may count more slots than are taken. With the lock held."""
        self._asking[key] -= 1
        are_others_asking = self._asking[key] > 0
        if not are_others_asking:
            del self._asking[key]
        if not is_taken:
            self.slots.change(key, -1)
        return not is_taken and (are_others_asking or self.slots.taken.get(key, 0) > 0)

    def _log_unwritable(self, error: BrokerUnavailable) -> None:
        more = self._throttle.count("unwritable", time.monotonic())
        if more is not None:
            log.warning("the per-user limit counts only the streams of this worker%s: %s", more, error)

    # -- writing changes ---------------------------------------------------

    def _submit_write(self, script: Script, keys: Iterable[str], values: Sequence[Any]) -> Callable[[], Any]:
        """Queue a call that writes the numbers of these keys. With the lock held."""
        if self.slots.share:
            self.slots.written.update(keys)
        self._regaining.difference_update(keys)
        return self._store.submit(script, *values)

    def _write_slots(self, keys: Iterable[str]) -> None:
        """Write how many slots this process has. What cannot be written is written when leases are renewed, or
        expires."""
        names = list(keys)
        try:
            for start in range(0, len(names), KEYS):
                part = names[start : start + KEYS]
                with self.slots.lock:
                    some = [(key, self.slots.taken.get(key, 0)) for key in part]
                    numbers = itertools.chain.from_iterable(some)
                    values = (self._process_name, self.slots.total, LASTS, *numbers)
                    wait_for_answer = self._submit_write(scripts.SET_SLOTS, part, values)
                wait_for_answer()
        except (BrokerUnavailable, BrokerClosed) as error:
            log.debug("leases were not written: %s", error)


#: By the number that the script returns.
_ANSWERS = (SlotAnswer.FULL, SlotAnswer.TAKEN, SlotAnswer.SHARED)
