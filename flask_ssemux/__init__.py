"""Server-Sent Events for Flask applications in production. The public names, nothing else."""

from __future__ import annotations

from typing import Any, Sequence

from flask import Flask

from .errors import (
    ApplicationError,
    BrokerError,
    BrokerUnavailable,
    ConfigurationError,
    EventTooLarge,
    InvalidChannel,
    InvalidEvent,
    InvalidIdentity,
    SSEMuxError,
)
from .extension import SSEMux
from .http.streaming import streaming
from .publishing.publisher import Publisher
from .state import current

__version__ = "0.1.0"

__all__ = [
    "ApplicationError",
    "BrokerError",
    "BrokerUnavailable",
    "ConfigurationError",
    "EventTooLarge",
    "InvalidChannel",
    "InvalidEvent",
    "InvalidIdentity",
    "Publisher",
    "SSEMux",
    "SSEMuxError",
    "broadcast",
    "broadcast_on_commit",
    "cursor",
    "disconnect",
    "init_app",
    "presence",
    "publish",
    "publish_on_commit",
    "revoke",
    "send_to_user",
    "send_to_user_on_commit",
    "streaming",
    "ticket",
]


def init_app(app: Flask) -> SSEMux:
    """Set up an application. The same as ``SSEMux(app)``."""
    return SSEMux(app)


def publish(channel: str, data: Any, event: str | None = None, latest: bool = False) -> str:
    """Publish to a channel of the current application. See ``Publishing.publish``."""
    return current().publish(channel, data, event, latest)


def send_to_user(user_id: Any, data: Any, event: str | None = None, latest: bool = False) -> str:
    """Send to a user of the current application. See ``Publishing.send_to_user``."""
    return current().send_to_user(user_id, data, event, latest)


def broadcast(data: Any, event: str | None = None, latest: bool = False) -> str:
    """Send to everyone in the current application. See ``Publishing.broadcast``."""
    return current().broadcast(data, event, latest)


def publish_on_commit(session: Any, channel: str, data: Any, event: str | None = None, latest: bool = False) -> None:
    """Publish when the session's transaction is committed. See ``Publishing.publish_on_commit``."""
    current().publish_on_commit(session, channel, data, event, latest)


def send_to_user_on_commit(
    session: Any, user_id: Any, data: Any, event: str | None = None, latest: bool = False
) -> None:
    """Send to a user when the session's transaction is committed. See ``Publishing.publish_on_commit``."""
    current().send_to_user_on_commit(session, user_id, data, event, latest)


def broadcast_on_commit(session: Any, data: Any, event: str | None = None, latest: bool = False) -> None:
    """Send to everyone when the session's transaction is committed. See ``Publishing.publish_on_commit``."""
    current().broadcast_on_commit(session, data, event, latest)


def cursor() -> str:
    """The current application's present cursor. See ``Publishing.cursor``."""
    return current().cursor()


def presence(channel: str) -> dict[str | None, int]:
    """Who is on a channel of the current application now. See ``SSEMux.presence``."""
    return current().presence(channel)


def disconnect(
    user_id: Any = None, channel: str | None = None, stop: bool = False, reason: str = "disconnected"
) -> str:
    """End all streams of a user, or of a channel, of the current application. See ``Ordering.disconnect``."""
    return current().disconnect(user_id, channel, stop, reason)


def revoke(user_id: Any, channel: str, reason: str = "revoked") -> str:
    """End the streams of a user that read a channel, in the current application. See ``Ordering.revoke``."""
    return current().revoke(user_id, channel, reason)


def ticket(user_id: Any, channels: Sequence[str] | None = None, expires: float = 60) -> str:
    """A ticket for one stream, where no cookie reaches: ``GET /events?ticket=...``, or ``Authorization: Ticket ...``.

    Its bearer is this user, whatever ``identify`` says; rules are asked as ever. Give it only to who that user is.

    :param user_id: text, int or UUID, as ``identify`` returns it; None for nobody.
    :param channels: what the stream may name, at most; None: whatever rules allow.
    :param expires: seconds until which the stream must be opened, at most 3600; an open stream stays open.
    :return: text of about 100 characters that need no quoting in a URL, signed with the application's SECRET_KEY.
    :raises ApplicationError: outside of an application, without a SECRET_KEY, or with a time that cannot be.
    :raises InvalidEvent: (or a subclass) a user's id or a channel that cannot be.
    """
    return current().ticket(user_id, channels, expires)
