"""A stand-in for the package Flask-SSE: its ``sse`` blueprint, on flask_ssemux's streams and history.

``from flask_ssemux.flask_sse import sse`` in place of ``from flask_sse import sse``: docs/flask-sse.md says what stays
and what changes. Only what that package has; new code uses ``SSEMux``.

As in Flask-SSE, a client may read every channel on which ``sse.publish`` publishes, if the blueprint's
``before_request`` functions let its request pass. Flask-SSE's channel ``x`` is the channel ``sse:x`` of flask_ssemux,
so this opens no other channel.
"""

from __future__ import annotations

import json
import os
import weakref
from typing import Any, Iterator, MutableMapping, Sequence

from flask import Blueprint, Flask, Response, current_app, request

from .access.patterns import Pattern
from .errors import ApplicationError, ConfigurationError, InvalidEvent
from .extension import SSEMux
from .http.fixed_streams import FixedSource, StreamOptions
from .http.open_stream import serve_stream
from .hub.stream import Stream
from .options import log
from .publishing.app_json import make_json_writer
from .sse import encode
from .sse.cursor import Cursor
from .sse.data import PLAIN
from .sse.decode import Decoder, Frame
from .state import KEY, ApplicationState, find_only_state, find_state
from .transports.client_socket import ClientSocket
from .transports.generator import GeneratorTransport
from .util.printable import show_value
from .worker.worker import WorkerState

#: What a channel of Flask-SSE is called in flask_ssemux: this, and its name.
PREFIX = "sse:"

#: The channel of Flask-SSE if none is named.
DEFAULT_CHANNEL = "sse"

#: Where Flask-SSE looks for the URL of its Redis server, in this order.
URL_KEYS = ("SSE_REDIS_URL", "REDIS_URL")

_CHANNEL = Pattern(PREFIX + "<path:name>")

#: As of ``add_stream(..., public=True)``: a channel without a rule may be read; a rule, if there is one, is applied.
_OPTIONS = StreamOptions("", (), "", False, True, (), None)


class Message:
    """An event as Flask-SSE has it.

    :param data: a str, or what JSON can express.
    :param type: the event's name.
    :param id: the event's id.
    :param retry: milliseconds.
    """

    def __init__(self, data: Any, type: str | None = None, id: str | None = None, retry: int | None = None) -> None:
        self.data = data
        self.type = type
        self.id = id
        self.retry = retry

    def to_dict(self) -> dict[str, Any]:
        """Return the data, and what else the event has."""
        fields = {"data": self.data, "type": self.type, "id": self.id, "retry": self.retry}
        return {name: value for name, value in fields.items() if name == "data" or value}

    def __str__(self) -> str:
        """Return the event's frame."""
        writer = make_json_writer(current_app) if current_app else PLAIN
        frame = encode.make_body(encode.EVERYONE, self.data, self.type or None, writer=writer, retry=self.retry or None)
        return (encode.make_frame(frame, _check_id(self.id)) if self.id else frame).decode("utf-8")

    def __repr__(self) -> str:
        fields = ["%s=%r" % field for field in self.to_dict().items() if field[0] != "data"]
        return "%s(%s)" % (type(self).__name__, ", ".join([repr(self.data), *fields]))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, type(self)) and vars(self) == vars(other)

    __hash__ = None  # type: ignore[assignment]


