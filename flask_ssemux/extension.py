"""``SSEMux``: which part is built from which option, and the application's side of each.

A thin class. What an application's streams need lives in its ``Service``, not on the
shared object.
"""

from __future__ import annotations

import re
from typing import Any, Callable, Sequence

from flask import Blueprint, Flask, Response, current_app, request
from werkzeug.exceptions import HTTPException, MethodNotAllowed

from .access import tickets
from .access.patterns import Pattern
from .access.reauthorize import Reauthorizer
from .access.rules import F, Rules
from .brokers import Broker, open_broker
from .cli import make_commands
from .errors import ApplicationError, ConfigurationError
from .http import hosts
from .http.fixed_streams import Decorator, FixedStream, StreamOptions
from .http.responses import add_stream_headers
from .http.views import make_blueprint
from .options import Options, log
from .publishing.publisher import Publishing
from .state import KEY, ApplicationState, current
from .status import page as status_page
from .worker import gunicorn_worker, server
from .worker.worker import Worker


class SSEMux(Publishing):
    """Server-Sent Events for Flask applications, any number of channels on one connection.

    :param app: the application; or call ``init_app`` later, for as many as there are.
    :raises ConfigurationError: as ``init_app``.
    """

    def __init__(self, app: Flask | None = None) -> None:
        self._rules = Rules()
        self._streams: list[FixedStream] = []
        self._apps: list[Flask] = []
        if app is not None:
            self.init_app(app)

    def init_app(self, app: Flask) -> None:
        """Set up an application: its options are read, its routes and commands registered.

        Opens no file, no connection and no thread.

        :raises ConfigurationError: names the option, the value and what is allowed; or says what
            of the server's set-up cannot work.
        :raises ApplicationError: the application has the extension already.
        """
        if KEY in app.extensions:
            raise ApplicationError(
                "flask_ssemux is already set up for %r: call init_app once for an application" % app.name
            )
        options = Options.resolve(app.config)
        server.check_start(options.broker)
        broker = open_broker(options.broker, folder=app.instance_path, namespace=options.namespace)
        broker.close()
        store = "" if options.namespace else broker.store_name
        reauthorizer = None if options.recheck is None else Reauthorizer(app, self._rules, options.recheck)
        worker = Worker(app, options, store, self._rules.is_tracked, reauthorizer)
        worker.store_guard.add_to_process()
        service = app.extensions[KEY] = ApplicationState(options, self._rules, worker)
        app.register_blueprint(make_blueprint(worker, self._rules, hosts.make_rule_options(app)))
        hosts.hide_variables(app)
        app.after_request(_finisher(service))
        app.teardown_request(_hide_ticket(service))
        app.cli.add_command(make_commands())
        self._apps.append(app)
        service.troubles = lambda: [trouble for stream in self._streams for trouble in stream.find_errors(app)]
        service.doubts = lambda: [doubt for stream in self._streams for doubt in stream.find_warnings()]
        gunicorn_worker.call_when_loaded(lambda: _refuse_start(service))
        for stream in self._streams:
            self._add(app, stream)
        if self._rules.status is not None:
            status_page.add_routes(app, service)

    # -- the application's rules -------------------------------------------

    def identify(self, function: F) -> F:
        """Decorate what says who the current request's user is: text, int, UUID, or None for nobody.

        Asked once a stream, inside its request. The default is Flask-Login's current user
        where it is set up, else nobody.
        """
        self._rules.identify = function
        return function

    def authorize(self, pattern: str) -> Callable[[F], F]:
        """Decorate what says whether a user may read the channels of a pattern.

        Asked for each channel that a client names; without a rule the answer is no. The first
        pattern that matches decides. Called with the user's id as ``identify`` returned it
        (None for nobody), and the pattern's variables, as text, by name::

            @mux.authorize("jobs:<job_id>")
            def may_read(user_id, job_id): return Job.owner(job_id) == user_id

        :param pattern: a channel; ``<name>`` in it matches anything but a colon.
        :raises InvalidChannel: no client can name such channels.
        """
        return self._rules.add_rule(self._rules.authorize, pattern)

    def snapshot(self, pattern: str) -> Callable[[F], F]:
        """Decorate what yields the first events, ``(event, data)``, of a new subscription.

        Called with the pattern's variables by name, inside the stream's request. Nothing falls
        between these events and the live ones.

        :param pattern: as for ``authorize``.
        :raises InvalidChannel: no client can name such channels.
        """
        return self._rules.add_rule(self._rules.snapshot, pattern)

    def keep_latest(self, *patterns: str) -> None:
        """Publish all events of these channels as ``latest``: only the newest of each name counts.

        This is a rule for what this object publishes; a ``Publisher`` in another process says ``latest=True`` itself.

        :param patterns: as for ``authorize``.
        :raises InvalidChannel: no client can name such channels.
        """
        self._rules.latest.extend(map(Pattern, patterns))

    def track_presence(self, *patterns: str) -> None:
        """Know who is on these channels, over all workers: each stream that comes or goes is told to the others.

        :param patterns: as for ``authorize``; or ``*``, for who is there at all.
        :raises InvalidChannel: no client can name such channels.
        """
        for pattern in patterns:
            self._rules.track_presence(pattern)

    def presence(self, channel: str) -> dict[str | None, int]:
        """Who is on a channel now, over all workers: streams by user, as text; None are visitors who are nobody.

        What a worker that was killed held is gone at once for those on its own machine, and after one heartbeat at
        the latest for others.

        :raises ApplicationError: the channel is not tracked.
        :raises BrokerUnavailable: nobody can tell.
        """
        return current().presence(channel)

    def allow_status(self, function: F) -> F:
        """Decorate what says whether the current request may see the status page; without it there is none.

        Asked, without arguments, for ``SSEMUX_URL/status``, for the same as JSON (``/status.json``) and for
        Prometheus (``/metrics``), and for the page's stream. A no is 403; it may also raise, or ``abort(401)``::

            @mux.allow_status
            def may_look(): return current_user.is_authenticated and current_user.is_admin
        """
        is_first, self._rules.status = self._rules.status is None, function
        for app in self._apps if is_first else ():
            status_page.add_routes(app, app.extensions[KEY])
        return function

    def ticket(self, user_id: Any, channels: Sequence[str] | None = None, expires: float = 60) -> str:
        """A ticket for one stream of this user; see ``flask_ssemux.ticket``."""
        return current().ticket(user_id, channels, expires)

    def add_stream(
        self,
        url: str,
        channels: Sequence[str],
        endpoint: str | None = None,
        personal: bool = False,
        *,
        public: bool = False,
        decorators: Sequence[Decorator] = (),
        blueprint: Blueprint | None = None,
    ) -> None:
        """Serve a stream of these channels at a URL of its own: an old endpoint, moved over.

        The rule for each channel is asked, as at ``SSEMUX_URL``. A channel that no rule is for is refused, unless
        the stream is public. The rules may be registered later than the stream, but before the first request: with
        a stream whose channel has no rule then, gunicorn does not start; under other servers the log says so at the
        first request, and the stream answers 500.

        :param url: as for ``app.route``.
        :param channels: channels, or patterns with the URL's variables
            (``"/api/jobs/<job_id>/stream"``, ``["jobs:<job_id>"]``).
        :param endpoint: as for ``app.route``; None makes one of the URL.
        :param personal: also send the client its own channel's events and everyone's.
        :param public: everyone may read the channels that no rule is for. Rules that there are, are asked all the same.
        :param decorators: for the view, such as ``login_required``; applied in their order, as those of a
            ``flask.views.MethodView``: the last one runs first.
        :param blueprint: register the stream with this one: below its URL prefix, and its ``before_request``,
            ``after_request`` and error handlers hold.
        :raises InvalidChannel: a channel that clients may not name.
        :raises ApplicationError: a variable that the URL does not have; or the blueprint is registered already.
        """
        options = StreamOptions(
            url, channels, endpoint or self._free_endpoint(url), personal, public, decorators, blueprint
        )
        stream = FixedStream(options, self._rules)
        stream.register_on_blueprint()
        self._streams.append(stream)
        for app in self._apps:
            self._add(app, stream)

    def _add(self, app: Flask, stream: FixedStream) -> None:
        stream.register_on_app(app)
        app.extensions[KEY].views.add(stream.view)

    def _free_endpoint(self, url: str) -> str:
        """A name made of the URL; URLs that differ only in what a name cannot have get a number."""
        name = "ssemux_" + "_".join(re.findall(r"\w+", url))
        taken = sum(stream.endpoint.split("-")[0] == name for stream in self._streams)
        return "%s-%d" % (name, taken + 1) if taken else name

    def _broker(self) -> Broker:
        return current()._broker()

    def _store(self) -> Broker:
        return current()._store()

    def _at_commit(self) -> ApplicationState:
        return current()

    def _keeps_latest(self, channel: str) -> bool:
        return current()._keeps_latest(channel)

    @property
    def max_event_bytes(self) -> int:  # type: ignore[override]
        return current().max_event_bytes


