"""The leases of the Redis broker. Nothing about events."""

from __future__ import annotations

import itertools
import logging
import threading
import time
from collections import Counter
from typing import Iterable

from ...errors import BrokerClosed, BrokerUnavailable
from ...util import forks
from ...util.log_throttle import LogThrottle
from ..contract import constants
from ..contract.leases import Leases
from ..names import is_dead_process
from . import scripts
from .refusal import is_unwritable
from .store import RedisStore

log = logging.getLogger("flask_ssemux")

#: Keys in one command.
KEYS = 500

#: Seconds that a lease lasts, as scripts take them.
LASTS = int(constants.LEASE_SECONDS)


class RedisLeases(Leases):
    """Counts this process's slots, and writes each change to the store.

    A slot is counted here before the store is asked, and calls are queued in the order in which slots were counted: so
    many callers may ask at a time. While the store takes no writes, slots are granted by what this process knows.
    """

    def __init__(self, store: RedisStore, process_name: str) -> None:
        self._store = store
        self._process_name = process_name
        self._taken: Counter[str] = Counter()
        self._asking: Counter[str] = Counter()
        self._total = 0
        self._to_write: set[str] = set()
        self._counting = threading.Lock()
        self._is_written = True
        self._throttle = LogThrottle()

    def take_user_slot(self, key: str, limit: int) -> bool:
        is_taken, holders = self._ask_for_slot(key, limit)
        dead = [name for name in holders if not is_taken and is_dead_process(name)]
        for name in dead:
            self._store.call(scripts.SET_SLOTS, name, 0, LASTS, key, 0)
        return self._ask_for_slot(key, limit)[0] if dead else is_taken

    def release_user_slot(self, key: str) -> None:
        """Returns at once: the end of a stream does not wait for the store."""
        with self._counting:
            if not self._taken[key]:
                return
            self._count(key, -1)
        self._write_soon(key)

    def renew_leases(self) -> None:
        self._write_slots(list(self._taken))

    def release_all(self) -> None:
        """Give all slots back, and wait for the store."""
        with self._counting:
            self._to_write.update(self._taken)
            self._taken.clear()
            self._total = 0
        self._write_slots(self._to_write)

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

    def _count(self, key: str, more: int) -> None:
        """With the lock held."""
        self._taken[key] += more
        self._total += more
        if not self._taken[key]:
            del self._taken[key]

    def _ask_for_slot(self, key: str, limit: int) -> tuple[bool, list[str]]:
        """Return whether a slot was free, and the processes that hold slots if none was."""
        is_taken = False
        with self._counting:
            self._count(key, 1)
            self._asking[key] += 1
            taken = self._taken[key]
            values = (key, self._process_name, taken, self._total, limit, LASTS)
            try:
                wait_for_answer = self._store.submit(scripts.TAKE_SLOT, *values)
            except BaseException:
                self._note_answer(key, False)
                raise
        try:
            answer = wait_for_answer()
            is_taken = bool(answer[2])
            return is_taken, [name.decode("utf-8") for name in answer[3]]
        except BrokerUnavailable as error:
            if not is_unwritable(error):
                raise
            is_taken = taken <= limit
            self._log_unwritable(error)
            return is_taken, []
        finally:
            with self._counting:
                must_write = self._note_answer(key, is_taken)
            if must_write:
                self._write_soon(key)

    def _note_answer(self, key: str, is_taken: bool) -> bool:
        """Return whether the store may count more slots than are taken. With the lock held."""
        self._asking[key] -= 1
        are_others_asking = self._asking[key] > 0
        if not are_others_asking:
            del self._asking[key]
        if not is_taken:
            self._count(key, -1)
        return not is_taken and (are_others_asking or self._taken[key] > 0)

    def _log_unwritable(self, error: BrokerUnavailable) -> None:
        more = self._throttle.count("unwritable", time.monotonic())
        if more is not None:
            log.warning("the per-user limit counts only the streams of this worker%s: %s", more, error)

    # -- writing changes ---------------------------------------------------

    def _write_soon(self, key: str) -> None:
        with self._counting:
            self._to_write.add(key)
            must_start, self._is_written = self._is_written, False
        try:
            if must_start:
                threading.Thread(target=self._write_queued, name="ssemux-leases", daemon=True).start()
        except RuntimeError:  # the interpreter ends: all slots are given back
            self._is_written = True

    def _write_queued(self) -> None:
        born = forks.generation
        while True:
            forks.halt_copy(born)
            with self._counting:
                keys, self._to_write = list(self._to_write), set()
                self._is_written = not keys
            if not keys:
                return
            self._write_slots(keys)

    def _write_slots(self, keys: Iterable[str]) -> None:
        """Write how many slots this process has. What cannot be written is written when leases are renewed, or
        expires."""
        names = list(keys)
        try:
            for start in range(0, len(names), KEYS):
                with self._counting:
                    some = [(key, self._taken.get(key, 0)) for key in names[start : start + KEYS]]
                    values = itertools.chain.from_iterable(some)
                    wait_for_answer = self._store.submit(
                        scripts.SET_SLOTS, self._process_name, self._total, LASTS, *values
                    )
                wait_for_answer()
        except (BrokerUnavailable, BrokerClosed) as error:
            log.debug("leases were not written: %s", error)
