"""What happens to an event that is not accepted: the error is raised, or logged if the caller publishes best-effort.

A log line has an event's name and channel, and never a part of its data. No events are made or sent here.
"""

from __future__ import annotations

import logging
from time import monotonic as get_time
from typing import Any, Sequence, Tuple

from ..errors import ApplicationError, InvalidEvent, SSEMuxError
from ..util import forks
from ..util.log_throttle import LogThrottle
from ..util.printable import show_name, show_value

log = logging.getLogger("flask_ssemux")

RAISE, LOG = "raise", "log"

#: The values of ``on_error`` and of ``SSEMUX_ON_ERROR``.
CHOICES = (RAISE, LOG)

#: The name and the channel of each event, as the caller gave them.
Names = Sequence[Tuple[Any, Any]]

#: The maximum number of events that a log line names.
SHOWN = 50


def check_choice(on_error: str | None) -> None:
    """
    :param on_error: as the caller gave it; None is the default.
    :raises ApplicationError: the value is not known.
    """
    if on_error is not None and on_error not in CHOICES:
        raise ApplicationError("on_error=%s is not known: write 'raise', or 'log'" % show_value(on_error))


def describe_events(names: Names) -> str:
    """Return the names and channels of events for a log line."""
    shown = ["%s on %s" % (_show_event_name(name), show_name(channel)) for name, channel in names[:SHOWN]]
    return ", ".join(shown) + (" and %d more" % (len(names) - SHOWN) if len(names) > SHOWN else "")


def _show_event_name(name: Any) -> str:
    """Return an event's name for a log line; one that is invalid, and might forge a line, as Python writes it."""
    if not name:
        return "message"
    return name if isinstance(name, str) and name.isprintable() and len(name) <= 255 else show_name(name)


def log_failure(names: Names, error: Exception) -> None:
    """Log that events were not published: each kind of error once a minute for the name of the first event."""
    kind = "%s: %s" % (type(error).__name__, _show_event_name(names[0][0]) if names else "")
    more = _throttle.count(kind, get_time())
    if more is not None:
        what = describe_events(names) or "several events"
        is_ours = isinstance(error, SSEMuxError)
        why = error.for_log if isinstance(error, InvalidEvent) else error
        log.error("not published: %s: %s%s", what, why, more, exc_info=None if is_ours else error)


#: Its kinds are a kind of error and an event's name.
_throttle = LogThrottle()


def _renew_throttle() -> None:
    """In a forked child: another thread of the parent may have held the lock."""
    global _throttle
    _throttle = LogThrottle()


forks.call_in_child(_renew_throttle, forks.LOCKS)
