"""What ``app.extensions["ssemux"]`` holds: the extension in one application, and how it is found.

No routes and no decorators; they use this file.
"""

from __future__ import annotations

import gc
from typing import Any, Callable, Iterable, Sequence
from urllib.parse import quote

from flask import Flask, current_app, has_request_context, request

from .access import tickets
from .access.rules import Rules
from .brokers import Broker, NewEvent, call_from_any_thread, open_broker
from .errors import ApplicationError
from .options import Options
from .publishing.app_json import ApplicationJSON
from .publishing.base import PublisherBase
from .publishing.revocation import ask_for_slots
from .runs.environment import RunEnvironment
from .runs.host import RunHost
from .runs.room import RunRoom
from .runs.run import Run
from .sse import encode
from .sse.data import JSONWriter
from .util.request_override import find_override
from .worker import gunicorn_worker
from .worker.finish_runs import FinishRuns
from .worker.presence_events import PresenceEvents
from .worker.worker import Worker, WorkerState

#: The extension's key in ``app.extensions``.
KEY = "ssemux"

#: What follows ``SSEMUX_URL`` in the URL of a run, before its id.
RUN_PATH = "/run/"

_INIT = "call its init_app(app) first"


class ApplicationState(PublisherBase):
    """The extension in one application: its options, its rules, and its worker in this process.

    :param app: the application.
    :param find_errors: returns which streams of the application must not be served, and why.
    :param find_warnings: returns what about the application's streams is probably a mistake.
    """

    def __init__(
        self,
        app: Any,
        options: Options,
        rules: Rules,
        worker: Worker,
        find_errors: Callable[[], list[str]] = list,
        find_warnings: Callable[[], list[str]] = list,
    ) -> None:
        self._app = app
        self._json = ApplicationJSON(app)
        self.options = options
        self.rules = rules
        self.worker = worker
        self.find_errors = find_errors
        self.find_warnings = find_warnings
        self.max_event_bytes = options.max_event_bytes
        self._on_error = options.on_error
        self._tracing = worker.tracing
        #: The endpoints of streams.
        self.endpoints = {"ssemux.events", "ssemux.run"}
        #: The views of streams that ``add_stream`` added. Each blueprint gives such a view another endpoint.
        self.views: set[Callable[..., Any]] = set()
        #: The endpoints of the status page.
        self.page_endpoints: set[str] = set()
        #: Whether the errors and warnings were logged.
        self.is_checked = False
        #: What called ``init_app``, if it was not the application, and what to do about that; for an error message.
        self.set_up_by = ""
        #: Answers the current request with a run; set by the extension.
        self.answer_with_run: Callable[[Run, bool], Any] = lambda run, comments: None
        self.runs = self._make_runs()
        worker.finish_runs = FinishRuns(self.runs)
        worker.more_figures.append(self.runs.tasks.get_figures)
        worker.more_figures.append(lambda: {"publish_failed": self._failed_count})
        worker.published = lambda: self._published_count + worker.work_parts.batches.appended
        worker.make_event = self._make_feed_event
        worker.presence_events = PresenceEvents(rules.presence, self.publish_many, worker.signals)

    def _make_runs(self) -> RunHost:
        options, worker = self.options, self.worker
        environment = RunEnvironment(
            self._prepare_runs,
            lambda channel, data, event: encode.make_body(
                channel, data, event, options.max_event_bytes, self._get_json_writer()
            ),
            self._get_json_writer,
            self._app.app_context,
            self._make_run_url,
            self._answer_with_run,
            worker.end_readers,
            worker.tracing,
        )
        room = RunRoom(lambda: worker.broker, options.max_runs, options.max_runs_per_owner, ask_for_slots)
        return RunHost(environment, worker.work_parts, room, self.rules.resume_functions)

    def _make_feed_event(self, channel: str, data: Any, event: str | None) -> NewEvent:
        return self._tracing.trace_creation(self._make_event(channel, data, event, False))

    def _answer_with_run(self, run: Run, comments: bool) -> Any:
        if not has_request_context():
            raise ApplicationError("a run's response answers a request, and there is none here: use run.url")
        return self.answer_with_run(run, comments)

    def _prepare_runs(self) -> Broker:
        """Return the broker for runs. A process that serves requests is notified of cancelled runs, and waits for its
        own before it ends; other processes need neither a timer nor the delivery of events."""
        broker = self._get_publishing_broker()
        if has_request_context() or gunicorn_worker.find_worker() is not None:
            self.worker.running().hub.count_revocations()
        return broker

    def _make_run_url(self, run_id: str) -> str:
        url = self.options.url
        if url is None:
            raise ApplicationError("SSEMUX_URL is off, so runs have no URL: set it, for example to '/events'")
        prefix = request.script_root if has_request_context() else self._app.config["APPLICATION_ROOT"]
        return quote(prefix.rstrip("/")) + url.rstrip("/") + RUN_PATH + run_id

    def start_run(self, generator: Any, owner: Any, data: Any, resume: Any) -> Run:
        """See ``flask_ssemux.start_run``."""
        return self.runs.start_run(generator, self._choose_owner(owner), data, resume)

    def plan_run(self, owner: Any, data: Any) -> Run:
        """See ``flask_ssemux.plan_run``."""
        return self.runs.plan_run(self._choose_owner(owner), data)

    def _choose_owner(self, owner: Any) -> Any:
        """Return the owner of a run: the user of the current request, if none is named."""
        if owner is None and has_request_context():
            return self.rules.identify_reader(None, find_override(request.environ)).user_id
        return owner

    @property
    def process(self) -> Worker:
        """The worker, by its name in earlier versions: scripts read ``app.extensions["ssemux"].process.held``."""
        return self.worker

    def _get_broker(self) -> Broker:
        return self.worker.broker

    def _get_publishing_broker(self) -> Broker:
        call_from_any_thread(self.worker.check_publishing)
        return self.worker.broker

    def _get_json_writer(self) -> JSONWriter:
        return self._json.get_writer()

    def _keeps_latest(self, channel: str) -> bool:
        return self.rules.keeps_latest(channel)

    def publish_with_retry(self, channel: str, data: Any, event: str | None, retry: int | None) -> str | Any:
        """Send an event that also tells clients how long they wait before they reconnect, as Flask-SSE's events may.

        :param retry: milliseconds; None leaves that as it is. The rest is as for ``publish``.
        """
        return self._try_to_send(None, (event, channel), self._send, channel, data, event, False, retry)

    def ticket(self, user_id: Any, *, channels: Sequence[str] | None = None, expires: float = 60) -> str:
        """See ``flask_ssemux.ticket``."""
        return tickets.issue_ticket(user_id, channels, expires, self._app)

    def open_look(self) -> Broker:
        """Return a broker that only reads, for commands: it makes no file. The caller closes it."""
        options = self.options
        return open_broker(options.broker, None, self.worker.folder, options.namespace, is_look=True)

    def presence(self, channel: str) -> dict[str | None, int]:
        """See ``flask_ssemux.presence``."""
        return self.read_presence(channel, self.worker.broker)

    def read_presence(self, channel: str, broker: Broker | None) -> dict[str | None, int]:
        """Return what a broker knows of a channel: see ``flask_ssemux.presence``. Without a store nobody is there."""
        rules = self.rules.presence
        if not rules.is_tracked(channel):
            raise ApplicationError(
                "presence on the channel %r is not tracked: call mux.track_presence(%r), or with a pattern that "
                "matches it, where the application is set up" % (channel, channel)
            )
        if broker is None:
            return {}
        presence = broker.presence
        found = {user or None: streams for user, streams in presence.get_presence(channel).items()}
        if rules.get_grace(channel) is not None:  # those who are away, and whose leave was not announced yet
            found.update((user, 0) for user in presence.get_roster(channel) if user not in found)
        return found


