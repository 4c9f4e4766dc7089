"""The contract's fifth part: keys that may be used once in the whole deployment, such as those of tickets."""

from __future__ import annotations

from abc import abstractmethod

from .any_thread import AnyThread


class OneTimeKeys(AnyThread):
    """Remembers which keys were used.

    The method may be called from any thread or greenlet of the process, and blocks its caller for ``WAIT_SECONDS`` at
    most. After ``Broker.close`` it raises ``BrokerClosed``.
    """

    @abstractmethod
    def use_one_time_key(self, key: str, seconds: float) -> bool:
        """Return whether this is the first use of the key, over all processes, in these seconds (at least 1).

        :raises BrokerUnavailable: the store did not answer.
        """
