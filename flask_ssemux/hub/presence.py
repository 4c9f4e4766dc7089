"""Who is on a channel: counts this process's streams, and tells the others.

Only of channels that are tracked. What changed is told in a thread (or greenlet) that lives while somebody is there,
and together: a storm of clients is a few writes. Nothing is read here of what others tell. No Flask.
"""

from __future__ import annotations

import threading
from typing import Callable

from ..brokers import Broker
from ..errors import BrokerClosed, BrokerUnavailable
from ..options import log
from ..util import forks
from ..util.supervise import Loop
from .stream import Stream

#: Seconds in which changes are gathered.
GATHER = 0.15

#: Seconds until what could not be told is told again.
AGAIN = 1.0

#: Changes told at a time: a store that all share must not be held up.
TOGETHER = 500

#: How often a heartbeat what was told is renewed; it counts for one, of a second at least.
RENEWALS = 3
LEAST = 1.0


class PresenceTracker:
    """The streams of this process, by channel and user.

    :param broker: whom it is told.
    :param heartbeat: seconds after which a process that says nothing is believed dead.
    :param is_tracked: whether a channel's streams are counted.
    """

    def __init__(self, broker: Broker, heartbeat: float, is_tracked: Callable[[str], bool]) -> None:
        self._broker = broker
        self._lasts = max(heartbeat, LEAST)
        self._is_tracked = is_tracked
        self._changed = threading.Condition()
        self._streams: dict[tuple[str, str], int] = {}
        self._untold: set[tuple[str, str]] = set()
        #: Whether the broker has what was told before; if not, all is told anew.
        self._is_known = False
        self._is_over = False
        self._loop = Loop("ssemux-presence", self._changed, self._is_needed, self._turn, GATHER)

    def add_stream(self, stream: Stream) -> None:
        self._count(stream, 1)

    def remove_stream(self, stream: Stream) -> None:
        """It is no more; that may be noticed even before it came."""
        self._count(stream, -1)

    def _count(self, stream: Stream, more: int) -> None:
        keys = {(channel, stream.user_id or "") for channel in stream.channels if self._is_tracked(channel)}
        if not keys:
            return
        with self._changed:
            for key in keys:
                self._streams[key] = self._streams.get(key, 0) + more
                if not self._streams[key]:
                    del self._streams[key]
            self._untold.update(keys)
            self._changed.notify_all()
            if not self._is_over:
                self._loop.start()

    def _turn(self) -> None:
        try:
            self._is_known = self._tell()
        except BrokerClosed:
            self._is_over = True
        except BrokerUnavailable as error:
            log.debug("who is here could not be told: %s", error)
            self._is_known = False
            forks.sleep(AGAIN)
        except BaseException:
            self._is_known = False
            raise

    def _is_needed(self) -> bool:
        """Wait until there is something to tell, if only that we live; False when nobody is here any more."""
        if self._is_known and not self._untold:
            if not self._streams:
                return False
            self._changed.wait(self._lasts / RENEWALS)
        return not self._is_over

    def _tell(self) -> bool:
        """Tell what changed, or all; whether the broker then has all of it."""
        with self._changed:
            anew = not self._is_known
            keys = self._streams if anew else self._untold
            told = [(key, max(0, self._streams.get(key, 0))) for key in keys]
            self._untold.clear()
        parts = [dict(told[start : start + TOGETHER]) for start in range(0, max(1, len(told)), TOGETHER)]
        is_known = self._broker.presence.announce_presence(parts[0], self._lasts, anew) or anew
        for part in parts[1:]:
            forks.sleep(0)  # others' turn
            is_known = self._broker.presence.announce_presence(part, self._lasts) and is_known
        return is_known
