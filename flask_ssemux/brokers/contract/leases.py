"""The contract's second part: leases, which processes hold in the store and renew. No events.

A lease belongs to the process that took it. It ends when the process gives it back or closes its broker. When the
process dies, other processes on its host notice at once; on other hosts the lease ends after ``LEASE_SECONDS``. Other
kinds of leases belong here too, such as one for work that runs once in the whole deployment.
"""

from __future__ import annotations

from abc import abstractmethod

from .any_thread import AnyThread
from .user_slots import SlotAnswer, UserSlots


class Leases(AnyThread):
    """The slots of users: how many streams a user may have in all processes together.

    An engine's constructor sets ``slots``. Every method may be called from any thread or greenlet of the process, and
    blocks its caller for ``WAIT_SECONDS`` at most. After ``Broker.close`` the methods that raise ``BrokerUnavailable``
    raise ``BrokerClosed``; the others do nothing.
    """

    #: What this process has taken. ``slots.take_of_share`` takes a slot without a call of the store.
    slots: UserSlots

    def take_user_slot(self, key: str, limit: int) -> bool:
        """Take one of the ``limit`` slots that all processes share under this key, if one is certainly free.

        :param key: names the user.
        :return: whether a slot was taken.
        :raises BrokerUnavailable: the store did not answer.
        """
        return self.slots.take_of_share(key) or self.ask_for_user_slot(key, limit) is SlotAnswer.TAKEN

    @abstractmethod
    def ask_for_user_slot(self, key: str, limit: int) -> SlotAnswer:
        """Ask the store for one of the slots, and write how many this process has: it has no share of them any more.

        :raises BrokerUnavailable: the store did not answer.
        """

    @abstractmethod
    def release_user_slot(self, key: str) -> None:
        """Give one of this process's slots back. Never raises: what cannot be given back now, expires."""

    @abstractmethod
    def share_user_slots(self, limit: int) -> None:
        """Request a share of every key's slots, as ``choose_share`` says, for the process's life. Never raises:
        ``renew_leases`` repeats the request, and the process has no share meanwhile.

        The shares of all living processes together never exceed what is left of any key's slots.
        """

    @abstractmethod
    def write_user_slots(self, key: str) -> None:
        """Write how many of these slots this process has: it has no share of them any more. Never raises."""

    @abstractmethod
    def renew_leases(self) -> None:
        """Renew all leases of this process, and its share; called every ``LEASE_SECONDS / 3``. Never raises: the next
        call repeats it. Keys that few slots were taken of are shared again."""

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
