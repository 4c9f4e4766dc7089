"""The contract's third part: which users are connected, and with how many streams, as processes announce it."""

from __future__ import annotations

from abc import abstractmethod
from typing import Iterable, Mapping, Tuple

from ..names import is_dead_process
from .any_thread import AnyThread

#: How many streams there are, by channel and user; the user "" stands for anonymous visitors.
StreamCounts = Mapping[Tuple[str, str], int]


class Presence(AnyThread):
    """Announces this process's streams and adds up those of all processes.

    Every method may be called from any thread or greenlet of the process, and blocks its caller for ``WAIT_SECONDS`` at
    most. After ``Broker.close`` both raise ``BrokerClosed``.
    """

    @abstractmethod
    def announce_presence(self, counts: StreamCounts, seconds: float, replace_all: bool = False) -> bool:
        """Announce how many streams this process has, replacing its earlier counts of the same channels and users.

        Whatever the process announced counts until it has announced nothing for ``seconds``, not even an empty mapping;
        until it closes its broker; or until it is known to be dead.

        :param counts: a count of 0 removes an earlier one.
        :param replace_all: first remove all earlier counts of this process.
        :return: whether its earlier counts were still there. If not, the process must announce all of them again.
        :raises BrokerUnavailable: it is not known which counts the store has now.
        """

    @abstractmethod
    def get_presence(self, channel: str) -> dict[str, int]:
        """Return the streams of this channel by user, of all processes together.

        :raises BrokerUnavailable: the store did not answer.
        """


def add_up_streams(rows: Iterable[tuple[str, str, int]]) -> dict[str, int]:
    """Return the streams by user, without those of dead processes.

    :param rows: as engines store them: process name, user, streams.
    """
    found: dict[str, int] = {}
    dead: dict[str, bool] = {}
    for process_name, user, streams in rows:
        if process_name not in dead:
            dead[process_name] = is_dead_process(process_name)
        if not dead[process_name]:
            found[user] = found.get(user, 0) + streams
    return found
