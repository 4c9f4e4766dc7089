"""``Publisher``, for processes that only publish: job workers, cron jobs, scripts.

It finds its broker without an application. Nothing that it imports needs Flask, gevent or gunicorn.
"""

from __future__ import annotations

import os
from typing import Any, Callable

from ..brokers import Broker, open_broker
from ..errors import ConfigurationError
from ..options import read_option
from ..runs.run import Run
from ..sse import encode
from ..sse.data import JSONWriter, write_compact
from ..tracing.tracing import Tracing
from ..util import forks
from ..util.made_when_used import MadeWhenUsed, forget
from ..util.own_logger import enable_logger
from . import best_effort
from .arguments import explain_arguments
from .base import PublisherBase
from .publisher_runs import make_run_host

_ADVICE = "convert it before you publish, or pass a function that takes it as Publisher(dumps=...)"


@explain_arguments
class Publisher(PublisherBase):
    """Publishes from a process without Flask or gevent: a job worker, a cron job, a script::

        with flask_ssemux.Publisher("sqlite:////srv/app/instance/ssemux.sqlite3") as publisher:
            publisher.publish("jobs:42", {"done": 7}, event="progress")

    A publisher can be used from several threads, and after a fork: each child process opens a connection of its own.

    :param url: the broker's URL, as for ``SSEMUX_BROKER``, with an absolute path; None uses that environment variable.
    :param max_event_bytes: the maximum size of an encoded event in bytes; None uses ``SSEMUX_MAX_EVENT_BYTES`` from
        the environment, or its default.
    :param namespace: the application's namespace; None uses ``SSEMUX_NAMESPACE`` from the environment.
    :param dumps: writes data that is not text as JSON: a function that takes the data and returns text, or UTF-8 as
        orjson does. None uses Python's ``json``.
    :param on_error: what ``publish`` does if an event is not accepted and the call does not say it, ``raise`` or
        ``log``; None uses ``SSEMUX_ON_ERROR`` from the environment.
    :raises ConfigurationError: the URL names no broker that other processes can read, or a variable of the environment
        has an invalid value.
    """

    def __init__(
        self,
        url: str | None = None,
        *,
        max_event_bytes: int | None = None,
        namespace: str | None = None,
        dumps: Callable[[Any], str | bytes] | None = None,
        on_error: str | None = None,
    ) -> None:
        enable_logger()
        url = url or os.environ.get("SSEMUX_BROKER")
        if not url:
            raise ConfigurationError(
                "Publisher needs the broker's URL, or SSEMUX_BROKER in the environment; `flask ssemux status` shows it"
            )
        limit = read_option("max_event_bytes", os.environ) if max_event_bytes is None else max_event_bytes
        self.max_event_bytes: int = limit
        self._on_error = read_option("on_error", os.environ) if on_error is None else on_error
        best_effort.check_choice(on_error)
        self._writer = JSONWriter(dumps or write_compact, _ADVICE)
        self._connection = _Connection(url, namespace or read_option("namespace", os.environ))
        self._tracing = Tracing(read_option("tracing", os.environ) == "auto")
        self._runs = make_run_host(self._get_broker, self._make_body, self._get_json_writer, self._tracing)

    def _get_json_writer(self) -> JSONWriter:
        return self._writer

    def _get_broker(self) -> Broker:
        return self._connection.get_broker()

    def start_run(
        self, generator: Any, *, owner: Any = None, data: Any = None, resume: Any = None, id: str | None = None
    ) -> Run:
        """Execute a generator in a thread of this process, and publish what it yields; see ``flask_ssemux.start_run``.

        Clients read the run at the application. In a task, wait for its end::

            publisher.start_run(export(rows), id=run_id).wait()

        :param owner: the id of the user who may read the run; None: whoever knows its URL.
        :param id: of a run that the application made with ``plan_run``, whose owner and data count.
        :return: the run.
        :raises TooManyRuns: the owner has as many runs as are allowed.
        :raises ApplicationError: (or a subclass) one of the arguments cannot be used.
        :raises BrokerUnavailable: the run was not started.
        """
        if id is not None:
            return self._runs.begin_planned_run(id, generator)
        return self._runs.start_run(generator, owner, data, resume)

    def cancel_run(self, run_id: str, *, owner: Any = None) -> bool:
        """End a run, in whichever process it is executed; see ``flask_ssemux.cancel_run``."""
        return self._runs.cancel_run(run_id, owner)

    def _make_body(self, channel: str, data: Any, event: str | None) -> bytes:
        return encode.make_body(channel, data, event, self.max_event_bytes, self._writer)

    def close(self) -> None:
        """Close the connection. Runs that have not ended are lost. Calls after this raise ``BrokerClosed``; ``close``
        may be called again."""
        if self._runs.tasks.count_running():
            self._runs.give_up("its Publisher was closed")
        self._connection.close()

    def __enter__(self) -> Publisher:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class _Connection:
    """The broker of a publisher in this process. ``forks`` calls ``disown`` in a forked child."""

    _broker = MadeWhenUsed(lambda connection: connection._open_broker())

    def __init__(self, url: str, namespace: str | None) -> None:
        self._url = url
        self._namespace = namespace
        self._is_closed = False
        #: The brokers of parent processes. Garbage collection here would close connections that the parents use.
        self._inherited: list[Broker] = []
        broker = self._open_broker()
        broker.close()
        if not broker.is_shared:
            raise ConfigurationError(
                "%r works within one process only, so nobody would read what is published here; use the broker of the "
                "application, which `flask ssemux status` shows" % url
            )
        forks.register_owner(self)

    def _open_broker(self) -> Broker:
        return open_broker(self._url, namespace=self._namespace)

    def get_broker(self) -> Broker:
        forks.notice_fork()
        broker: Broker = self._broker
        return broker

    def close(self) -> None:
        self._is_closed = True
        self._broker.close()

    def disown(self) -> None:
        """Replace the parent's connection, and its locks, which threads of the parent may hold, in a forked child."""
        if not self._is_closed and "_broker" in vars(self):
            self._inherited.append(self._broker)
            forget(self, "_broker")
