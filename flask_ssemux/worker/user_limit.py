"""The per-user limit: how many streams a user may have, over all workers.

Each worker takes the first slots of a user from a share of its own, without asking the store (``brokers/contract/
user_slots.py``). When a user's last slots are asked for, the other workers are asked how many they really took. Which
stream makes room is decided in ``evict_oldest.py``.
"""

from __future__ import annotations

import threading
import time

from ..brokers import Broker, SlotAnswer
from ..publishing.revocation import ask_for_slots
from ..sse import encode
from ..util import forks
from ..util.background import run_in_background

#: Seconds that the other workers have to write how many slots of a user they took. A worker that is blocked for longer
#: keeps its share, and the new stream is refused.
WRITE_TIMEOUT = 2.0

#: Seconds after which they are asked again: a worker may not have received the first message.
ASK_AGAIN = 0.5


class UserLimit:
    """Counts the streams of each user.

    :param limit: ``SSEMUX_MAX_STREAMS_PER_USER``.
    :param has_share: whether this worker takes slots from a share of its own.
    """

    def __init__(self, broker: Broker, limit: int, has_share: bool = True) -> None:
        self._leases = broker.leases
        self._broker = broker
        self._wants_share = has_share
        self._requesting_share = threading.Lock()
        self.limit = limit

    def take_user_slot(self, user_id: str | None) -> bool:
        """Take one of the user's slots; return whether there was one. Anonymous visitors (None) are not counted.

        :raises BrokerUnavailable: the streams of the user cannot be counted.
        """
        if user_id is None:
            return True
        key = encode.USER_PREFIX + user_id
        return self._leases.slots.take_of_share(key) or self._ask_store(key)

    def release_user_slot(self, user_id: str | None) -> None:
        """Give one of the user's slots back."""
        if user_id is not None:
            self._leases.release_user_slot(encode.USER_PREFIX + user_id)

    def write_user_slots(self, key: str) -> None:
        """Another worker needs to know how many slots of a user were taken here. Returns at once."""
        run_in_background("ssemux-slots", self._leases.write_user_slots, key)

    def _ask_store(self, key: str) -> bool:
        if self._wants_share:
            self._request_share()
            if self._leases.slots.take_of_share(key):
                return True
        answer = self._leases.ask_for_user_slot(key, self.limit)
        return self._ask_workers(key) if answer is SlotAnswer.SHARED else answer is SlotAnswer.TAKEN

    def _request_share(self) -> None:
        """Request this worker's share, once. Streams that open meanwhile wait for it: if each of them asked the store,
        appends would wait behind them."""
        with self._requesting_share:
            if self._wants_share:
                self._leases.share_user_slots(self.limit)
                self._wants_share = False

    def _ask_workers(self, key: str) -> bool:
        """Have the other workers write how many of these slots they took, and take one that is left."""
        now = ask_at = time.monotonic()
        deadline, pause = now + WRITE_TIMEOUT, 0.002
        answer = SlotAnswer.SHARED
        while answer is SlotAnswer.SHARED and now < deadline:
            if now >= ask_at:
                ask_at = now + ASK_AGAIN
                ask_for_slots(self._broker, key)
            forks.sleep(pause)
            pause = min(pause * 1.5, 0.1)
            answer, now = self._leases.ask_for_user_slot(key, self.limit), time.monotonic()
        return answer is SlotAnswer.TAKEN
