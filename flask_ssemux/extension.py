"""``SSEMux``, the extension's object: it sets applications up, takes their rules, and forwards what they publish.

What belongs to one application is in its ``ApplicationState``. An ``SSEMux`` is shared by all applications of a
process, and does not keep them alive.
"""

from __future__ import annotations

import re
import weakref
from functools import partial
from typing import Any, Callable, Sequence

from flask import Blueprint, Flask

from .access import feed_rules
from .access.patterns import Pattern
from .access.reauthorize import Reauthorizer
from .access.rules import F, Rules
from .brokers import open_broker
from .cli import make_commands
from .errors import ApplicationError, ConfigurationError
from .functions import ApplicationFunctions
from .http import hosts
from .http.collisions import Collision, find_collisions
from .http.decorated_views import find_undecorated
from .http.fixed_streams import Decorator, FixedStream, StreamOptions
from .http.opening_border import OpeningBorder
from .http.request_hooks import make_after_request, make_teardown
from .http.run_source import answer_with_run
from .http.views import make_blueprint
from .options import Options, log
from .state import KEY, ApplicationState, find_current_app, find_only_state, find_state
from .status import page as status_page
from .util.own_logger import enable_logger
from .worker import gunicorn_worker, server
from .worker.worker import Worker


def init_app(app: Flask) -> SSEMux:
    """Set up an application; the same as ``SSEMux(app)``.

    :param app: the application.
    :return: its extension, which takes the application's rules.
    :raises ConfigurationError: as for ``SSEMux.init_app``.
    :raises ApplicationError: the application is set up already.
    """
    return SSEMux(app)


