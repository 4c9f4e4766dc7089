"""Announces which users are on a channel: counts this process's streams, and tells the broker what changed.

Only for channels that are tracked. A thread (or greenlet) that runs while there are streams writes to the
broker, many changes at a time: a storm of clients is a few writes. ``roster.py`` finds out
who arrived and who left, over all processes. No Flask.
"""

from __future__ import annotations

import threading
from typing import Callable, Sequence

from ..brokers import Presence
from ..errors import BrokerClosed, BrokerUnavailable
from ..options import log
from ..util import forks
from ..util.supervise import Loop
from .roster import ChangeListener, RosterKeeper
from .stream import Stream

#: Seconds in which changes are gathered.
GATHER = 0.15

#: Seconds until a failed announcement is repeated.
RETRY_PAUSE = 1.0

#: The maximum number of changes in one write, so that a store that all processes share is not held up.
BATCH = 500

#: How many times within its lifetime an announcement is renewed. It lives for a heartbeat's time, and at least so long.
RENEWALS = 3
MIN_LIFETIME = 1.0


class PresenceTracker:
    """The streams of this process, by channel and user.

    :param presence: the broker's.
    :param heartbeat: seconds after which a process that announces nothing counts as dead.
    :param find_tracked: returns those of some channels whose presence is tracked.
    :param listener: is told who arrives and who leaves.
    """

    def __init__(
        self,
        presence: Presence,
        heartbeat: float,
        find_tracked: Callable[[Sequence[str]], Sequence[str]],
        listener: ChangeListener,
    ) -> None:
        self._presence = presence
        self._roster = RosterKeeper(presence, listener)
        self._lifetime = max(heartbeat, MIN_LIFETIME)
        self._find_tracked = find_tracked
        self._changed = threading.Condition()
        self._streams: dict[tuple[str, str], int] = {}
        self._unannounced: set[tuple[str, str]] = set()
        #: Whether the broker still has what was announced before. If not, everything is announced again.
        self._is_known = False
        self._is_over = False
        self._loop = Loop("ssemux-presence", self._changed, self._is_needed, self._run_turn, GATHER)

    def add_stream(self, stream: Stream) -> None:
        self._count_stream(stream, 1)

    def remove_stream(self, stream: Stream) -> None:
        """The stream has ended. This may be called before ``add_stream`` is."""
        self._count_stream(stream, -1)

    def _count_stream(self, stream: Stream, change: int) -> None:
        keys = {(channel, stream.user_id or "") for channel in self._find_tracked(stream.channels)}
        if not keys:
            return
        with self._changed:
            for key in keys:
                self._streams[key] = self._streams.get(key, 0) + change
                if not self._streams[key]:
                    del self._streams[key]
            self._unannounced.update(keys)
            self._changed.notify_all()
            if not self._is_over:
                self._loop.start()

    def _run_turn(self) -> None:
        try:
            self._is_known = self._announce()
            self._roster.update()
        except BrokerClosed:
            self._is_over = True
        except BrokerUnavailable as error:
            log.debug("the broker could not be told which users are present: %s", error)
            self._is_known = False
            forks.sleep(RETRY_PAUSE)
        except BaseException:
            self._is_known = False
            raise

    def _is_needed(self) -> bool:
        """Wait until there is something to announce or to renew.

        Return False if there are no streams any more, and everybody who is away has left.
        """
        if self._is_known and not self._unannounced:
            due = self._roster.next_due
            if not self._streams and due is None:
                return False
            interval = self._lifetime / RENEWALS
            self._changed.wait(interval if due is None else min(interval, due))
        return not self._is_over

    def _announce(self) -> bool:
        """Announce what changed, or everything. Return whether the broker then has everything."""
        with self._changed:
            is_complete = not self._is_known
            keys = self._streams if is_complete else self._unannounced
            counts = [(key, max(0, self._streams.get(key, 0))) for key in keys]
            self._unannounced.clear()
        parts = [dict(counts[start : start + BATCH]) for start in range(0, max(1, len(counts)), BATCH)]
        is_known = self._presence.announce_presence(parts[0], self._lifetime, is_complete) or is_complete
        for part in parts[1:]:
            forks.sleep(0)  # let others run
            is_known = self._presence.announce_presence(part, self._lifetime) and is_known
        self._roster.note_streams(dict(counts))
        return is_known
