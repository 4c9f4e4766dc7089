"""Server-Sent Events for Flask applications in production. The public names, nothing else."""

from __future__ import annotations

from typing import Any

from flask import Flask

from .compat import streaming
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
from .publisher import Publisher
from .service import current

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
    "init_app",
    "publish",
    "publish_on_commit",
    "send_to_user",
    "send_to_user_on_commit",
    "streaming",
]


def init_app(app: Flask) -> SSEMux:
    """Set up an application. The same as ``SSEMux(app)``."""
    return SSEMux(app)


def publish(channel: str, data: Any, event: str | None = None) -> str:
    """Publish to a channel of the current application. See ``Publishing.publish``."""
    return current().publish(channel, data, event)


def send_to_user(user_id: Any, data: Any, event: str | None = None) -> str:
    """Send to a user of the current application. See ``Publishing.send_to_user``."""
    return current().send_to_user(user_id, data, event)


def broadcast(data: Any, event: str | None = None) -> str:
    """Send to everyone in the current application. See ``Publishing.broadcast``."""
    return current().broadcast(data, event)


def publish_on_commit(session: Any, channel: str, data: Any, event: str | None = None) -> None:
    """Publish when the session's transaction is committed. See ``Publishing.publish_on_commit``."""
    current().publish_on_commit(session, channel, data, event)


def send_to_user_on_commit(session: Any, user_id: Any, data: Any, event: str | None = None) -> None:
    """Send to a user when the session's transaction is committed. See ``Publishing.publish_on_commit``."""
    current().send_to_user_on_commit(session, user_id, data, event)


def broadcast_on_commit(session: Any, data: Any, event: str | None = None) -> None:
    """Send to everyone when the session's transaction is committed. See ``Publishing.publish_on_commit``."""
    current().broadcast_on_commit(session, data, event)


def cursor() -> str:
    """The current application's present cursor. See ``Publishing.cursor``."""
    return current().cursor()
