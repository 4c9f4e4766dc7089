"""The functions of ``flask_ssemux``: each acts on the extension of the current application.

``SSEMux`` has the same functions as methods. Only calls and their documentation; ``state.py`` finds the extension.
"""

from __future__ import annotations

from typing import Any, Sequence

from .state import get_current_state


def publish(channel: str, data: Any, event: str | None = None, *, latest: bool = False) -> str:
    """Send an event to everyone who reads a channel; see ``Publisher.publish``."""
    return get_current_state().publish(channel, data, event, latest=latest)


def send_to_user(user_id: Any, data: Any, event: str | None = None, *, latest: bool = False) -> str:
    """Send an event to all streams of one user; see ``Publisher.send_to_user``."""
    return get_current_state().send_to_user(user_id, data, event, latest=latest)


def broadcast(data: Any, event: str | None = None, *, latest: bool = False) -> str:
    """Send an event to everyone; see ``Publisher.broadcast``."""
    return get_current_state().broadcast(data, event, latest=latest)


def publish_on_commit(session: Any, channel: str, data: Any, event: str | None = None, *, latest: bool = False) -> None:
    """Publish when the session's transaction is committed; see ``Publisher.publish_on_commit``."""
    get_current_state().publish_on_commit(session, channel, data, event, latest=latest)


def send_to_user_on_commit(
    session: Any, user_id: Any, data: Any, event: str | None = None, *, latest: bool = False
) -> None:
    """Send to a user when the session's transaction is committed; see ``Publisher.publish_on_commit``."""
    get_current_state().send_to_user_on_commit(session, user_id, data, event, latest=latest)


def broadcast_on_commit(session: Any, data: Any, event: str | None = None, *, latest: bool = False) -> None:
    """Send to everyone when the session's transaction is committed; see ``Publisher.publish_on_commit``."""
    get_current_state().broadcast_on_commit(session, data, event, latest=latest)


def cursor() -> str:
    """Return the cursor of the newest event; see ``Publisher.cursor``."""
    return get_current_state().cursor()


def disconnect(
    user_id: Any = None, *, channel: str | None = None, stop: bool = False, reason: str = "disconnected"
) -> str:
    """End all streams of a user, or of a channel; see ``Publisher.disconnect``."""
    return get_current_state().disconnect(user_id, channel=channel, stop=stop, reason=reason)


def revoke(user_id: Any, channel: str, *, reason: str = "revoked") -> str:
    """End the streams of one user that read one channel; see ``Publisher.revoke``."""
    return get_current_state().revoke(user_id, channel, reason=reason)


def presence(channel: str) -> dict[str | None, int]:
    """Return who reads a channel now, over all workers: the number of streams by user id.

    User ids are texts; None stands for anonymous visitors. Streams of a worker that was killed are missing at once if
    the worker ran on this machine, and after at most one heartbeat otherwise.

    :param channel: one that ``SSEMux.track_presence`` was called for, or ``*`` for everyone who is connected.
    :raises ApplicationError: presence on this channel is not tracked.
    :raises BrokerUnavailable: the store did not answer.
    """
    return get_current_state().presence(channel)


def ticket(user_id: Any, *, channels: Sequence[str] | None = None, expires: float = 60) -> str:
    """Return a ticket for one stream of a client without cookies.

    The client sends it as ``GET /events?ticket=...`` or as ``Authorization: Ticket ...``. The bearer is identified as
    this user without a call of ``identify``; channels are authorized as usual. So give a ticket only to its user.

    :param user_id: a str, int or UUID, as ``identify`` returns it; None for an anonymous visitor.
    :param channels: the channels that the stream may name; None: all that the rules allow.
    :param expires: seconds within which the stream must be opened, at most 3600. An open stream stays open.
    :return: a text of about 100 characters, signed with the application's SECRET_KEY, which need no quoting in a URL.
    :raises ApplicationError: there is no application or no SECRET_KEY, or ``expires`` is out of range.
    :raises InvalidEvent: (or a subclass) an invalid user id or channel.
    """
    return get_current_state().ticket(user_id, channels=channels, expires=expires)
