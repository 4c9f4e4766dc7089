"""The places that a process holds, of which the Redis store is told. Nothing about events."""

from __future__ import annotations

import itertools
import threading
from collections import Counter
from typing import TYPE_CHECKING, Iterable

from ...errors import BrokerClosed, BrokerUnavailable
from .. import base
from ..base import log
from . import scripts

if TYPE_CHECKING:
    from .broker import RedisBroker

#: Keys of places in one command.
KEYS = 500

#: Seconds that a hold lasts.
LASTS = int(base.HOLD_SECONDS)


class Places:
    """The places that this process holds: ours is the truth, and the store is told of it."""

    def __init__(self, broker: RedisBroker) -> None:
        self._broker = broker
        self.holder = base.new_holder()
        self._held: Counter[str] = Counter()
        self._total = 0
        self._given_back: set[str] = set()
        self._telling = threading.Lock()
        self._counting = threading.Lock()
        self._is_told = True

    def take(self, key: str, limit: int) -> bool:
        with base.within(self._telling, "places are counted"):
            taken, holders = self._ask(key, limit)
            dead = [name for name in holders if not taken and base.is_dead(name)]
            for name in dead:
                self._broker.call(scripts.PLACES, name, 0, LASTS, key, 0)
            if dead:
                taken, _ = self._ask(key, limit)
            if taken:
                self._count(key, 1)
            return taken

    def give_back(self, key: str) -> None:
        """Returns at once: a stream's end waits for nobody."""
        with self._counting:
            if not self._held[key]:
                return
            self._given_back.add(key)
            begin, self._is_told = self._is_told, False
        self._count(key, -1)
        try:
            if begin:
                threading.Thread(target=self._tell_given_back, name="ssemux-places", daemon=True).start()
        except RuntimeError:  # the interpreter ends: all are given back
            self._is_told = True

    def give_all_back(self) -> None:
        self._given_back.update(self._held)
        self._held.clear()
        self._total = 0
        self._tell(self._given_back)

    def renew(self) -> None:
        self._tell(self._held)

    def _count(self, key: str, more: int) -> None:
        with self._counting:
            self._held[key] += more
            self._total += more
            if not self._held[key]:
                del self._held[key]

    def _ask(self, key: str, limit: int) -> tuple[bool, list[str]]:
        counts = (self._held[key] + 1, self._total + 1)
        answer = self._broker.call(scripts.HOLD, key, self.holder, *counts, limit, LASTS)
        return bool(answer[2]), [name.decode("utf-8") for name in answer[3]]

    def _tell_given_back(self) -> None:
        while True:
            with self._counting:
                keys, self._given_back = list(self._given_back), set()
                self._is_told = not keys
            if not keys:
                return
            self._tell(keys)

    def _tell(self, keys: Iterable[str]) -> None:
        """What cannot be told now is when places are renewed, or runs out."""
        names = list(keys)
        try:
            for start in range(0, len(names), KEYS):
                with base.within(self._telling, "places are counted"):
                    some = [(key, self._held[key]) for key in names[start : start + KEYS]]
                    told = itertools.chain.from_iterable(some)
                    self._broker.call(scripts.PLACES, self.holder, self._total, LASTS, *told)
        except (BrokerUnavailable, BrokerClosed) as error:
            log.debug("places not told: %s", error)
