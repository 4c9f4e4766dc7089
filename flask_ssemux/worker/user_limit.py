"""How many streams a user may hold. Who makes room for whom is ``evict_oldest.py``'s."""

from __future__ import annotations

from ..brokers import Broker
from ..sse import encode


class UserLimit:
    """How many streams a user holds, over all workers.

    :param limit: ``SSEMUX_MAX_STREAMS_PER_USER``.
    """

    def __init__(self, broker: Broker, limit: int) -> None:
        self._broker = broker
        self.limit = limit

    def take(self, user_id: str | None) -> bool:
        """Whether there is a place for one stream more; visitors who are nobody are not counted.

        :raises BrokerUnavailable: nobody can tell.
        """
        return user_id is None or self._broker.leases.take_user_slot(encode.user_channel(user_id), self.limit)

    def leave(self, user_id: str | None) -> None:
        if user_id is not None:
            self._broker.leases.release_user_slot(encode.user_channel(user_id))