def get_current_state() -> ApplicationState:
    """Return the extension in the current application.

    :raises ApplicationError: there is no current application, or it does not use the extension.
    """
    app = find_current_app()
    if app is None:
        raise ApplicationError(
            "flask_ssemux acts on the current application, and there is none here: write `with app.app_context():` "
            "around this call, or call the method of the application's SSEMux, such as mux.publish; in a process "
            "without Flask use flask_ssemux.Publisher(url)"
        )
    return find_state(app)


def find_current_app() -> Flask | None:
    """Return the current application itself: Flask looks for it again each time that ``current_app`` is used."""
    try:
        return current_app._get_current_object()  # type: ignore[attr-defined, no-any-return]
    except RuntimeError:
        return None


def find_state(app: Any) -> ApplicationState:
    """Return the extension in this application.

    :raises ApplicationError: it does not use the extension.
    """
    if KEY not in app.extensions:
        raise ApplicationError("flask_ssemux is not set up for %r: call flask_ssemux.init_app(app)" % app.name)
    found: ApplicationState = app.extensions[KEY]
    return found


def find_only_state(apps: Iterable[Flask], owner: str = "SSEMux", advice: str = _INIT) -> ApplicationState:
    """Return the extension in the only one of these applications.

    :param apps: those of an ``SSEMux``, weakly referenced.
    :param owner: what the applications belong to, and what to do if there are none; for an error message.
    :raises ApplicationError: there is none, or there are several.
    """
    if len(list(apps)) > 1:
        gc.collect()  # applications that are no longer used are often kept by a cycle, as in tests
    found = list(apps)
    if len(found) > 1:
        found = [app for app in found if find_state(app).worker.state is not WorkerState.CLOSED]
    if len(found) == 1:
        return find_state(found[0])
    if not found:
        raise ApplicationError(
            "this %s has no application: %s; in a process without Flask use flask_ssemux.Publisher(url)"
            % (owner, advice)
        )
    raise ApplicationError(
        "this %s has %d applications, %s, and there is no current one here: write `with app.app_context():` around "
        "this call, where app is the one whose clients are meant"
        % (owner, len(found), ", ".join(sorted(map(repr, found))))
    )
