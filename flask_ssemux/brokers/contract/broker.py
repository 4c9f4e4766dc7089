"""The contract as a whole: a broker is composed of six parts, and is opened, forked and closed as one object."""

from __future__ import annotations

from abc import abstractmethod

from .any_thread import AnyThread
from .history import EventHistory
from .leases import Leases
from .one_time_keys import OneTimeKeys
from .presence import Presence
from .reports import Reports
from .work import Work


class Broker(AnyThread):
    """Keeps the order and the history of events and carries them between processes.

    An engine's constructor sets the six parts and ``process_name``. It opens no file and no connection: the first call
    of a method does.

    Every method may be called from any thread or greenlet of the process that made the broker, and of no other process:
    a broker is made after the fork. After ``close`` every method that asks the store raises ``BrokerClosed``.
    """

    unwrapped = frozenset({"prepare_fork", "finish_fork", "disown"})

    history: EventHistory
    leases: Leases
    presence: Presence
    reports: Reports
    one_time_keys: OneTimeKeys
    work: Work

    #: The name of this broker among all that share the store: it holds leases, announces presence and writes reports.
    process_name: str

    #: Whether other processes see the events.
    is_shared = True

    #: A description of the store: two brokers with the same description have the same events. "" if no other broker can
    #: have this one's events.
    store_name = ""

    @abstractmethod
    def get_figures(self) -> dict[str, object]:
        """Return what ``flask ssemux status`` shows of this broker.

        :raises BrokerUnavailable: the store did not answer in ``WAIT_SECONDS``.
        """

    def find_missing_file(self) -> str | None:
        """Return the store's file if it does not exist yet; None if it exists, or if the store is not a file.

        :raises BrokerUnavailable: whether it exists cannot be seen, or it cannot exist.
        """
        return None

    @property
    def waiting_calls(self) -> int:
        """The number of this process's calls that wait for the store's answer now; 0 if the engine does not count
        them."""
        return 0

    # -- forks -------------------------------------------------------------

    def prepare_fork(self) -> None:
        """Before a fork: close what a child must not inherit. It waits for a fraction of a second at most."""

    def finish_fork(self) -> None:
        """After a fork, in the parent: go on."""

    def disown(self) -> None:
        """In a forked child: close the broker, which is the parent's, without an effect on the parent or the store."""

    # ----------------------------------------------------------------------

    @abstractmethod
    def close(self) -> None:
        """Stop delivery, give all leases back, and close what is open. May be called again."""
