"""The contract's second part: leases, which processes hold in the store and renew. No events.

A lease belongs to the process that took it. It ends when the process gives it back or closes its broker. When the
process dies, other processes on its host notice at once; on other hosts the lease ends after ``LEASE_SECONDS``. Other
kinds of leases belong here too, such as one for work that runs once in the whole deployment.
"""

from __future__ import annotations

from abc import abstractmethod

from .any_thread import AnyThread


class Leases(AnyThread):
    """The slots of users: how many streams a user may have in all processes together.

    Every method may be called from any thread or greenlet of the process, and blocks its caller for ``WAIT_SECONDS`` at
    most. After ``Broker.close`` the methods that raise ``BrokerUnavailable`` raise ``BrokerClosed``; the others do
    nothing.
    """

    @abstractmethod
    def take_user_slot(self, key: str, limit: int) -> bool:
        """Take one of the ``limit`` slots that all processes share under this key, if one is free.

        :param key: names the user.
        :return: whether a slot was free.
        :raises BrokerUnavailable: the store did not answer.
        """

    @abstractmethod
    def release_user_slot(self, key: str) -> None:
        """Give one of this process's slots back. Never raises: what cannot be given back now, expires."""

    @abstractmethod
    def renew_leases(self) -> None:
        """Renew all leases of this process; called every ``LEASE_SECONDS / 3``. Never raises: the next call repeats
        it."""

    @abstractmethod
    def announce_oldest_slot(self, key: str, since: float | None) -> None:
        """Announce since when (Unix time) this process has had the oldest of its slots under this key. Never raises.

        :param since: None if the process has no slot under the key.
        """

    @abstractmethod
    def find_oldest_slot_holder(self, key: str) -> str | None:
        """Return the name of the living process that announced the oldest slot under this key; None if no slot is
        taken.

        A process that announced nothing comes first: the age of its slots is not known.

        :raises BrokerUnavailable: the store did not answer.
        """
