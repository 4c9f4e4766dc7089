"""The contract's third part: which users are connected, and with how many streams, as processes announce it.

A roster is built on that: the users of a channel whose arrival was announced, and whose departure was not. It changes
by changes that one process owns until it has announced them:

    not on the roster --join--> on the roster --leave--> not on the roster

A process that has streams of a user who is not on the roster owns the join. A user without streams is left on the
roster for a grace period, and if they are still away then, the process that notices it first owns the leave. Until a
change is announced there is no other one for this user, so changes are announced in their order. If a process dies with
a leave, another process owns that leave after ``CLAIM_SECONDS``.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import Collection, Iterable, Mapping, NamedTuple, Tuple

from ..names import is_dead_process
from .any_thread import AnyThread

#: A user on a channel; the user "" stands for anonymous visitors.
Member = Tuple[str, str]

#: How many streams there are, by channel and user.
StreamCounts = Mapping[Member, int]

#: The kinds of changes of a roster.
JOIN, LEAVE = "join", "leave"

#: Seconds that a process has to announce a leave.
CLAIM_SECONDS = 10.0

#: The longest grace period, in seconds. A departure that is due much later was noted while a clock was ahead.
MAX_GRACE = 3600.0

#: The maximum number of changes that one call of ``update_roster`` returns, and that it takes as announced.
MAX_CHANGES = 500


class Change(NamedTuple):
    """A user was put on the roster of a channel, or will be taken off it.

    :param kind: ``JOIN`` or ``LEAVE``.
    """

    kind: str
    channel: str
    user: str


class RosterChanges(NamedTuple):
    """What a process has to announce.

    :param changes: those that this process owns, in any order: at most one for each channel and user.
    :param next_due: seconds until there may be another leave; None if nobody is away.
    """

    changes: list[Change]
    next_due: float | None


class Presence(AnyThread):
    """Announces this process's streams and adds up those of all processes.

    Every method may be called from any thread or greenlet of the process, and blocks its caller for ``WAIT_SECONDS`` at
    most. After ``Broker.close`` all of them raise ``BrokerClosed``.
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

    @abstractmethod
    def update_roster(self, present: Mapping[Member, float], announced: Collection[Change] = ()) -> RosterChanges:
        """Put users on the roster, and return the changes that this process has to announce.

        A change is returned by each call until it is passed as announced.

        :param present: users of whom this process has announced streams, with their grace periods in seconds.
        :param announced: changes that an earlier call returned and that were announced since.
        :raises BrokerUnavailable: it is not known whether the roster was changed. A repeated call does no harm.
        """

    @abstractmethod
    def get_roster(self, channel: str) -> list[str]:
        """Return the users who are on the roster of this channel, in any order, without those whose leave is due.

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
