"""The places that a process holds, of which the Redis store is told. Nothing about events."""

from __future__ import annotations

import itertools
import threading
import time
from collections import Counter
from typing import TYPE_CHECKING, Iterable

from ...errors import BrokerClosed, BrokerUnavailable
from ...util import forks
from ...util.log_throttle import LogThrottle
from .. import base
from ..base import log
from . import scripts
from .trouble import is_unwritable

if TYPE_CHECKING:
    from .broker import RedisBroker

#: Keys of places in one command.
KEYS = 500

#: Seconds that a hold lasts.
LASTS = int(base.HOLD_SECONDS)


class Places:
    """The places that this process holds: ours is the truth, and the store is told of it.

    A place is counted here before the store is asked, and what is asked goes in the order in which it was counted: so
    many may ask at a time. While the store takes no writes, places are granted within what this process knows.
    """

    def __init__(self, broker: RedisBroker) -> None:
        self._broker = broker
        self.holder = base.new_holder()
        self._held: Counter[str] = Counter()
        self._asking: Counter[str] = Counter()
        self._total = 0
        self._to_tell: set[str] = set()
        self._counting = threading.Lock()
        self._is_told = True
        self._unwritable = LogThrottle()

    def take(self, key: str, limit: int) -> bool:
        taken, holders = self._ask(key, limit)
        dead = [name for name in holders if not taken and base.is_dead(name)]
        for name in dead:
            self._broker.call(scripts.PLACES, name, 0, LASTS, key, 0)
        return self._ask(key, limit)[0] if dead else taken

    def give_back(self, key: str) -> None:
        """Returns at once: a stream's end waits for nobody."""
        with self._counting:
            if not self._held[key]:
                return
            self._count(key, -1)
        self._tell_soon(key)

    def give_all_back(self) -> None:
        with self._counting:
            self._to_tell.update(self._held)
            self._held.clear()
            self._total = 0
        self._tell(self._to_tell)

    def renew(self) -> None:
        self._tell(list(self._held))

    def _count(self, key: str, more: int) -> None:
        """With the lock held."""
        self._held[key] += more
        self._total += more
        if not self._held[key]:
            del self._held[key]

    def _ask(self, key: str, limit: int) -> tuple[bool, list[str]]:
        """Whether there was a place, and who holds places if there was none."""
        taken = False
        with self._counting:
            self._count(key, 1)
            self._asking[key] += 1
            held = self._held[key]
            try:
                answer = self._broker.ask(scripts.HOLD, key, self.holder, held, self._total, limit, LASTS)
            except BaseException:
                self._note_answer(key, False)
                raise
        try:
            said = answer()
            taken = bool(said[2])
            return taken, [name.decode("utf-8") for name in said[3]]
        except BrokerUnavailable as error:
            if not is_unwritable(error):
                raise
            taken = held <= limit
            self._say_unwritable(error)
            return taken, []
        finally:
            with self._counting:
                is_to_tell = self._note_answer(key, taken)
            if is_to_tell:
                self._tell_soon(key)

    def _note_answer(self, key: str, taken: bool) -> bool:
        """Whether the store may believe that more places are held than are. With the lock held."""
        self._asking[key] -= 1
        are_others_asking = self._asking[key] > 0
        if not are_others_asking:
            del self._asking[key]
        if not taken:
            self._count(key, -1)
        return not taken and (are_others_asking or self._held[key] > 0)

    def _say_unwritable(self, error: BrokerUnavailable) -> None:
        more = self._unwritable.count("unwritable", time.monotonic())
        if more is not None:
            log.warning("streams are let in within what this worker knows of their users%s: %s", more, error)

    def _tell_soon(self, key: str) -> None:
        with self._counting:
            self._to_tell.add(key)
            begins, self._is_told = self._is_told, False
        try:
            if begins:
                threading.Thread(target=self._tell_waiting, name="ssemux-places", daemon=True).start()
        except RuntimeError:  # the interpreter ends: all are given back
            self._is_told = True

    def _tell_waiting(self) -> None:
        born = forks.generation
        while True:
            forks.halt_copy(born)
            with self._counting:
                keys, self._to_tell = list(self._to_tell), set()
                self._is_told = not keys
            if not keys:
                return
            self._tell(keys)

    def _tell(self, keys: Iterable[str]) -> None:
        """What cannot be told now is when places are renewed, or runs out."""
        names = list(keys)
        try:
            for start in range(0, len(names), KEYS):
                with self._counting:
                    some = [(key, self._held.get(key, 0)) for key in names[start : start + KEYS]]
                    told = itertools.chain.from_iterable(some)
                    answer = self._broker.ask(scripts.PLACES, self.holder, self._total, LASTS, *told)
                answer()
        except (BrokerUnavailable, BrokerClosed) as error:
            log.debug("places not told: %s", error)