class SSEMux(ApplicationFunctions):
    """Server-Sent Events for Flask applications, with any number of channels on one connection.

    ``publish`` and the other functions of ``flask_ssemux`` are its methods, too. They act on the current application.
    Without one, as in a thread that reads a device, they act on the application of this object, if it has only one.

    :param app: the application. Without it, call ``init_app`` later, for one or more applications.
    :raises ConfigurationError: as for ``init_app``.
    """

    def __init__(self, app: Flask | None = None) -> None:
        self._rules = Rules()
        self._identify: Callable[..., Any] | None = None
        self._streams: list[FixedStream] = []
        self._apps: weakref.WeakSet[Flask] = weakref.WeakSet()
        if app is not None:
            self.init_app(app)

    def init_app(self, app: Flask) -> None:
        """Set up an application: read its options, and register routes and commands.

        Opens no file, no connection and no thread.

        :param app: the application.
        :raises ConfigurationError: an option has an invalid value, the server's configuration cannot work, or the
            application has an endpoint for the same URL.
        :raises ApplicationError: the application is set up already.
        """
        if KEY in app.extensions:
            raise ApplicationError(
                "flask_ssemux is already set up for %r%s: call init_app once for an application; tenants and "
                "blueprints share its SSEMux (docs/applications.md)" % (app.name, app.extensions[KEY].set_up_by)
            )
        enable_logger()
        worker = self._make_worker(app, Options.resolve(app.config))
        state = app.extensions[KEY] = self._make_state(app, worker)
        state.answer_with_run = partial(answer_with_run, worker, self._rules, state.runs)
        app.register_blueprint(make_blueprint(worker, self._rules, state.runs, hosts.make_rule_options(app)))
        hosts.hide_variables(app)
        app.wsgi_app = OpeningBorder(app.wsgi_app, worker)  # type: ignore[method-assign]
        app.after_request(make_after_request(state))
        app.teardown_request(make_teardown(state))
        app.cli.add_command(make_commands())
        gunicorn_worker.call_when_loaded(lambda: _check_start(state))
        self._apps.add(app)
        for stream in self._streams:
            _register_stream(app, stream)
        if self._rules.status is not None:
            status_page.add_routes(app, state)
        _refuse_collisions(app)

    def _make_worker(self, app: Flask, options: Options) -> Worker:
        server.check_start(options.broker)
        broker = open_broker(options.broker, folder=app.instance_path, namespace=options.namespace)
        broker.close()
        store = "" if options.namespace else broker.store_name
        make_reauthorizer = (
            None if options.recheck is None else partial(Reauthorizer, app, self._rules, options.recheck)
        )
        worker = Worker(app, options, self._rules, store, make_reauthorizer)
        worker.store_guard.add_to_process()
        return worker

    def _make_state(self, app: Flask, worker: Worker) -> ApplicationState:
        streams = self._streams
        return ApplicationState(
            app,
            worker.options,
            self._rules,
            worker,
            find_errors=lambda: [
                *(error for stream in streams for error in stream.find_errors(app)),
                *(str(found) for found in _find_collisions(app) if found.is_whole),
            ],
            find_warnings=lambda: [
                *(warning for stream in streams for warning in stream.find_warnings()),
                *(str(found) for found in _find_collisions(app) if not found.is_whole),
                *find_undecorated(app),
            ],
        )

    # -- the application's rules -------------------------------------------

    def identify(self, function: F) -> F:
        """Register the function that returns the current request's user: a str, int, UUID, or None if anonymous.

        It is called once for each stream, inside the stream's request. Without it, Flask-Login's current user is used
        if the application uses Flask-Login; all other visitors are anonymous.

        :param function: takes no argument.
        :raises ApplicationError: such a function is registered already.
        """
        if self._identify is not None:
            raise ApplicationError(
                "identify has a function already, %s.%s: an application identifies users in one place; remove one of "
                "the two" % (self._identify.__module__, getattr(self._identify, "__qualname__", self._identify))
            )
        self._identify = self._rules.identify = function
        return function

    def authorize(self, pattern: str) -> Callable[[F], F]:
        """Register the function that decides whether a user may read the channels of a pattern.

        It is called for each channel that a client names. The first pattern that matches the channel decides; a
        channel without a rule is refused. The function gets the user as ``identify`` returned it (None for anonymous
        visitors), and the pattern's variables as texts by name::

            @mux.authorize("jobs:<job_id>")
            def may_read(user_id, job_id): return Job.owner(job_id) == user_id

        :param pattern: a channel; ``<name>`` in it matches anything but a colon, and ``<path:name>`` anything.
        :raises InvalidChannel: clients cannot name such channels.
        :raises ApplicationError: the pattern has a rule already.
        """
        return self._rules.add_rule(self._rules.authorize, pattern)

    def snapshot(self, pattern: str) -> Callable[[F], F]:
        """Register the function that yields the first events, ``(event, data)``, of a new subscription.

        It is called with the pattern's variables by name, inside the stream's request. No event is lost between these
        events and the live ones.

        :param pattern: as for ``authorize``.
        :raises InvalidChannel: clients cannot name such channels.
        :raises ApplicationError: the pattern has a snapshot already.
        """
        return self._rules.add_rule(self._rules.snapshot, pattern)

    def feed(self, pattern: str, *, linger: float = feed_rules.LINGER) -> Callable[[F], F]:
        """Register the generator function of a feed: it runs once in the whole deployment while somebody reads it.

        What it yields is published on the channel: ``(event, data)``, data, or frames as text. It gets the pattern's
        variables as texts by name. It runs in an application context without a request, and is closed after the last
        reader has left. See docs/feeds.md::

            @mux.feed("prices:<symbol>")
            def prices(symbol):
                while True:
                    yield "price", ask_the_exchange(symbol)
                    time.sleep(1)

        :param pattern: as for ``authorize``. The channel's rule still decides who may read it.
        :param linger: seconds that the generator goes on after the last reader has left.
        :raises InvalidChannel: clients cannot name such channels.
        :raises ApplicationError: the function cannot be a feed, or another feed is for such a channel.
        """

        def register(function: F) -> F:
            self._rules.feeds.add_rule(pattern, function, linger=linger)
            return function

        return register

    def keep_latest(self, *patterns: str) -> None:
        """Publish all events of these channels with ``latest=True``: only the newest of each name counts.

        This applies to what the application publishes. A ``Publisher`` in another process must pass ``latest=True``.

        :param patterns: as for ``authorize``.
        :raises InvalidChannel: clients cannot name such channels.
        """
        self._rules.latest.extend(map(Pattern, patterns))

    def track_presence(self, *patterns: str, events: bool | str = False, grace: float = 10.0) -> None:
        """Track who reads these channels, over all workers; ``presence`` returns it.

        With ``events``, an event ``join`` is published when a user's first stream on a channel opens, and an event
        ``leave`` when the last one has ended and the user has not come back within ``grace`` seconds. Their data is
        ``{"user": "7", "channel": "jobs:42"}``. The signals ``user_joined`` and ``user_left`` are sent, too.

        :param patterns: as for ``authorize``; or ``*`` for everyone who is connected.
        :param events: where the events are published: True for the channel itself, or a pattern with the variables of
            ``patterns``.
        :param grace: seconds from 0 to 3600. A page that is loaded again, and a deploy, are shorter than the default.
        :raises InvalidChannel: clients cannot name such channels.
        :raises ApplicationError: the events cannot be published there.
        """
        for pattern in patterns:
            self._rules.presence.add_rule(pattern, events, grace)

    def allow_status(self, function: F) -> F:
        """Register the function that decides whether the current request may see the status page.

        Without it there is no status page. It is called without arguments for ``SSEMUX_URL/status``, for the same
        figures as JSON (``/status.json``) and for Prometheus (``/metrics``), and for the page's stream. If it returns
        False, the answer is 403; it may also call ``abort(401)``::

            @mux.allow_status
            def may_look(): return current_user.is_authenticated and current_user.is_admin

        :param function: takes no argument, and returns a bool.
        """
        is_first, self._rules.status = self._rules.status is None, function
        for app in list(self._apps) if is_first else ():
            status_page.add_routes(app, app.extensions[KEY])
            _refuse_collisions(app)
        return function

    def resumes_run(self, function: F) -> F:
        """Register a function for ``start_run(..., resume=function)`` that is not at the level of its module.

        All workers have to register it, as they do in an application factory.

        :param function: called as ``function(run, last)``.
        :raises ApplicationError: another function has its name.
        """
        return self._rules.resume_functions.register(function)

    def add_stream(
        self,
        url: str,
        channels: Sequence[str] | None = None,
        *,
        feed: Callable[..., Any] | None = None,
        endpoint: str | None = None,
        personal: bool = False,
        public: bool = False,
        decorators: Sequence[Decorator] = (),
        blueprint: Blueprint | None = None,
    ) -> None:
        """Serve a stream of these channels at a URL of its own, such as the URL of an old endpoint.

        The rule of each channel is applied, as at ``SSEMUX_URL``. A channel without a rule is refused unless the
        stream is public. The rules may be registered after the stream, but before the first request. If a channel has
        no rule by then, gunicorn does not start; other servers log an error at the first request, and the stream
        answers 500.

        :param url: as for ``app.route``.
        :param channels: channels, or patterns with the URL's variables
            (``"/api/jobs/<job_id>/stream"``, ``["jobs:<job_id>"]``). Needed unless there is a feed.
        :param feed: the generator function (or the old view) of this URL: it runs once for all clients, as ``feed``
            says, and its text is read as frames. Its channel is the first one, or else named by the URL.
        :param endpoint: as for ``app.route``; None derives it from the URL.
        :param personal: also send the events of the client's own channel and of everyone's.
        :param public: everyone may read the channels that have no rule. Existing rules are still applied.
        :param decorators: of the view, such as ``login_required``. They are applied in this order, like those of a
            ``flask.views.MethodView``: the last one runs first.
        :param blueprint: register the stream with this blueprint, below its URL prefix; the blueprint's
            ``before_request``, ``after_request`` and error handlers apply.
        :raises InvalidChannel: clients may not name such a channel.
        :raises ConfigurationError: another endpoint has this URL.
        :raises ApplicationError: a channel has a variable that the URL does not have, or the blueprint is registered
            with an application already; or the function cannot be a feed.
        """
        channels = feed_rules.choose_channels(url, channels, feed)
        endpoint = endpoint or self._choose_endpoint(url)
        options = StreamOptions(url, channels, endpoint, personal, public, decorators, blueprint)
        stream = FixedStream(options, self._rules, self._streams)
        if feed is not None:
            self._rules.feeds.add_old_view(channels[0], url, feed)
        stream.register_on_blueprint()
        self._streams.append(stream)
        for app in list(self._apps):
            _register_stream(app, stream)
            _refuse_collisions(app)

    def _choose_endpoint(self, url: str) -> str:
        """Return a name derived from the URL; a number is added for URLs that differ only in other characters."""
        name = "ssemux_" + "_".join(re.findall(r"\w+", url))
        taken = sum(stream.endpoint.split("-")[0] == name for stream in self._streams)
        return "%s-%d" % (name, taken + 1) if taken else name

    def _get_state(self) -> ApplicationState:
        """Return the extension in the current application; without one, in the only application of this object.

        Code of this object's application is also called while another one, which has no streams, is current.
        """
        app = find_current_app()
        if app is not None and (KEY in app.extensions or len(self._apps) != 1):
            return find_state(app)
        return find_only_state(self._apps)


def _register_stream(app: Flask, stream: FixedStream) -> None:
    stream.register_on_app(app)
    app.extensions[KEY].views.add(stream.view)


def _find_collisions(app: Flask) -> list[Collision]:
    try:
        hosts.claim_domains(app)
        return find_collisions(app, app.extensions[KEY])
    except Exception as error:  # an application may have converters and rules of its own, which cannot be copied
        log.warning("flask_ssemux could not check whether two endpoints have the same URL: %r", error)
        return []


def _refuse_collisions(app: Flask) -> None:
    """
    :raises ConfigurationError: two of the endpoints that the application has by now are for the same URL.
    """
    for found in _find_collisions(app):
        if found.is_whole:
            raise ConfigurationError(str(found))


def _check_start(state: ApplicationState) -> None:
    """Begin to look for runs that this worker can resume, if there are resume functions.

    :raises ConfigurationError: a stream must not be served.
    """
    for error in state.find_errors():
        raise ConfigurationError(error)
    state.runs.watch.look_for_lost()