class ServerSentEventsBlueprint(Blueprint):
    """Flask-SSE's blueprint. If an application registers it, and does not use flask_ssemux yet, it is set up.

    ``SSE_REDIS_URL`` or ``REDIS_URL`` is then used as ``SSEMUX_BROKER``, unless that is set; without all three, the
    events are kept in a SQLite file. ``SSEMUX_URL`` is off unless it is set: there is no stream but this one.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        #: The applications, and the URL of Redis with which each was set up here; None if it was set up before.
        self._urls: MutableMapping[Flask, tuple[str] | None] = weakref.WeakKeyDictionary()
        self._warned: weakref.WeakSet[Flask] = weakref.WeakSet()
        self.record(lambda setup: self._set_up(setup.app))

    def _set_up(self, app: Any) -> None:
        self._urls[app] = None
        if KEY not in app.extensions:
            self._urls[app] = (_find_url(app),)
            _set_options(app)
            _init_app(app)
        find_state(app).views.add(self.stream)

    @property
    def redis(self) -> Any:
        """A ``StrictRedis`` of the application's Redis server. What is published with it is no event of ``sse``.

        :raises KeyError: the application has no URL of such a server.
        """
        url = _find_url(current_app)
        if not url:
            raise KeyError("neither SSE_REDIS_URL nor REDIS_URL is set in app.config")
        import redis

        return redis.StrictRedis.from_url(url)

    def publish(
        self,
        data: Any,
        type: str | None = None,
        id: str | None = None,
        retry: int | None = None,
        channel: str = DEFAULT_CHANNEL,
    ) -> str | Any:
        """Send an event to everyone who reads a channel; see ``flask_ssemux.publish``.

        :param data: a str is sent unchanged, anything else as JSON.
        :param type: the event's name.
        :param id: has no effect, because each event has a cursor as its id. The first use is logged.
        :param retry: milliseconds that clients wait from now on before they reconnect.
        :param channel: its name, 1 to 251 characters.
        :return: the event's cursor.
        """
        if id:
            _warn_of_id()
        state = self._get_state()
        return state.publish_with_retry(_name_channel(channel), data, type or None, retry or None)

    def messages(self, channel: str = DEFAULT_CHANNEL) -> Iterator[Message]:
        """Yield the events of a channel from now on, as they come, until the worker stops.

        Their data is text, or if it is a JSON object or array, what that contains.

        :param channel: its name, 1 to 251 characters.
        :return: an iterator over each ``Message``.
        :raises InvalidChannel: the channel's name cannot be used.
        :raises ApplicationError: there is no application, or it does not use this blueprint.
        """
        state = self._get_state()
        for frame in _read_frames(state, _name_channel(channel)):
            yield Message(_parse_data(frame.data or ""), frame.event or None, retry=frame.retry)

    def stream(self) -> Response:
        """Answer a request for the stream of the channel that it names in its query, or of ``sse``.

        Like Flask-SSE, and like a ``before_request`` function that asks ``request.args.get("channel")``, it goes by the
        first of several names.

        :return: the stream; or an answer that refuses it, if a rule of the application does.
        :raises ApplicationError: the application does not use this blueprint.
        """
        state = self._get_state()
        name = request.args.get("channel") or DEFAULT_CHANNEL
        self._warn_of_open_channels(state)
        return serve_stream(state.worker, FixedSource(state.rules, [_CHANNEL], {"name": name}, _OPTIONS))

    def _get_state(self) -> ApplicationState:
        if not current_app:
            return find_only_state(self._urls, "blueprint", "register it with one first")
        url = self._urls.get(current_app._get_current_object())  # type: ignore[attr-defined]
        if url is not None and url[0] != _find_url(current_app):
            raise ApplicationError(
                "SSE_REDIS_URL or REDIS_URL was changed after app.register_blueprint(%s), which has read it: set it "
                "before" % self.name
            )
        return find_state(current_app)

    def _warn_of_open_channels(self, state: ApplicationState) -> None:
        """Log once that the channels are open to everyone, unless something guards them."""
        app = current_app._get_current_object()  # type: ignore[attr-defined]
        blueprints = getattr(request, "blueprints", [request.blueprint])  # Flask before 2.0.2 nests none
        is_guarded = (
            any(app.before_request_funcs.get(name) for name in blueprints)
            or app.view_functions.get(request.endpoint) != self.stream
            or any(rule.pattern.may_overlap(_CHANNEL) for rule in state.rules.authorize)
        )
        if app not in self._warned and not is_guarded:
            self._warned.add(app)
            log.warning(
                "%s is open to everyone, as in Flask-SSE: every client may read every channel of sse.publish; "
                "docs/flask-sse.md says how to guard them",
                request.path,
            )


sse = ServerSentEventsBlueprint("sse", __name__)
sse.add_url_rule("", endpoint="stream", view_func=sse.stream)


# -- setting up ----------------------------------------------------------------


def _find_url(app: Any) -> str:
    """Return the URL of the Redis server that Flask-SSE would use; "" if there is none."""
    return next((str(app.config[key]) for key in URL_KEYS if app.config.get(key)), "")


def _set_options(app: Flask) -> None:
    """Set the options that the application does not set itself."""
    url = _find_url(app)
    for key, value in (("SSEMUX_URL", None), ("SSEMUX_BROKER", url)):
        if key not in app.config and key not in os.environ and value != "":
            app.config[key] = value


def _init_app(app: Flask) -> None:
    url, broker = _find_url(app), app.config.get("SSEMUX_BROKER")
    try:
        SSEMux(app)
    except ConfigurationError as error:
        if url and broker == url:
            raise ConfigurationError("%s (it is the application's SSE_REDIS_URL or REDIS_URL)" % error) from error
        raise
    find_state(app).set_up_by = " by app.register_blueprint of flask_ssemux.flask_sse; call init_app before it"


# -- publishing and reading ----------------------------------------------------


def _name_channel(channel: str) -> str:
    if not isinstance(channel, str):
        encode.check_channel(channel)
    return PREFIX + channel if channel else channel  # an empty name is refused as such


def _check_id(id: object) -> str:
    if not isinstance(id, (str, int)) or set("\r\n\0") & set(str(id)) or not str(id).isascii():
        raise InvalidEvent("an id is ASCII text without line breaks, not %s" % show_value(id))
    return str(id)


_is_id_logged = False


def _warn_of_id() -> None:
    global _is_id_logged
    if not _is_id_logged:
        _is_id_logged = True
        log.warning(
            "sse.publish(id=...) has no effect: each event has a cursor as its id, from which its client resumes; put "
            "an id of your own into the data"
        )


def _read_frames(state: ApplicationState, channel: str) -> Iterator[Frame]:
    """Yield the frames of events that are published from now on. What a slow reader missed is replayed to it."""
    last_ids: Sequence[str] = ()
    while _is_serving(state):
        hub = state.worker.running().hub
        hub.count_revocations()  # now the hub knows the epoch
        stream = hub.open_stream((channel,), None, hub.parse_last_ids(last_ids))
        if not _is_serving(state):  # the worker stopped while the stream was opened, and may not have ended it
            stream.abort("its worker stops")
        for frame in _decode_stream(stream):
            if frame.id is not None and Cursor.parse(frame.id) is not None:
                last_ids = (frame.id,)
            if frame.data is not None and not frame.event.startswith(encode.OWN_PREFIX):
                yield frame


def _is_serving(state: ApplicationState) -> bool:
    return state.worker.state in (WorkerState.NEW, WorkerState.RUNNING)


def _decode_stream(stream: Stream) -> Iterator[Frame]:
    transport, decoder = GeneratorTransport(stream, ClientSocket({})), Decoder()
    try:
        for data in transport:
            yield from decoder.feed(data)
    finally:
        transport.close()


def _parse_data(text: str) -> Any:
    """Return what a JSON object or array contains; any other text as it is."""
    if not text.startswith(("{", "[")):
        return text
    try:
        return json.loads(text)
    except ValueError:
        return text
