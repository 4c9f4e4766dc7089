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
    "cursor",
    "disconnect",
    "init_app",
    "publish",
    "revoke",
    "send_to_user",
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


def cursor() -> str:
    """The current application's present cursor. See ``Publishing.cursor``."""
    return current().cursor()


def disconnect(
    user_id: Any = None, channel: str | None = None, stop: bool = False, reason: str = "disconnected"
) -> str:
    """End all streams of a user, or of a channel, of the current application. See ``Ordering.disconnect``."""
    return current().disconnect(user_id, channel, stop, reason)


def revoke(user_id: Any, channel: str, reason: str = "revoked") -> str:
    """End the streams of a user that read a channel, in the current application. See ``Ordering.revoke``."""
    return current().revoke(user_id, channel, reason)
