"""The per-user limit: how many streams a user may have. Which stream makes room is decided in ``evict_oldest.py``."""

from __future__ import annotations

from ..brokers import Leases
from ..sse import encode


class UserLimit:
    """Counts the streams of each user, over all workers.

    :param limit: ``SSEMUX_MAX_STREAMS_PER_USER``.
    """

    def __init__(self, leases: Leases, limit: int) -> None:
        self._leases = leases
        self.limit = limit

    def take_user_slot(self, user_id: str | None) -> bool:
        """Take one of the user's slots; return whether there was one. Anonymous visitors (None) are not counted.

        :raises BrokerUnavailable: the streams of the user cannot be counted.
        """
        return user_id is None or self._leases.take_user_slot(encode.USER_PREFIX + user_id, self.limit)

    def release_user_slot(self, user_id: str | None) -> None:
        """Give one of the user's slots back."""
        if user_id is not None:
            self._leases.release_user_slot(encode.USER_PREFIX + user_id)
