"""Server-Sent Events for Flask applications in production. The public names, nothing else.

Each name but the errors is imported when it is first used. So a process that only uses ``Publisher``, such as a job
worker, needs neither Flask nor gevent nor gunicorn.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from .errors import (
    ApplicationError,
    BrokerBehind,
    BrokerClosed,
    BrokerError,
    BrokerUnavailable,
    ConfigurationError,
    EventTooLarge,
    InvalidAnswer,
    InvalidChannel,
    InvalidEvent,
    InvalidIdentity,
    RunFailed,
    SSEMuxError,
    TooManyRuns,
    WrongState,
)
from .version import __version__ as __version__

if TYPE_CHECKING:
    from .extension import SSEMux, init_app
    from .functions import (
        broadcast,
        broadcast_on_commit,
        cancel_run,
        cursor,
        disconnect,
        get_run,
        plan_run,
        presence,
        publish,
        publish_many,
        publish_many_on_commit,
        publish_on_commit,
        revoke,
        run_state,
        send_to_user,
        send_to_user_on_commit,
        start_run,
        ticket,
    )
    from .http.streaming import streaming
    from .publishing.publisher import Publisher
    from .runs.details import RunEvent
    from .runs.fence import current_fence
    from .runs.run import Run
    from .worker.signals import stream_closed, stream_opened, user_joined, user_left

__all__ = [
    "ApplicationError",
    "BrokerBehind",
    "BrokerClosed",
    "BrokerError",
    "BrokerUnavailable",
    "ConfigurationError",
    "EventTooLarge",
    "InvalidAnswer",
    "InvalidChannel",
    "InvalidEvent",
    "InvalidIdentity",
    "Publisher",
    "Run",
    "RunEvent",
    "RunFailed",
    "SSEMux",
    "SSEMuxError",
    "TooManyRuns",
    "WrongState",
    "broadcast",
    "broadcast_on_commit",
    "cancel_run",
    "current_fence",
    "cursor",
    "disconnect",
    "get_run",
    "init_app",
    "plan_run",
    "presence",
    "publish",
    "publish_many",
    "publish_many_on_commit",
    "publish_on_commit",
    "revoke",
    "run_state",
    "send_to_user",
    "send_to_user_on_commit",
    "start_run",
    "stream_closed",
    "stream_opened",
    "streaming",
    "ticket",
    "user_joined",
    "user_left",
]

#: The modules of the names that are not imported above; all other names are in ``functions``.
_MODULES = {
    "Publisher": ".publishing.publisher",
    "Run": ".runs.run",
    "RunEvent": ".runs.details",
    "SSEMux": ".extension",
    "init_app": ".extension",
    "current_fence": ".runs.fence",
    "stream_closed": ".worker.signals",
    "stream_opened": ".worker.signals",
    "user_joined": ".worker.signals",
    "user_left": ".worker.signals",
    "streaming": ".http.streaming",
}

if not TYPE_CHECKING:  # type checkers would accept any name

    def __getattr__(name: str) -> Any:
        if name not in __all__:
            raise AttributeError("module %r has no attribute %r" % (__name__, name))
        try:
            value = getattr(importlib.import_module(_MODULES.get(name, ".functions"), __name__), name)
        except ModuleNotFoundError as error:
            raise ImportError(
                "flask_ssemux.%s needs %s, which is not installed: pip install flask_ssemux installs all that a web "
                "application needs; in a process without Flask use flask_ssemux.Publisher(url)" % (name, error.name)
            ) from error
        globals()[name] = value
        return value

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__})