def _endpoint_of_get() -> str | None:
    """Where a GET of this URL would go: the answer to another method is its stream's answer too."""
    if not isinstance(request.routing_exception, MethodNotAllowed):
        return None
    try:
        adapter = current_app.create_url_adapter(request)
        return str(adapter.match(method="GET")[0]) if adapter else None
    except HTTPException:
        return None


def _is_stream(service: ApplicationState) -> bool:
    """Whether the current request asks for a stream, or for its URL in another way."""
    endpoint = request.endpoint or _endpoint_of_get()
    return endpoint in service.endpoints or current_app.view_functions.get(str(endpoint)) in service.views


def _finisher(service: ApplicationState) -> Callable[[Response], Response]:
    """On every answer of a stream's URL, errors too: headers that keep hops from holding it back.

    The first answer of the application is the moment when all its rules are known.
    """

    def after(response: Response) -> Response:
        if not service.is_checked:
            _check(service)
        service.worker.store_guard.note_request(request.environ)
        return add_stream_headers(response) if _is_stream(service) else response

    return after


def _refuse_start(service: ApplicationState) -> None:
    """
    :raises ConfigurationError: a stream must not be served.
    """
    for trouble in service.troubles():
        raise ConfigurationError(trouble)


def _check(service: ApplicationState) -> None:
    """Say what must be mended of the application's streams: in the log, once; to its developers and tests, by an error.

    :raises ConfigurationError: in an application that is debugged or tested.
    """
    if current_app.debug or current_app.testing:
        _refuse_start(service)
    service.is_checked = True
    for trouble in service.troubles():
        log.error("%s", trouble)
    for doubt in service.doubts():
        log.warning("%s", doubt)


def _hide_ticket(service: ApplicationState) -> Callable[[BaseException | None], None]:
    """At the end of every request, also of one that failed: no ticket is left for the server's access log."""

    def teardown(error: BaseException | None) -> None:
        is_ours = request.routing_exception is not None or _is_stream(service)
        tickets.hide_tickets(request.environ, is_ours)

    return teardown
