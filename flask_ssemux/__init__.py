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
    "init_app",
    "presence",
    "publish",
    "send_to_user",
    "streaming",
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


def cursor() -> str:
    """The current application's present cursor. See ``Publishing.cursor``."""
    return current().cursor()


def presence(channel: str) -> dict[str | None, int]:
    """Who is on a channel of the current application now. See ``SSEMux.presence``."""
    return current().presence(channel)
